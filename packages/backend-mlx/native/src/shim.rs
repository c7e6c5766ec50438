//! `shim/shim.h`, made safe: a model that belongs to one thread.

use std::ffi::{CStr, c_char};
use std::ptr::{self, NonNull};

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

#[repr(C)]
#[derive(Clone, Copy)]
struct RawTensor {
    kind: i32,
    rank: i32,
    shape: [i32; MOST_DIMENSIONS],
    data: *const u8,
    bytes: usize,
}

#[repr(C)]
struct RawWeight {
    tensors: usize,
    tensor: [RawTensor; 3],
    target: i32,
    plus: f32,
    bits: i32,
    group: i32,
    unfold: i32,
}

#[repr(C)]
struct RawBatch {
    rows: i32,
    columns: i32,
    picked: i32,
    ids: *const i32,
    segments: *const i32,
    lengths: *const i32,
    extents: *const i32,
    places: *const i32,
}

enum RawModel {}

unsafe extern "C" {
    fn mlx_shim_version() -> *const c_char;
    fn mlx_shim_on_gpu() -> i32;
    fn mlx_shim_operation(index: usize) -> *const c_char;
    fn mlx_shim_open(model: *mut *mut RawModel, message: *mut c_char) -> i32;
    fn mlx_shim_close(model: *mut RawModel);
    fn mlx_shim_weight(model: *mut RawModel, weight: *const RawWeight, message: *mut c_char) -> i32;
    fn mlx_shim_program(model: *mut RawModel, words: *const f64, count: usize, message: *mut c_char) -> i32;
    fn mlx_shim_run(model: *mut RawModel, batch: *const RawBatch, message: *mut c_char) -> i32;
    fn mlx_shim_shape(model: *const RawModel, shape: *mut i32) -> i32;
    fn mlx_shim_read(model: *mut RawModel, data: *mut f32, length: usize, message: *mut c_char) -> i32;
}

/// MLX's own version.
pub fn version() -> String {
    // SAFETY: a string constant of MLX.
    unsafe { CStr::from_ptr(mlx_shim_version()) }.to_string_lossy().into_owned()
}

pub fn on_gpu() -> bool {
    // SAFETY: takes nothing.
    unsafe { mlx_shim_on_gpu() != 0 }
}

/// Names of the operations, in the order of their numbers.
pub fn operations() -> Vec<String> {
    (0..)
        .map(|index| unsafe { mlx_shim_operation(index) })
        .take_while(|name| !name.is_null())
        // SAFETY: the shim's own names, which stay.
        .map(|name| unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned())
        .collect()
}

/// A tensor's bytes as a file holds them.
pub struct Tensor {
    /// As `MlxShimType`.
    pub kind: i32,
    pub shape: Vec<i32>,
    pub data: Vec<u8>,
}

/// As `MlxShimWeight`.
pub struct Weight {
    pub tensors: Vec<Tensor>,
    pub target: i32,
    pub plus: f32,
    pub bits: i32,
    pub group: i32,
    pub unfold: bool,
}

/// Row-major: ids and segments (rows, columns), lengths and extents (rows), places (rows, picked).
pub struct Batch {
    pub rows: u32,
    pub columns: u32,
    pub picked: u32,
    pub ids: Vec<i32>,
    pub segments: Vec<i32>,
    pub lengths: Vec<i32>,
    pub extents: Vec<i32>,
    pub places: Vec<i32>,
}

/// A model in MLX's memory. Its streams belong to the thread that opened it, so it is neither `Send` nor `Sync`.
pub struct Model(NonNull<RawModel>);

impl Model {
    pub fn open() -> Result<Self, Failure> {
        let mut model = ptr::null_mut();
        // SAFETY: the shim writes the place, and nothing else.
        check(|message| unsafe { mlx_shim_open(&mut model, message) })?;
        NonNull::new(model).map(Self).ok_or_else(|| Failure::new("failed", "MLX gave no model"))
    }

