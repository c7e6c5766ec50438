//! What JavaScript sees.

use std::sync::Arc;

use crossrank_native_owner::{end_all, watch_once};
use napi::JsDeferred;
use napi::bindgen_prelude::{
    AsyncTask, Env, Error, Float32Array, Int32Array, Object, Result, Task, ToNapiValue,
};
use napi_derive::napi;
use objc2_core_ml::MLComputeUnits;

use crate::failure::{self, Failure};
use crate::model::Feature;
use crate::owner::{self, Answer, Facts, Job, Owner};
use crate::tensor::{Input, Output};
use crate::{compile, plan, system};

#[napi(object)]
pub struct System {
    /// The addon's own version.
    pub addon: String,
    /// Of macOS, e.g. `15.1`.
    pub product: Option<String>,
    /// Of macOS, e.g. `24B83`.
    pub build: Option<String>,
    /// E.g. `Apple M3`.
    pub chip: Option<String>,
}

#[napi(object)]
pub struct FeatureFacts {
    pub name: String,
    /// `int32`, `float16`, `float32`, `float64` or `other`.
    pub r#type: String,
    /// The one that is declared first; empty where none is.
    pub shape: Vec<u32>,
    /// All that are declared, where the model lists them.
    pub shapes: Vec<Vec<u32>>,
}

#[napi(object)]
pub struct PredictInput {
    pub name: String,
    pub shape: Vec<u32>,
    pub data: Int32Array,
}

#[napi(object)]
pub struct PredictOutput {
    pub shape: Vec<u32>,
    pub data: Float32Array,
}

#[napi(object)]
pub struct PlannedOperation {
    pub operator: String,
    pub outputs: Vec<String>,
    /// `neuralEngine`, `gpu` or `cpu`.
    pub preferred: Option<String>,
    pub supported: Vec<String>,
    /// Share of the estimated time, 0 to 1.
    pub cost: Option<f64>,
}

#[napi]
pub fn system() -> System {
    System {
        addon: env!("CARGO_PKG_VERSION").to_owned(),
        product: system::product_version(),
        build: system::build_version(),
        chip: system::chip(),
    }
}

/// Compiles a .mlpackage on a thread of Node's pool.
/// @returns the compiled model's folder, in a temporary place: move it away.
#[napi(ts_return_type = "Promise<string>")]
pub fn compile(package: String) -> AsyncTask<Compilation> {
    AsyncTask::new(Compilation(package))
}

/// Plans the function of that name of a compiled model, on a thread of Node's pool. Needs macOS 14.4.
#[napi(ts_return_type = "Promise<Array<PlannedOperation>>")]
pub fn compute_plan(
    compiled: String,
    compute_units: String,
    function: String,
) -> Result<AsyncTask<Planning>> {
    let units = units_of(&compute_units).map_err(rejection)?;
    Ok(AsyncTask::new(Planning { compiled, units, function }))
}

/// Loads a compiled model. The first load may take long: the system then prepares it for the Neural Engine.
#[napi(ts_return_type = "Promise<NativeModel>")]
pub fn load<'env>(env: &'env Env, compiled: String, compute_units: String) -> Result<Object<'env>> {
    let units = units_of(&compute_units).map_err(rejection)?;
    watch_once(|| env.add_env_cleanup_hook((), |()| end_all()).map(|_| ()))?;
    // The owner exists before its answer is read: the answer is read on this thread, later.
    let (handle, place) = std::sync::mpsc::channel::<Arc<Owner>>();
    let (promise, answer) = promised(env, move |facts: Facts| {
        let owner =
            place.recv().map_err(|_| Error::from_reason("failed: the model's thread did not start"))?;
        Ok(NativeModel { owner, facts })
    })?;
    let owner = owner::start(compiled, units, answer)
        .map_err(|error| rejection(Failure::new("failed", format!("no thread: {error}"))))?;
    // Nobody waits for it where loading failed.
    let _ = handle.send(owner);
    Ok(promise)
}

#[napi]
pub struct NativeModel {
    owner: Arc<Owner>,
    facts: Facts,
}

