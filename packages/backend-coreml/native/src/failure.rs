//! What goes wrong, as a code and a sentence. Neither a panic nor an Objective-C exception leaves this crate.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use objc2::Message;
use objc2::rc::{Retained, autoreleasepool};
use objc2_foundation::{NSError, NSUnderlyingErrorKey};

#[derive(Debug)]
pub struct Failure {
    pub code: &'static str,
    pub message: String,
}

pub type Result<Value> = std::result::Result<Value, Failure>;

impl Failure {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// E.g. `load: Unable to load model (com.apple.CoreML 0): the reason, as deep as Core ML gives it`.
    pub fn of(code: &'static str, error: &NSError) -> Self {
        /// Errors that name each other would never end.
        const DEEPEST: usize = 8;
        let mut message = sentence(error);
        let mut outer = error.retain();
        for _ in 0..DEEPEST {
            // SAFETY: a constant of Foundation, which is linked.
            let key = unsafe { NSUnderlyingErrorKey };
            let Some(inner) = outer.userInfo().objectForKey(key) else { break };
            let Ok(inner) = inner.downcast::<NSError>() else { break };
            message = format!("{message}: {}", sentence(&inner));
            outer = inner;
        }
        Self { code, message }
    }
}

fn sentence(error: &NSError) -> String {
    format!("{} ({} {})", error.localizedDescription(), error.domain(), error.code())
}

/// Runs `task` with an autorelease pool of its own.
pub fn guarded<Value>(task: impl FnOnce() -> Result<Value>) -> Result<Value> {
    // An exception is caught inside of the pool, which is then emptied as ever.
    let caught = catch_unwind(AssertUnwindSafe(|| {
        autoreleasepool(|_| objc2::exception::catch(AssertUnwindSafe(task)))
    }));
    match caught {
        Ok(Ok(result)) => result,
        Ok(Err(Some(exception))) => {
            Err(Failure::new("failed", format!("Core ML raised an exception: {exception}")))
        }
        Ok(Err(None)) => Err(Failure::new("failed", "Core ML raised an exception without a name")),
        Err(panic) => Err(Failure::new("failed", format!("the addon panicked: {}", text_of(&*panic)))),
    }
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a message").to_owned()
}

/// What a completion handler was given: an object, or why there is none.
///
/// # Safety
///
/// The pointers are null or valid until this returns, as Core ML gives them to its completion handlers.
pub unsafe fn completed<Object: Message>(
    code: &'static str,
    object: *mut Object,
    error: *mut NSError,
) -> Result<Retained<Object>> {
    // SAFETY: as this function demands.
    if let Some(object) = unsafe { Retained::retain(object) } {
        return Ok(object);
    }
    // SAFETY: as this function demands.
    match unsafe { Retained::retain(error) } {
        Some(error) => Err(Failure::of(code, &error)),
        None => Err(Failure::new(code, "Core ML gave neither a result nor a reason")),
    }
}
