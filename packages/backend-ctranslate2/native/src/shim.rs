//! `shim/shim.h`, made safe.

use std::ffi::{CStr, CString, c_char};
use std::ptr::{self, NonNull};

const MESSAGE_BYTES: usize = 512;

/// Why something failed. `code` is what programs read.
#[derive(Debug)]
pub struct Failure {
    pub code: &'static str,
    pub message: String,
}

impl Failure {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// How a model is loaded.
#[derive(Clone)]
pub struct Options {
    pub epsilon: f64,
    pub integers: bool,
}

/// What is read of a run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    First,
    Pooled,
    Tokens,
}

/// As `Ct2ShimOptions`.
#[repr(C)]
struct RawOptions {
    path: *const c_char,
    epsilon: f64,
    integers: i32,
}

/// As `Ct2ShimBatch`.
#[repr(C)]
struct RawBatch {
    rows: i64,
    columns: i64,
    ids: *const i32,
    lengths: *const i32,
    features: *const i32,
}

enum RawModel {}
enum RawReplica {}

unsafe extern "C" {
    fn ct2_shim_version() -> *const c_char;
    fn ct2_shim_has_integers() -> i32;
    fn ct2_shim_open(options: *const RawOptions, model: *mut *mut RawModel, message: *mut c_char) -> i32;
    fn ct2_shim_share(model: *const RawModel) -> *mut RawModel;
    fn ct2_shim_close(model: *mut RawModel);
    fn ct2_shim_replicate(
        model: *const RawModel,
        threads: i32,
        replica: *mut *mut RawReplica,
        message: *mut c_char,
    ) -> i32;
    fn ct2_shim_release(replica: *mut RawReplica);
    fn ct2_shim_run(
        replica: *mut RawReplica,
        batch: *const RawBatch,
        pooled: i32,
        data: *mut *const f32,
        length: *mut usize,
        message: *mut c_char,
    ) -> i32;
}

/// CTranslate2's own version.
pub fn version() -> String {
    // SAFETY: a string constant of the shim.
    unsafe { CStr::from_ptr(ct2_shim_version()) }.to_string_lossy().into_owned()
}

/// Whether this processor computes with 8-bit integers.
pub fn has_integers() -> bool {
    // SAFETY: takes nothing.
    unsafe { ct2_shim_has_integers() != 0 }
}

/// A model's weights. They are not written to once they are loaded.
pub struct Weights(NonNull<RawModel>);

// SAFETY: a shared pointer to constant data, counted atomically.
unsafe impl Send for Weights {}

impl Weights {
    pub fn open(path: &str, options: &Options) -> Result<Self, Failure> {
        let path = CString::new(path).map_err(|_| Failure::new("unreadable", "the path holds a zero"))?;
        let raw = RawOptions {
            path: path.as_ptr(),
            epsilon: options.epsilon,
            integers: i32::from(options.integers),
        };
        let mut model = ptr::null_mut();
        // SAFETY: the path is read while it lives, and not kept.
        check(|message| unsafe { ct2_shim_open(&raw, &mut model, message) })?;
        NonNull::new(model).map(Self).ok_or_else(|| Failure::new("failed", "CTranslate2 gave no model"))
    }

    /// The same weights once more.
    pub fn share(&self) -> Result<Self, Failure> {
        // SAFETY: the model lives as long as `self`; so in all that follows.
        let model = unsafe { ct2_shim_share(self.0.as_ptr()) };
        NonNull::new(model)
            .map(Self)
            .ok_or_else(|| Failure::new("out-of-memory", "there is not enough memory"))
    }
}

impl Drop for Weights {
    fn drop(&mut self) {
        // SAFETY: made by ct2_shim_open or ct2_shim_share, and closed once.
        unsafe { ct2_shim_close(self.0.as_ptr()) }
    }
}

/// Sequences of one batch, each as long as `lengths` says.
pub struct Batch {
    pub rows: usize,
    pub columns: usize,
    pub ids: Vec<i32>,
    pub lengths: Vec<i32>,
    pub features: Option<Vec<i32>>,
}

impl Batch {
    fn is_whole(&self) -> bool {
        let Some(places) = self.rows.checked_mul(self.columns) else { return false };
        self.ids.len() == places
            && self.lengths.len() == self.rows
            && self.features.as_ref().is_none_or(|features| features.len() == places)
    }
}

/// What computes with the weights. It belongs to the thread that made it, so it is not `Send`.
pub struct Replica {
    raw: NonNull<RawReplica>,
    /// Freed after what computes with it.
    _weights: Weights,
}

impl Replica {
    /// On the calling thread, whose number of threads it sets.
    pub fn new(weights: Weights, threads: i32) -> Result<Self, Failure> {
        let mut replica = ptr::null_mut();
        check(|message| unsafe {
            ct2_shim_replicate(weights.0.as_ptr(), threads, &mut replica, message)
        })?;
        let raw = NonNull::new(replica)
            .ok_or_else(|| Failure::new("failed", "CTranslate2 gave nothing to compute with"))?;
        Ok(Self { raw, _weights: weights })
    }

    pub fn run(&mut self, batch: &Batch, reading: Reading) -> Result<Vec<f32>, Failure> {
        if !batch.is_whole() {
            return Err(Failure::new("invalid-input", "an array has another length than the batch says"));
        }
        let too_large = |_| Failure::new("invalid-input", "the batch is too large");
        let raw = RawBatch {
            rows: batch.rows.try_into().map_err(too_large)?,
            columns: batch.columns.try_into().map_err(too_large)?,
            ids: batch.ids.as_ptr(),
            lengths: batch.lengths.as_ptr(),
            features: batch.features.as_ref().map_or(ptr::null(), |features| features.as_ptr()),
        };
        let pooled = match reading {
            Reading::First => 0,
            Reading::Pooled => 1,
            Reading::Tokens => 2,
        };
        let (mut data, mut length) = (ptr::null(), 0);
        // SAFETY: the arrays have the lengths that `is_whole` found, and are not kept.
        check(|message| unsafe {
            ct2_shim_run(self.raw.as_ptr(), &raw, pooled, &mut data, &mut length, message)
        })?;
        // SAFETY: the shim keeps them until the next run.
        Ok(unsafe { std::slice::from_raw_parts(data, length) }.to_vec())
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // SAFETY: made by ct2_shim_replicate, and released once, before its weights.
        unsafe { ct2_shim_release(self.raw.as_ptr()) }
    }
}

fn check(call: impl FnOnce(*mut c_char) -> i32) -> Result<(), Failure> {
    let mut message = [0 as c_char; MESSAGE_BYTES];
    let code = match call(message.as_mut_ptr()) {
        0 => return Ok(()),
        1 => "damaged",
        2 => "unsupported",
        3 => "out-of-memory",
        4 => "invalid-input",
        _ => "failed",
    };
    // SAFETY: the shim ends the text with a zero within the room it has.
    let text = unsafe { CStr::from_ptr(message.as_ptr()) }.to_string_lossy().into_owned();
    Err(Failure { code, message: text })
}