#[napi]
impl NativeModel {
    /// In order of their names.
    #[napi(getter)]
    pub fn inputs(&self) -> Vec<FeatureFacts> {
        self.facts.inputs.iter().cloned().map(FeatureFacts::from).collect()
    }

    /// In order of their names.
    #[napi(getter)]
    pub fn outputs(&self) -> Vec<FeatureFacts> {
        self.facts.outputs.iter().cloned().map(FeatureFacts::from).collect()
    }

    /// Predicts on the model's own thread. The arrays are copied before this returns.
    /// @param output name of the output wanted.
    #[napi(ts_return_type = "Promise<PredictOutput>")]
    pub fn predict<'env>(
        &self,
        env: &'env Env,
        inputs: Vec<PredictInput>,
        output: String,
    ) -> Result<Object<'env>> {
        let inputs = inputs
            .into_iter()
            .map(|PredictInput { name, shape, data }| Input { name, shape, data: data.to_vec() })
            .collect();
        let (promise, answer) = promised(env, |Output { shape, data }| {
            Ok(PredictOutput { shape, data: Float32Array::new(data) })
        })?;
        // A job that is not taken is dropped, which rejects its promise.
        let _ = self.owner.send(Job::Predict { inputs, output, answer });
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
        // A model that nobody closed: its thread ends, and frees the model.
        self.owner.hang_up();
    }
}

pub struct Compilation(String);

impl Task for Compilation {
    type Output = String;
    type JsValue = String;

    fn compute(&mut self) -> Result<String> {
        compile::compile(&self.0).map_err(rejection)
    }

    fn resolve(&mut self, _: Env, compiled: String) -> Result<String> {
        Ok(compiled)
    }
}

pub struct Planning {
    compiled: String,
    units: MLComputeUnits,
    function: String,
}

impl Task for Planning {
    type Output = Vec<plan::Operation>;
    type JsValue = Vec<PlannedOperation>;

    fn compute(&mut self) -> Result<Vec<plan::Operation>> {
        plan::plan(&self.compiled, self.units, &self.function).map_err(rejection)
    }

    fn resolve(&mut self, _: Env, operations: Vec<plan::Operation>) -> Result<Vec<PlannedOperation>> {
        Ok(operations.into_iter().map(PlannedOperation::from).collect())
    }
}

impl From<plan::Operation> for PlannedOperation {
    fn from(plan::Operation { operator, outputs, preferred, supported, cost }: plan::Operation) -> Self {
        let supported = supported.into_iter().map(str::to_owned).collect();
        Self { operator, outputs, preferred: preferred.map(str::to_owned), supported, cost }
    }
}

impl From<Feature> for FeatureFacts {
    fn from(Feature { name, kind, shape, shapes }: Feature) -> Self {
        Self { name, r#type: kind.to_owned(), shape, shapes }
    }
}

type Resolver<Data> = Box<dyn FnOnce(Env) -> Result<Data> + Send>;

/// Settles a promise once, from any thread. One that is dropped unanswered is rejected: an open promise would keep the
/// program alive.
struct Settlement<Data: ToNapiValue + 'static>(Option<JsDeferred<Data, Resolver<Data>>>);

impl<Data: ToNapiValue + 'static> Settlement<Data> {
    fn settle(&mut self, result: failure::Result<Resolver<Data>>) {
        match (self.0.take(), result) {
            (Some(deferred), Ok(resolver)) => deferred.resolve(resolver),
            (Some(deferred), Err(failure)) => deferred.reject(rejection(failure)),
            (None, _) => {}
        }
    }
}

impl<Data: ToNapiValue + 'static> Drop for Settlement<Data> {
    fn drop(&mut self) {
        self.settle(Err(Failure::new("closed", "the model is closed")));
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

fn units_of(name: &str) -> failure::Result<MLComputeUnits> {
    match name {
        "cpuAndNeuralEngine" => Ok(MLComputeUnits::CPUAndNeuralEngine),
        "cpuAndGPU" => Ok(MLComputeUnits::CPUAndGPU),
        "all" => Ok(MLComputeUnits::All),
        "cpuOnly" => Ok(MLComputeUnits::CPUOnly),
        _ => {
            Err(Failure::new("invalid-input", format!("computeUnits is {name}, which is none of Core ML's")))
        }
    }
}
