//! What the thread that owns a session does: it loads the weights, or takes a share of them, and runs batches.

use std::sync::Arc;
use std::thread::Builder;

use crossrank_native_owner::{Jobs, OwnedThread};

use crate::shim::{Batch, Failure, Options, Reading, Replica, Weights};

/// Called on the owning thread, once.
pub type Answer<Value> = Box<dyn FnOnce(Result<Value, Failure>) + Send>;

pub enum Source {
    File(String, Options),
    Shared(Weights),
}

pub enum Job {
    Run { batch: Batch, reading: Reading, answer: Answer<Vec<f32>> },
    Close { answer: Answer<()> },
}

pub type Owner = OwnedThread<Job>;

const STACK_BYTES: usize = 8 << 20;

/// Starts the thread, which loads first.
pub fn start(source: Source, threads: i32, answer: Answer<Weights>) -> std::io::Result<Arc<Owner>> {
    let thread = Builder::new().name("crossrank-ctranslate2".into()).stack_size(STACK_BYTES);
    Owner::spawn(thread, move |jobs| match load(source, threads) {
        Ok((replica, weights)) => {
            answer(Ok(weights));
            serve(replica, jobs);
        }
        Err(failure) => answer(Err(failure)),
    })
}

/// What computes, and a share of its weights for further sessions.
fn load(source: Source, threads: i32) -> Result<(Replica, Weights), Failure> {
    let weights = match source {
        Source::File(path, options) => Weights::open(&path, &options)?,
        Source::Shared(weights) => weights,
    };
    let shared = weights.share()?;
    Ok((Replica::new(weights, threads)?, shared))
}

fn serve(mut replica: Replica, jobs: Jobs<Job>) {
    for job in jobs {
        match job {
            Job::Run { batch, reading, answer } => answer(replica.run(&batch, reading)),
            Job::Close { answer } => {
                drop(replica);
                answer(Ok(()));
                return;
            }
        }
    }
}