    pub fn add_weight(&mut self, weight: &Weight) -> Result<(), Failure> {
        let count = weight.tensors.len();
        if count != 1 && count != 3 {
            return Err(Failure::new("invalid-input", format!("a weight of {count} tensors")));
        }
        let none = RawTensor { kind: 0, rank: 0, shape: [0; MOST_DIMENSIONS], data: ptr::null(), bytes: 0 };
        let mut tensor = [none; 3];
        for (raw, given) in tensor.iter_mut().zip(&weight.tensors) {
            if given.shape.len() > MOST_DIMENSIONS {
                return Err(Failure::new("invalid-input", "a tensor of too many dimensions"));
            }
            let mut shape = [0; MOST_DIMENSIONS];
            shape[..given.shape.len()].copy_from_slice(&given.shape);
            *raw = RawTensor {
                kind: given.kind,
                rank: given.shape.len() as i32,
                shape,
                data: given.data.as_ptr(),
                bytes: given.data.len(),
            };
        }
        let raw = RawWeight {
            tensors: count,
            tensor,
            target: weight.target,
            plus: weight.plus,
            bits: weight.bits,
            group: weight.group,
            unfold: weight.unfold.into(),
        };
        // SAFETY: the bytes are read within their lengths and copied. The model lives as long as `self`; so in all that
        // follows.
        check(|message| unsafe { mlx_shim_weight(self.0.as_ptr(), &raw, message) })
    }

    pub fn set_program(&mut self, words: &[f64]) -> Result<(), Failure> {
        check(|message| unsafe { mlx_shim_program(self.0.as_ptr(), words.as_ptr(), words.len(), message) })
    }

    pub fn run(&mut self, batch: &Batch) -> Result<(Vec<f32>, Vec<i32>), Failure> {
        let filled = |values: &[i32], rows: u32, columns: u32| {
            u64::from(rows).checked_mul(columns.into()) == Some(values.len() as u64)
        };
        let Batch { rows, columns, picked, ids, segments, lengths, extents, places } = batch;
        if !filled(ids, *rows, *columns)
            || !filled(segments, *rows, *columns)
            || !filled(lengths, *rows, 1)
            || !filled(extents, *rows, 1)
            || !filled(places, *rows, *picked)
        {
            return Err(Failure::new("invalid-input", "an array of the batch has another number of values"));
        }
        let size = |value: u32| {
            i32::try_from(value).map_err(|_| Failure::new("invalid-input", "a batch that is too large"))
        };
        let raw = RawBatch {
            rows: size(*rows)?,
            columns: size(*columns)?,
            picked: size(*picked)?,
            ids: ids.as_ptr(),
            segments: segments.as_ptr(),
            lengths: lengths.as_ptr(),
            extents: extents.as_ptr(),
            places: places.as_ptr(),
        };
        // SAFETY: every array has the numbers that the batch says.
        check(|message| unsafe { mlx_shim_run(self.0.as_ptr(), &raw, message) })?;
        let mut shape = [0; MOST_DIMENSIONS];
        // SAFETY: there is room for as many dimensions as the shim writes.
        let rank = unsafe { mlx_shim_shape(self.0.as_ptr(), shape.as_mut_ptr()) };
        let shape = shape[..usize::try_from(rank).unwrap_or(0).min(MOST_DIMENSIONS)].to_vec();
        let length = shape.iter().map(|&axis| axis.max(0) as usize).product();
        let mut data = vec![0_f32; length];
        // SAFETY: there is room for `length` numbers, and the shim refuses any other size.
        check(|message| unsafe { mlx_shim_read(self.0.as_ptr(), data.as_mut_ptr(), length, message) })?;
        Ok((data, shape))
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: made by mlx_shim_open, closed once, on the thread that owns it.
        unsafe { mlx_shim_close(self.0.as_ptr()) }
    }
}

fn check(call: impl FnOnce(*mut c_char) -> i32) -> Result<(), Failure> {
    let mut message = [0 as c_char; MESSAGE_BYTES];
    let code = match call(message.as_mut_ptr()) {
        0 => return Ok(()),
        1 => "damaged",
        3 => "out-of-memory",
        4 => "invalid-input",
        _ => "failed",
    };
    // SAFETY: the shim ends the text with a zero within the room it has.
    let text = unsafe { CStr::from_ptr(message.as_ptr()) }.to_string_lossy().into_owned();
    Err(Failure { code, message: text })
}
