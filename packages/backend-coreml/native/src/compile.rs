//! From .mlpackage to .mlmodelc.

use std::path::Path;
use std::sync::mpsc::channel;

use block2::RcBlock;
use objc2_core_ml::MLModel;
use objc2_foundation::{NSError, NSURL};

use crate::failure::{Failure, Result, completed, guarded};

/// Compiles a .mlpackage, and waits for it.
///
/// Returns the compiled model's folder, which Core ML makes in a temporary place: the caller moves it away.
pub fn compile(package: &str) -> Result<String> {
    let (sender, receiver) = channel();
    guarded(|| {
        let url = url_of(package)?;
        let handler = RcBlock::new(move |url: *mut NSURL, error: *mut NSError| {
            let path = guarded(|| {
                // SAFETY: Core ML keeps both alive while its handler runs.
                let url = unsafe { completed("compile", url, error) }?;
                let path =
                    url.path().ok_or_else(|| Failure::new("compile", "the compiled model has no path"))?;
                Ok(path.to_string())
            });
            // Nobody waits for a second answer.
            let _ = sender.send(path);
        });
        // SAFETY: the URL is of a file, and the handler may run on any thread: a Sender may be used there.
        unsafe { MLModel::compileModelAtURL_completionHandler(&url, &handler) };
        Ok(())
    })?;
    // Ends too where Core ML forgets the handler: the sender goes with it.
    receiver.recv().unwrap_or_else(|_| Err(Failure::new("compile", "Core ML did not answer")))
}

/// A file's URL. Core ML's own message for a path that is not there does not name it.
pub fn url_of(path: &str) -> Result<objc2::rc::Retained<NSURL>> {
    let folder = Path::new(path);
    if !folder.exists() {
        return Err(Failure::new("invalid-input", format!("{path} is not there")));
    }
    let url =
        if folder.is_dir() { NSURL::from_directory_path(folder) } else { NSURL::from_file_path(folder) };
    url.ok_or_else(|| Failure::new("invalid-input", format!("{path} is no path of a file")))
}
