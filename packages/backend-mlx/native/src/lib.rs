//! MLX for Node.js. One class: a model that is loaded, run and closed by a thread of its own.
//!
//! Promises are rejected with an `Error` whose message begins with a code and a colon: `damaged`, `out-of-memory`,
//! `invalid-input`, `failed`, `unreadable`, `closed`.

#[cfg(target_os = "linux")]
mod blas;
mod owner;
mod shim;
mod training;

use std::sync::Arc;

use crossrank_native_owner::{end_all, watch_once};
use napi::JsDeferred;
use napi::bindgen_prelude::{
    Env, Error, Float32Array, Float64Array, Int32Array, Object, Result, ToNapiValue, Uint8Array,
};
use napi_derive::napi;

use owner::{Answer, Bytes, Job, Output, Owner, Part, Source, TensorSource, WeightSource};
use shim::{Batch, Failure};

#[napi_derive::module_init]
fn begin() {
    #[cfg(target_os = "linux")]
    blas::begin();
}

/// MLX's version, e.g. `0.32.4`.
#[napi]
pub fn version() -> String {
    shim::version()
}

/// Whether MLX computes on a GPU here.
#[napi]
pub fn on_gpu() -> bool {
    shim::on_gpu()
}

/// The processor whose kernels multiply matrices, as OpenBLAS names it; none where another BLAS does.
#[napi]
pub fn blas_processor() -> Option<String> {
    #[cfg(target_os = "linux")]
    return blas::processor();
    #[cfg(not(target_os = "linux"))]
    None
}

/// Threads that multiply matrices; none where another BLAS does.
#[napi]
pub fn blas_threads() -> Option<u32> {
    #[cfg(target_os = "linux")]
    return Some(blas::threads());
    #[cfg(not(target_os = "linux"))]
    None
}

/// Names of the operations of a program, in the order of their numbers.
#[napi]
pub fn operations() -> Vec<String> {
    shim::operations()
}

#[napi(object)]
pub struct FilePart {
    /// Place among the files.
    pub file: u32,
    pub start: f64,
    pub end: f64,
}

#[napi(object, object_to_js = false)]
pub struct TensorFacts {
    /// `F64`, `F32`, `F16`, `BF16`, `U32` or `I32`.
    pub r#type: String,
    pub shape: Vec<i32>,
    /// Its bytes: parts of files one after the other, or where there is `data`, that.
    pub parts: Vec<FilePart>,
    pub data: Option<Uint8Array>,
}

#[napi(object, object_to_js = false)]
pub struct WeightFacts {
    /// For messages.
    pub name: String,
    /// One; or packed numbers, scales and biases of a quantised matrix.
    pub tensors: Vec<TensorFacts>,
    /// `float32`, `float16`, `bfloat16` or `stored`.
    pub target: String,
    /// To add to every number.
    pub plus: f64,
    /// Of one tensor: how to quantise it, 0 not at all. Of three: how they are quantised.
    pub bits: u32,
    pub group: u32,
    /// Three: unfold them when they are loaded.
    pub unfold: bool,
}

#[napi(object, object_to_js = false)]
pub struct ModelFacts {
    pub files: Vec<String>,
    pub weights: Vec<WeightFacts>,
    pub program: Float64Array,
}

#[napi(object, object_to_js = false)]
pub struct RunInput {
    pub rows: u32,
    pub columns: u32,
    pub picked: u32,
    pub ids: Int32Array,
    pub segments: Int32Array,
    pub lengths: Int32Array,
    pub extents: Int32Array,
    pub places: Int32Array,
}

#[napi(object)]
pub struct RunOutput {
    pub data: Float32Array,
    pub shape: Vec<i32>,
}

#[napi]
pub struct NativeModel {
    owner: Arc<Owner>,
}

