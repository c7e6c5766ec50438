//! The thread that owns a model: it loads it, runs it and frees it, one job after the other.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SendError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

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

pub struct Owner {
    jobs: Mutex<Option<Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The JavaScript environment ends: jobs that have not begun are dropped.
    ending: Arc<AtomicBool>,
}

impl Owner {
    /// Starts the thread, which loads the compiled model first.
    pub fn start(
        compiled: String,
        units: MLComputeUnits,
        answer: Answer<Facts>,
    ) -> std::io::Result<Arc<Self>> {
        let (sender, receiver) = channel();
        let ending = Arc::new(AtomicBool::new(false));
        let seen = ending.clone();
        let thread = thread::Builder::new().name("crossrank-coreml".into()).spawn(move || {
            let opened = Model::open(&compiled, units).and_then(|model| {
                let (inputs, outputs) = model.features()?;
                Ok((model, Facts { inputs, outputs }))
            });
            match opened {
                Ok((model, facts)) => {
                    answer(Ok(facts));
                    serve(model, &receiver, &seen);
                }
                Err(failure) => answer(Err(failure)),
            }
        })?;
        let owner =
            Arc::new(Self { jobs: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)), ending });
        ALIVE.with_borrow_mut(|alive| {
            alive.retain(|other| !other.is_finished());
            alive.push(owner.clone());
        });
        Ok(owner)
    }

    /// Gives the job back when the model is closed.
    pub fn send(&self, job: Job) -> std::result::Result<(), Job> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        match jobs.as_ref() {
            Some(sender) => sender.send(job).map_err(|SendError(job)| job),
            None => Err(job),
        }
    }

    /// Takes no more jobs; those it has are still done.
    pub fn hang_up(&self) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn is_finished(&self) -> bool {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn end(&self) {
        self.ending.store(true, Ordering::Release);
        self.hang_up();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic there has been answered by dropping its jobs.
            let _ = thread.join();
        }
    }
}

thread_local! {
    /// Those of this thread's JavaScript environment.
    static ALIVE: RefCell<Vec<Arc<Owner>>> = const { RefCell::new(Vec::new()) };
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

/// Has `watch` called once for each environment.
pub fn watch_once<Error>(
    watch: impl FnOnce() -> std::result::Result<(), Error>,
) -> std::result::Result<(), Error> {
    if !WATCHED.get() {
        watch()?;
        WATCHED.set(true);
    }
    Ok(())
}

/// Waits for what Core ML is at, before this library may be unloaded.
pub fn end_all() {
    WATCHED.set(false);
    for owner in ALIVE.with_borrow_mut(std::mem::take) {
        owner.end();
    }
}

fn serve(model: Model, jobs: &Receiver<Job>, ending: &AtomicBool) {
    while let Ok(job) = jobs.recv() {
        if ending.load(Ordering::Acquire) {
            break;
        }
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
