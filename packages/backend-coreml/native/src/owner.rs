//! What the thread that owns a model does: it loads it, runs it and frees it.

use std::sync::Arc;
use std::thread::Builder;

use crossrank_native_owner::{Jobs, OwnedThread};
use objc2_core_ml::MLComputeUnits;

use crate::failure::{Result, guarded};
use crate::model::{Feature, Model};
use crate::tensor::{Input, Output};

/// Called on the owning thread, once.
pub type Answer<Value> = Box<dyn FnOnce(Result<Value>) + Send>;

/// What is known of a model once it is loaded.
pub struct Facts {
    pub inputs: Vec<Feature>,
    pub outputs: Vec<Feature>,
}

pub enum Job {
    Predict { inputs: Vec<Input>, output: String, answer: Answer<Output> },
    Close { answer: Answer<()> },
}

pub type Owner = OwnedThread<Job>;

/// Starts the thread, which loads the compiled model first.
pub fn start(compiled: String, units: MLComputeUnits, answer: Answer<Facts>) -> std::io::Result<Arc<Owner>> {
    Owner::spawn(Builder::new().name("crossrank-coreml".into()), move |jobs| {
        let opened = Model::open(&compiled, units).and_then(|model| {
            let (inputs, outputs) = model.features()?;
            Ok((model, Facts { inputs, outputs }))
        });
        match opened {
            Ok((model, facts)) => {
                answer(Ok(facts));
                serve(model, jobs);
            }
            Err(failure) => answer(Err(failure)),
        }
    })
}

fn serve(model: Model, jobs: Jobs<Job>) {
    for job in jobs {
        match job {
            Job::Predict { inputs, output, answer } => answer(model.predict(inputs, &output)),
            Job::Close { answer } => return answer(freed(model)),
        }
    }
    // Nobody is left to be told.
    let _ = freed(model);
}

/// Frees the model within a pool of its own.
fn freed(model: Model) -> Result<()> {
    guarded(|| {
        drop(model);
        Ok(())
    })
}
