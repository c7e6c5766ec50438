//! `shim/shim.h`, made safe: a loaded model that belongs to one thread.

use std::ffi::{CStr, c_char};
use std::ptr::{self, NonNull};

// The library itself comes with this crate.
use mnn_sys as _;

const MOST_DIMENSIONS: usize = 8;
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

/// As `MnnShimOptions`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Options {
    pub threads: i32,
    pub precision: i32,
    pub memory: i32,
}

#[repr(C)]
struct RawTensor {
    name: *const c_char,
    code: i32,
    bits: i32,
    rank: i32,
    shape: [i32; MOST_DIMENSIONS],
    below: i32,
}

#[repr(C)]
struct RawInput {
    rank: i32,
    shape: [i32; MOST_DIMENSIONS],
    data: *const i32,
    length: usize,
}

enum RawSession {}

unsafe extern "C" {
    fn mnn_shim_version() -> *const c_char;
    fn mnn_shim_pool() -> i32;
    fn mnn_shim_open(
        bytes: *const u8,
        size: usize,
        options: *const Options,
        session: *mut *mut RawSession,
        message: *mut c_char,
    ) -> i32;
    fn mnn_shim_close(session: *mut RawSession);
    fn mnn_shim_threads(session: *const RawSession) -> i32;
    fn mnn_shim_longest(session: *const RawSession) -> i32;
    fn mnn_shim_input_count(session: *const RawSession) -> usize;
    fn mnn_shim_output_count(session: *const RawSession) -> usize;
    fn mnn_shim_input(session: *const RawSession, index: usize, tensor: *mut RawTensor);
    fn mnn_shim_output(session: *const RawSession, index: usize, tensor: *mut RawTensor);
    fn mnn_shim_resize(
        session: *mut RawSession,
        inputs: *const RawInput,
        count: usize,
        message: *mut c_char,
    ) -> i32;
    fn mnn_shim_run(
        session: *mut RawSession,
        inputs: *const RawInput,
        count: usize,
        message: *mut c_char,
    ) -> i32;
    fn mnn_shim_read(
        session: *mut RawSession,
        index: usize,
        data: *mut f32,
        length: usize,
        message: *mut c_char,
    ) -> i32;
}

/// MNN's own version.
pub fn version() -> String {
    // SAFETY: a string constant of MNN.
    unsafe { CStr::from_ptr(mnn_shim_version()) }.to_string_lossy().into_owned()
}

/// Threads of this process's pool; 0 while there is none.
pub fn pool_threads() -> u32 {
    // SAFETY: takes nothing; guarded by a mutex.
    unsafe { mnn_shim_pool() }.try_into().unwrap_or(0)
}

/// An input or output of a graph.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub name: String,
    /// E.g. `int32`, `float32`.
    pub kind: String,
    pub shape: Vec<i32>,
    /// Inputs: numbers must be below, where the table that they are looked up in was recognised.
    pub below: Option<i32>,
}

/// Numbers for one input.
pub struct Input {
    pub shape: Vec<i32>,
    pub data: Vec<i32>,
}

/// A model in MNN's memory. MNN wants everything about it done by one thread, so it is not `Sync`.
pub struct Model(NonNull<RawSession>);

impl Model {
    pub fn open(bytes: &[u8], options: Options) -> Result<Self, Failure> {
        let mut session = ptr::null_mut();
        // SAFETY: the bytes are read within their length and not kept.
        check(|message| unsafe {
            mnn_shim_open(bytes.as_ptr(), bytes.len(), &options, &mut session, message)
        })?;
        NonNull::new(session).map(Self).ok_or_else(|| Failure::new("failed", "MNN gave no session"))
    }

    /// Threads that a run uses.
    pub fn threads(&self) -> u32 {
        // SAFETY: the session lives as long as `self`; so in all that follows.
        unsafe { mnn_shim_threads(self.0.as_ptr()) }.try_into().unwrap_or(1)
    }

    /// Most columns, where a table of positions was recognised.
    pub fn longest(&self) -> Option<i32> {
        Some(unsafe { mnn_shim_longest(self.0.as_ptr()) }).filter(|&longest| longest > 0)
    }

