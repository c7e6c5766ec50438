//! The thread that owns a native session. It does one job after the other, and its JavaScript environment does not end
//! before it.
//!
//! Every addon of this repository has it from here; it knows no runtime and no napi
//! (docs/decisions/0012-native-owner.md).

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SendError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

/// What there is to do, in order. It ends when the owner hung up, and when the JavaScript environment ends: jobs that
/// have not begun by then are dropped.
pub struct Jobs<Job> {
    receiver: Receiver<Job>,
    ending: Arc<AtomicBool>,
}

impl<Job> Iterator for Jobs<Job> {
    type Item = Job;

    fn next(&mut self) -> Option<Job> {
        let job = self.receiver.recv().ok()?;
        (!self.ending.load(Ordering::Acquire)).then_some(job)
    }
}

/// A thread with its queue. A session's JavaScript object holds it, and so does its environment.
pub struct OwnedThread<Job> {
    jobs: Mutex<Option<Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    ending: Arc<AtomicBool>,
}

impl<Job: Send + 'static> OwnedThread<Job> {
    /// Starts the thread. `work` loads the session, and frees it when there are no more jobs.
    pub fn spawn(
        thread: Builder,
        work: impl FnOnce(Jobs<Job>) + Send + 'static,
    ) -> std::io::Result<Arc<Self>> {
        let (sender, receiver) = channel();
        let ending = Arc::new(AtomicBool::new(false));
        let jobs = Jobs { receiver, ending: ending.clone() };
        let thread = thread.spawn(move || work(jobs))?;
        let owner =
            Arc::new(Self { jobs: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)), ending });
        ALIVE.with_borrow_mut(|alive| {
            alive.retain(|other| !other.is_finished());
            alive.push(owner.clone());
        });
        Ok(owner)
    }

    /// Gives the job back when the session is closed.
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
}

/// An owner, whatever its jobs are.
trait Alive {
    fn is_finished(&self) -> bool;

    /// Has the jobs dropped that have not begun.
    fn stop(&self);

    /// Waits for the one that has.
    fn join(&self);
}

impl<Job: Send + 'static> Alive for OwnedThread<Job> {
    fn is_finished(&self) -> bool {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn stop(&self) {
        self.ending.store(true, Ordering::Release);
        self.hang_up();
    }

    fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic there has been answered by dropping its jobs.
            let _ = thread.join();
        }
    }
}

thread_local! {
    /// Those of this thread's JavaScript environment.
    static ALIVE: RefCell<Vec<Arc<dyn Alive>>> = const { RefCell::new(Vec::new()) };
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

/// Waits for what the runtime is at, before its static data is destroyed or this library is unloaded.
pub fn end_all() {
    WATCHED.set(false);
    let owners = ALIVE.with_borrow_mut(std::mem::take);
    // All before the first is waited for: the others would begin their next jobs meanwhile.
    for owner in &owners {
        owner.stop();
    }
    for owner in &owners {
        owner.join();
    }
}