/// Reads a model's weights and program.
#[napi(ts_return_type = "Promise<NativeModel>")]
pub fn load<'env>(env: &'env Env, model: ModelFacts) -> Result<Object<'env>> {
    let source = parse(model).map_err(rejection)?;
    watch_once(|| env.add_env_cleanup_hook((), |()| end_all()).map(|_| ()))?;
    // The owner exists before its answer is read: the answer is read on this thread, later.
    let (handle, place) = std::sync::mpsc::channel::<Arc<Owner>>();
    let (promise, answer) = promised(env, move |()| {
        let owner =
            place.recv().map_err(|_| Error::from_reason("failed: the model's thread did not start"))?;
        Ok(NativeModel { owner })
    })?;
    let owner = owner::start(source, answer)
        .map_err(|error| rejection(Failure::new("out-of-memory", format!("no thread: {error}"))))?;
    // Nobody waits for it where loading failed.
    let _ = handle.send(owner);
    Ok(promise)
}

#[napi]
impl NativeModel {
    /// Runs one batch. The arrays are copied before this returns.
    #[napi(ts_return_type = "Promise<RunOutput>")]
    pub fn run<'env>(&self, env: &'env Env, input: RunInput) -> Result<Object<'env>> {
        let batch = batch_of(&input);
        let (promise, answer) =
            promised(env, |Output { data, shape }| Ok(RunOutput { data: Float32Array::new(data), shape }))?;
        // A job that is not taken is dropped, which rejects its promise.
        let _ = self.owner.send(Job::Run { batch, answer });
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

impl Drop for NativeModel {
    fn drop(&mut self) {
        // A model that nobody closed: its thread ends, and frees it.
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

fn batch_of(input: &RunInput) -> Batch {
    let RunInput { rows, columns, picked, ids, segments, lengths, extents, places } = input;
    Batch {
        rows: *rows,
        columns: *columns,
        picked: *picked,
        ids: ids.to_vec(),
        segments: segments.to_vec(),
        lengths: lengths.to_vec(),
        extents: extents.to_vec(),
        places: places.to_vec(),
    }
}

fn rejection(Failure { code, message }: Failure) -> Error {
    Error::from_reason(format!("{code}: {message}"))
}

fn parse(ModelFacts { files, weights, program }: ModelFacts) -> std::result::Result<Source, Failure> {
    let weights = weights.into_iter().map(weight_of).collect::<std::result::Result<_, _>>()?;
    Ok(Source { files, weights, program: program.to_vec() })
}

fn weight_of(facts: WeightFacts) -> std::result::Result<WeightSource, Failure> {
    let WeightFacts { name, tensors, target, plus, bits, group, unfold } = facts;
    Ok(WeightSource {
        name,
        tensors: tensors.into_iter().map(tensor_of).collect::<std::result::Result<_, _>>()?,
        target: place("target", &target, &["float32", "float16", "bfloat16", "stored"])?,
        plus: plus as f32,
        bits: bits.min(64) as i32,
        group: group.min(1 << 16) as i32,
        unfold,
    })
}

fn tensor_of(facts: TensorFacts) -> std::result::Result<TensorSource, Failure> {
    let TensorFacts { r#type, shape, parts, data } = facts;
    let bytes = match data {
        Some(data) => Bytes::Given(data.to_vec()),
        None => Bytes::Parts(parts.iter().map(part_of).collect::<std::result::Result<_, _>>()?),
    };
    Ok(TensorSource {
        kind: place("type", &r#type, &["F64", "F32", "F16", "BF16", "U32", "I32"])?,
        shape,
        bytes,
    })
}

fn part_of(&FilePart { file, start, end }: &FilePart) -> std::result::Result<Part, Failure> {
    /// Every whole number up to here is one of a double's.
    const MOST: f64 = 9_007_199_254_740_991.0;
    let is_place = |number: f64| number.fract() == 0.0 && (0.0..=MOST).contains(&number);
    if !is_place(start) || !is_place(end) || end < start {
        return Err(Failure::new("invalid-input", "a part of a file that is none"));
    }
    Ok(Part { file: file as usize, start: start as u64, end: end as u64 })
}

/// Names stand in the order of the shim's numbers.
fn place(what: &str, value: &str, names: &[&str]) -> std::result::Result<i32, Failure> {
    let place = names.iter().position(|&known| known == value);
    place
        .map(|place| place as i32)
        .ok_or_else(|| Failure::new("invalid-input", format!("{what} must be one of {}", names.join(", "))))
}