    pub fn inputs(&self) -> Vec<Tensor> {
        let count = unsafe { mnn_shim_input_count(self.0.as_ptr()) };
        (0..count)
            .map(|index| describe(|tensor| unsafe { mnn_shim_input(self.0.as_ptr(), index, tensor) }))
            .collect()
    }

    /// Shapes are those of the last resize or run.
    pub fn outputs(&self) -> Vec<Tensor> {
        let count = unsafe { mnn_shim_output_count(self.0.as_ptr()) };
        (0..count)
            .map(|index| describe(|tensor| unsafe { mnn_shim_output(self.0.as_ptr(), index, tensor) }))
            .collect()
    }

    /// Prepares the graph for inputs of these shapes, in the order of `inputs()`.
    pub fn resize(&mut self, shapes: &[Vec<i32>]) -> Result<(), Failure> {
        let raw = shapes.iter().map(|shape| raw_input(shape, &[])).collect::<Result<Vec<_>, _>>()?;
        check(|message| unsafe { mnn_shim_resize(self.0.as_ptr(), raw.as_ptr(), raw.len(), message) })
    }

    /// Fills every input, runs, and returns one output with its shape.
    pub fn run(&mut self, inputs: &[Input], output: usize) -> Result<(Vec<f32>, Vec<i32>), Failure> {
        let raw =
            inputs.iter().map(|input| raw_input(&input.shape, &input.data)).collect::<Result<Vec<_>, _>>()?;
        check(|message| unsafe { mnn_shim_run(self.0.as_ptr(), raw.as_ptr(), raw.len(), message) })?;
        let outputs = self.outputs();
        let tensor =
            outputs.get(output).ok_or_else(|| Failure::new("invalid-input", "there is no such output"))?;
        let shape = tensor.shape.clone();
        let length = shape.iter().map(|&axis| axis.max(0) as usize).product();
        let mut data = vec![0_f32; length];
        // SAFETY: there is room for `length` numbers, and the shim refuses any other size.
        check(|message| unsafe {
            mnn_shim_read(self.0.as_ptr(), output, data.as_mut_ptr(), length, message)
        })?;
        Ok((data, shape))
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: made by mnn_shim_open, and closed once.
        unsafe { mnn_shim_close(self.0.as_ptr()) }
    }
}

fn raw_input(shape: &[i32], data: &[i32]) -> Result<RawInput, Failure> {
    if shape.is_empty() || shape.len() > MOST_DIMENSIONS {
        return Err(Failure::new("invalid-input", format!("a shape of {} dimensions", shape.len())));
    }
    let mut filled = [0; MOST_DIMENSIONS];
    filled[..shape.len()].copy_from_slice(shape);
    Ok(RawInput { rank: shape.len() as i32, shape: filled, data: data.as_ptr(), length: data.len() })
}

fn describe(fill: impl FnOnce(*mut RawTensor)) -> Tensor {
    let mut raw =
        RawTensor { name: ptr::null(), code: 0, bits: 0, rank: 0, shape: [0; MOST_DIMENSIONS], below: 0 };
    fill(&mut raw);
    // SAFETY: the shim sets the name, which lives as long as the session.
    let name = unsafe { CStr::from_ptr(raw.name) }.to_string_lossy().into_owned();
    let family = match raw.code {
        0 => "int",
        1 => "uint",
        2 => "float",
        _ => "unknown",
    };
    let rank = raw.rank.clamp(0, MOST_DIMENSIONS as i32) as usize;
    Tensor {
        name,
        kind: format!("{family}{}", raw.bits),
        shape: raw.shape[..rank].to_vec(),
        below: (raw.below > 0).then_some(raw.below),
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
        6 => "threads",
        _ => "failed",
    };
    // SAFETY: the shim ends the text with a zero within the room it has.
    let text = unsafe { CStr::from_ptr(message.as_ptr()) }.to_string_lossy().into_owned();
    Err(Failure { code, message: text })
}
