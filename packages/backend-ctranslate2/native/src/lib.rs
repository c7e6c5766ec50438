//! CTranslate2 for Node.js. One class: a session, which a thread of its own loads, runs and closes. Several sessions
//! share one model's weights.
//!
//! Promises are rejected with an `Error` whose message begins with a code and a colon: `damaged`, `unsupported`,
//! `out-of-memory`, `invalid-input`, `failed`, `unreadable`, `closed`.

mod owner;
mod shim;

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};

use crossrank_native_owner::{end_all, watch_once};
use napi::JsDeferred;
use napi::bindgen_prelude::{Env, Error, Float32Array, Int32Array, Object, Result, ToNapiValue};
use napi_derive::napi;

use owner::{Answer, Job, Owner, Source};
use shim::{Batch, Failure, Options, Reading, Weights};

/// CTranslate2's version, e.g. `4.8.4`.
#[napi]
pub fn version() -> String {
    shim::version()
}

/// Whether CTranslate2 computes with 8-bit integers on this processor.
#[napi]
pub fn has_integers() -> bool {
    shim::has_integers()
}

#[napi(object)]
pub struct LoadOptions {
    /// Threads of a batch, at least 1.
    pub threads: u32,
    /// What norms add to a variance.
    pub epsilon: f64,
    /// Products with weights in 8-bit integers.
    pub integers: bool,
}

#[napi(object)]
pub struct RunBatch {
    pub rows: u32,
    pub columns: u32,
    pub ids: Int32Array,
    pub lengths: Int32Array,
    pub features: Option<Int32Array>,
}

#[napi]
pub struct NativeSession {
    owner: Arc<Owner>,
    /// For further sessions.
    weights: Mutex<Option<Weights>>,
    threads: i32,
}

/// Loads a model.bin. What it holds was judged before: CTranslate2 trusts most of it.
#[napi(ts_return_type = "Promise<NativeSession>")]
pub fn load<'env>(env: &'env Env, path: String, options: LoadOptions) -> Result<Object<'env>> {
    let threads = i32::try_from(options.threads).ok().filter(|&threads| threads >= 1);
    let threads =
        threads.ok_or_else(|| rejection(Failure::new("invalid-input", "threads must be at least 1")))?;
    let source = Source::File(path, Options { epsilon: options.epsilon, integers: options.integers });
    watch_once(|| env.add_env_cleanup_hook((), |()| end_all()).map(|_| ()))?;
    start(env, source, threads)
}

/// A session whose thread loads first. The owner exists before its answer is read: that is on this thread, later.
fn start<'env>(env: &'env Env, source: Source, threads: i32) -> Result<Object<'env>> {
    let (handle, place) = channel::<Arc<Owner>>();
    let (promise, answer) = promised(env, move |weights: Weights| {
        let owner =
            place.recv().map_err(|_| Error::from_reason("failed: the session's thread did not start"))?;
        Ok(NativeSession { owner, weights: Mutex::new(Some(weights)), threads })
    })?;
    let owner = owner::start(source, threads, answer)
        .map_err(|error| rejection(Failure::new("out-of-memory", format!("no thread: {error}"))))?;
    // Nobody waits for it where loading failed.
    let _ = handle.send(owner);
    Ok(promise)
}

#[napi]
impl NativeSession {
    /// Another session with the same weights, which are in memory once.
    #[napi(ts_return_type = "Promise<NativeSession>")]
    pub fn share<'env>(&self, env: &'env Env) -> Result<Object<'env>> {
        let closed = || Failure::new("closed", "the session is closed");
        let weights = self.weights.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = weights.as_ref().ok_or_else(closed).and_then(Weights::share).map_err(rejection)?;
        start(env, Source::Shared(shared), self.threads)
    }

    /// The arrays are copied before this returns.
    /// @param reading `first` (the first token's vector), `pooled` or `tokens`.
    #[napi(ts_return_type = "Promise<Float32Array>")]
    pub fn run<'env>(&self, env: &'env Env, batch: RunBatch, reading: String) -> Result<Object<'env>> {
        let reading = match reading.as_str() {
            "first" => Reading::First,
            "pooled" => Reading::Pooled,
            "tokens" => Reading::Tokens,
            _ => return Err(rejection(Failure::new("invalid-input", "there is no such reading"))),
        };
        let batch = Batch {
            rows: batch.rows as usize,
            columns: batch.columns as usize,
            ids: batch.ids.to_vec(),
            lengths: batch.lengths.to_vec(),
            features: batch.features.map(|features| features.to_vec()),
        };
        let (promise, answer) = promised(env, |data: Vec<f32>| Ok(Float32Array::new(data)))?;
        // A job that is not taken is dropped, which rejects its promise.
        let _ = self.owner.send(Job::Run { batch, reading, answer });
        Ok(promise)
    }

    /// Frees the session, after the jobs that it still has, and the weights with the last one that has them. Later calls
    /// are rejected; a second close has nothing to do.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn close<'env>(&self, env: &'env Env) -> Result<Object<'env>> {
        let (promise, answer) = promised(env, |()| Ok(()))?;
        self.weights.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Err(Job::Close { answer }) = self.owner.send(Job::Close { answer }) {
            answer(Ok(()));
        }
        self.owner.hang_up();
        Ok(promise)
    }
}

impl Drop for NativeSession {
    fn drop(&mut self) {
        // A session that nobody closed: its thread ends, and frees what it has.
        self.owner.hang_up();
    }
}

type Resolver<Data> = Box<dyn FnOnce(Env) -> Result<Data> + Send>;

/// Settles a promise once, from any thread. One that is dropped unanswered is rejected: an open promise would keep the
/// program alive.
struct Settlement<Data: ToNapiValue + 'static>(Option<JsDeferred<Data, Resolver<Data>>>);

impl<Data: ToNapiValue + 'static> Settlement<Data> {
    fn settle(&mut self, result: std::result::Result<Resolver<Data>, Failure>) {
        match (self.0.take(), result) {
            (Some(deferred), Ok(resolver)) => deferred.resolve(resolver),
            (Some(deferred), Err(failure)) => deferred.reject(rejection(failure)),
            (None, _) => {}
        }
    }
}

impl<Data: ToNapiValue + 'static> Drop for Settlement<Data> {
    fn drop(&mut self) {
        self.settle(Err(Failure::new("closed", "the session is closed")));
    }
}

/// A promise, and what settles it. `convert` runs on the JavaScript thread.
fn promised<'env, Value, Data>(
    env: &'env Env,
    convert: impl FnOnce(Value) -> Result<Data> + Send + 'static,
) -> Result<(Object<'env>, Answer<Value>)>
where
    Value: Send + 'static,
    Data: ToNapiValue + 'static,
{
    let (deferred, promise) = env.create_deferred::<Data, Resolver<Data>>()?;
    let mut settlement = Settlement(Some(deferred));
    let answer: Answer<Value> = Box::new(move |result| {
        settlement.settle(result.map(|value| Box::new(move |_| convert(value)) as Resolver<Data>));
    });
    Ok((promise, answer))
}

fn rejection(Failure { code, message }: Failure) -> Error {
    Error::from_reason(format!("{code}: {message}"))
}
