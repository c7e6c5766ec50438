//! What the thread that owns a model does: it loads it, runs it and frees it.

use std::fs;
use std::sync::Arc;
use std::thread::Builder;

use crossrank_native_owner::{Jobs, OwnedThread};

use crate::shim::{Failure, Input, Model, Options, Tensor};

/// Called on the owning thread, once.
pub type Answer<Value> = Box<dyn FnOnce(Result<Value, Failure>) + Send>;

pub enum Source {
    File(String),
    Bytes(Vec<u8>),
}

pub struct Output {
    pub data: Vec<f32>,
    pub shape: Vec<i32>,
}

/// What is known of a model once it is loaded.
pub struct Facts {
    pub inputs: Vec<Tensor>,
    pub threads: u32,
    pub longest: Option<i32>,
}

pub enum Job {
    Resize { shapes: Vec<Vec<i32>>, answer: Answer<Vec<Tensor>> },
    Run { inputs: Vec<Input>, output: usize, answer: Answer<Output> },
    Close { answer: Answer<()> },
}

pub type Owner = OwnedThread<Job>;

/// Deep graphs are walked recursively.
const STACK_BYTES: usize = 8 << 20;

/// Starts the thread, which loads the model first.
pub fn start(source: Source, options: Options, answer: Answer<Facts>) -> std::io::Result<Arc<Owner>> {
    let thread = Builder::new().name("crossrank-mnn".into()).stack_size(STACK_BYTES);
    Owner::spawn(thread, move |jobs| match load(source, options) {
        Ok(model) => {
            answer(Ok(Facts { inputs: model.inputs(), threads: model.threads(), longest: model.longest() }));
            serve(model, jobs);
        }
        Err(failure) => answer(Err(failure)),
    })
}

fn load(source: Source, options: Options) -> Result<Model, Failure> {
    let bytes = match source {
        Source::Bytes(bytes) => bytes,
        Source::File(path) => {
            fs::read(path).map_err(|error| Failure::new("unreadable", error.to_string()))?
        }
    };
    Model::open(&bytes, options)
}

fn serve(mut model: Model, jobs: Jobs<Job>) {
    for job in jobs {
        match job {
            Job::Resize { shapes, answer } => answer(model.resize(&shapes).map(|()| model.outputs())),
            Job::Run { inputs, output, answer } => {
                answer(model.run(&inputs, output).map(|(data, shape)| Output { data, shape }));
            }
            Job::Close { answer } => {
                drop(model);
                answer(Ok(()));
                return;
            }
        }
    }
}
