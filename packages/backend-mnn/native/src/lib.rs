//! MNN for Node.js. One class: a model that is loaded, resized, run and closed by a thread of its own.
//!
//! Promises are rejected with an `Error` whose message begins with a code and a colon: `damaged`, `unsupported`,
//! `out-of-memory`, `invalid-input`, `failed`, `threads`, `unreadable`, `closed`.

mod owner;
mod shim;

use std::sync::Arc;

use crossrank_native_owner::{end_all, watch_once};
use napi::JsDeferred;
use napi::bindgen_prelude::{
    Either, Env, Error, Float32Array, Int32Array, Object, Result, ToNapiValue, Uint8Array,
};
use napi_derive::napi;

use owner::{Answer, Facts, Job, Output, Owner, Source};
use shim::{Failure, Input, Options, Tensor};

/// MNN's version, e.g. `3.6.1`.
#[napi]
pub fn version() -> String {
    shim::version()
}

/// Threads of this process's pool, 0 while there is none: the first session with several threads makes it.
#[napi]
pub fn pool_threads() -> u32 {
    shim::pool_threads()
}

#[napi(object)]
pub struct LoadOptions {
    /// At least 1.
    pub threads: u32,
    /// `normal`, `high`, `low` or `low-bf16`.
    pub precision: String,
    /// `normal`, `high` or `low`.
    pub memory: String,
}

#[napi(object)]
pub struct TensorFacts {
    pub name: String,
    /// E.g. `int32`.
    pub r#type: String,
    pub shape: Vec<i32>,
    /// Inputs: numbers must be below, where the table that they are looked up in was recognised.
    pub below: Option<i32>,
}

#[napi(object)]
pub struct RunInput {
    pub shape: Vec<i32>,
    pub data: Int32Array,
}

#[napi(object)]
pub struct RunOutput {
    pub data: Float32Array,
    pub shape: Vec<i32>,
}

#[napi]
pub struct NativeSession {
    owner: Arc<Owner>,
    inputs: Vec<Tensor>,
    threads: u32,
    longest: Option<i32>,
}

/// Loads a model from a file's path or its bytes, which are copied.
#[napi(ts_return_type = "Promise<NativeSession>")]
pub fn load<'env>(
    env: &'env Env,
    source: Either<String, Uint8Array>,
    options: LoadOptions,
) -> Result<Object<'env>> {
    let source = match source {
        Either::A(path) => Source::File(path),
        Either::B(bytes) => Source::Bytes(bytes.to_vec()),
    };
    let options = parse(&options).map_err(rejection)?;
    watch_once(|| env.add_env_cleanup_hook((), |()| end_all()).map(|_| ()))?;
    // The owner exists before its answer is read: the answer is read on this thread, later.
    let (handle, place) = std::sync::mpsc::channel::<Arc<Owner>>();
    let (promise, answer) = promised(env, move |Facts { inputs, threads, longest }| {
        let owner =
            place.recv().map_err(|_| Error::from_reason("failed: the session's thread did not start"))?;
        Ok(NativeSession { owner, inputs, threads, longest })
    })?;
    let owner = owner::start(source, options, answer)
        .map_err(|error| rejection(Failure::new("out-of-memory", format!("no thread: {error}"))))?;
    // Nobody waits for it where loading failed.
    let _ = handle.send(owner);
    Ok(promise)
}

#[napi]
impl NativeSession {
    /// Inputs with the shapes that the file declares; a free dimension is -1, or 1 for rows.
    #[napi(getter)]
    pub fn inputs(&self) -> Vec<TensorFacts> {
        self.inputs.iter().cloned().map(TensorFacts::from).collect()
    }

    /// Threads that MNN uses for a run.
    #[napi(getter)]
    pub fn threads(&self) -> u32 {
        self.threads
    }

    /// Most columns, where a table of positions was recognised.
    #[napi(getter)]
    pub fn longest(&self) -> Option<i32> {
        self.longest
    }

    /// Prepares the graph for inputs of these shapes, in the order of `inputs`.
    /// @returns the outputs, with the shapes that they then have.
    #[napi(ts_return_type = "Promise<Array<TensorFacts>>")]
    pub fn resize<'env>(&self, env: &'env Env, shapes: Vec<Vec<i32>>) -> Result<Object<'env>> {
        let (promise, answer) = promised(env, |outputs: Vec<Tensor>| {
            Ok(outputs.into_iter().map(TensorFacts::from).collect::<Vec<_>>())
        })?;
        // A job that is not taken is dropped, which rejects its promise.
        let _ = self.owner.send(Job::Resize { shapes, answer });
        Ok(promise)
    }

    /// Fills every input, in the order of `inputs`, and runs. The arrays are copied before this returns.
    /// @param output index of the output wanted.
    #[napi(ts_return_type = "Promise<RunOutput>")]
    pub fn run<'env>(&self, env: &'env Env, inputs: Vec<RunInput>, output: u32) -> Result<Object<'env>> {
        let inputs =
            inputs.into_iter().map(|RunInput { shape, data }| Input { shape, data: data.to_vec() }).collect();
        let (promise, answer) =
            promised(env, |Output { data, shape }| Ok(RunOutput { data: Float32Array::new(data), shape }))?;
        let _ = self.owner.send(Job::Run { inputs, output: output as usize, answer });
        Ok(promise)
    }

    /// Frees the model, after the jobs that it still has. Later calls are rejected; a second close has nothing to do.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn close<'env>(&self, env: &'env Env) -> Result<Object<'env>> {
        let (promise, answer) = promised(env, |()| Ok(()))?;
        if let Err(Job::Close { answer }) = self.owner.send(Job::Close { answer }) {
            answer(Ok(()));
        }
        self.owner.hang_up();
        Ok(promise)
    }
}

impl Drop for NativeSession {
    fn drop(&mut self) {
        // A session that nobody closed: its thread ends, and frees the model.
        self.owner.hang_up();
    }
}

impl From<Tensor> for TensorFacts {
    fn from(Tensor { name, kind, shape, below }: Tensor) -> Self {
        Self { name, r#type: kind, shape, below }
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

fn parse(options: &LoadOptions) -> std::result::Result<Options, Failure> {
    /// Places are MNN's numbers: `BackendConfig` in MNN/MNNForwardType.h.
    fn place(name: &str, value: &str, names: &[&str]) -> std::result::Result<i32, Failure> {
        let place = names.iter().position(|&known| known == value);
        place.map(|place| place as i32).ok_or_else(|| {
            Failure::new("invalid-input", format!("{name} must be one of {}", names.join(", ")))
        })
    }
    let threads = i32::try_from(options.threads).ok().filter(|&threads| threads >= 1);
    Ok(Options {
        threads: threads.ok_or_else(|| Failure::new("invalid-input", "threads must be at least 1"))?,
        precision: place("precision", &options.precision, &["normal", "high", "low", "low-bf16"])?,
        memory: place("memory", &options.memory, &["normal", "high", "low"])?,
    })
}
