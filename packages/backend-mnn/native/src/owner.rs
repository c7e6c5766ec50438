//! The thread that owns a model: it loads it, runs it and frees it, one job after the other.

use std::cell::{Cell, RefCell};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SendError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

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

/// Deep graphs are walked recursively.
const STACK_BYTES: usize = 8 << 20;

pub struct Owner {
    jobs: Mutex<Option<Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The JavaScript environment ends: jobs that have not begun are dropped.
    ending: Arc<AtomicBool>,
}

impl Owner {
    /// Starts the thread, which loads the model first.
    pub fn start(source: Source, options: Options, answer: Answer<Facts>) -> std::io::Result<Arc<Self>> {
        let (sender, receiver) = channel();
        let ending = Arc::new(AtomicBool::new(false));
        let seen = ending.clone();
        let thread =
            thread::Builder::new().name("crossrank-mnn".into()).stack_size(STACK_BYTES).spawn(move || {
                match load(source, options) {
                    Ok(model) => {
                        answer(Ok(Facts {
                            inputs: model.inputs(),
                            threads: model.threads(),
                            longest: model.longest(),
                        }));
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
    pub fn send(&self, job: Job) -> Result<(), Job> {
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
pub fn watch_once<Error>(watch: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    if !WATCHED.get() {
        watch()?;
        WATCHED.set(true);
    }
    Ok(())
}

/// Waits for what MNN is at, before its static data is destroyed or this library is unloaded.
pub fn end_all() {
    WATCHED.set(false);
    for owner in ALIVE.with_borrow_mut(std::mem::take) {
        owner.end();
    }
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

fn serve(mut model: Model, jobs: &Receiver<Job>, ending: &AtomicBool) {
    while let Ok(job) = jobs.recv() {
        if ending.load(Ordering::Acquire) {
            break;
        }
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
