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

#[repr(C)]
struct RawTraining {
    count: usize,
    weights: *const i32,
    decays: *const u8,
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    decay: f64,
    parts: usize,
    part: *const u32,
}

#[repr(C)]
struct RawWanted {
    loss: i32,
    positive: i32,
    negative: i32,
    groups: i32,
    most: i32,
    members: *const i32,
    labels: *const f32,
    label_count: usize,
    share: f64,
    drops: i32,
    seed: u64,
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
    fn mlx_shim_train(model: *mut RawModel, training: *const RawTraining, message: *mut c_char) -> i32;
    fn mlx_shim_accumulate(
        model: *mut RawModel,
        batch: *const RawBatch,
        wanted: *const RawWanted,
        loss: *mut f64,
        message: *mut c_char,
    ) -> i32;
    fn mlx_shim_apply(
        model: *mut RawModel,
        rate: f64,
        clip: f64,
        norm: *mut f64,
        message: *mut c_char,
    ) -> i32;
    fn mlx_shim_kept(model: *mut RawModel, place: u32, kept: i32, message: *mut c_char) -> i32;
    fn mlx_shim_keep(
        model: *mut RawModel,
        place: u32,
        kept: i32,
        data: *const f32,
        count: usize,
        message: *mut c_char,
    ) -> i32;
    fn mlx_shim_set_steps(model: *mut RawModel, steps: f64, message: *mut c_char) -> i32;
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

/// Which weights are trained, and how.
pub struct Training {
    pub weights: Vec<i32>,
    pub decays: Vec<u8>,
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    pub decay: f64,
    /// Steps of the program that begin a part whose activations are computed again.
    pub parts: Vec<u32>,
}

/// What a batch's output should have been: `shim/training.hpp`.
pub struct Wanted {
    pub loss: i32,
    pub positive: i32,
    pub negative: i32,
    pub groups: u32,
    pub most: u32,
    /// (groups, most).
    pub members: Vec<i32>,
    pub labels: Vec<f32>,
    pub share: f64,
    /// Of dropout; none without.
    pub seed: Option<u64>,
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
        let raw = raw_batch(batch)?;
        // SAFETY: every array has the numbers that the batch says.
        check(|message| unsafe { mlx_shim_run(self.0.as_ptr(), &raw, message) })?;
        self.output()
    }

    /// Shape and numbers of what was made last.
    fn output(&mut self) -> Result<(Vec<f32>, Vec<i32>), Failure> {
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

    pub fn train(&mut self, training: &Training) -> Result<(), Failure> {
        let Training { weights, decays, beta1, beta2, epsilon, decay, parts } = training;
        if weights.len() != decays.len() {
            return Err(Failure::new("invalid-input", "other decays than trained weights"));
        }
        let raw = RawTraining {
            count: weights.len(),
            weights: weights.as_ptr(),
            decays: decays.as_ptr(),
            beta1: *beta1,
            beta2: *beta2,
            epsilon: *epsilon,
            decay: *decay,
            parts: parts.len(),
            part: parts.as_ptr(),
        };
        // SAFETY: every array has the numbers that it says; so in what follows.
        check(|message| unsafe { mlx_shim_train(self.0.as_ptr(), &raw, message) })
    }

    /// Adds a batch's gradients to the step. Gives the batch's loss.
    pub fn accumulate(&mut self, batch: &Batch, wanted: &Wanted) -> Result<f64, Failure> {
        let Wanted { loss, positive, negative, groups, most, members, labels, share, seed } = wanted;
        if u64::from(*groups).checked_mul((*most).into()) != Some(members.len() as u64) {
            return Err(Failure::new("invalid-input", "groups of another number of rows"));
        }
        let raw = raw_batch(batch)?;
        let wanted = RawWanted {
            loss: *loss,
            positive: *positive,
            negative: *negative,
            groups: size(*groups)?,
            most: size(*most)?,
            members: members.as_ptr(),
            labels: labels.as_ptr(),
            label_count: labels.len(),
            share: *share,
            drops: seed.is_some().into(),
            seed: seed.unwrap_or(0),
        };
        let mut value = 0.0;
        check(|message| unsafe {
            mlx_shim_accumulate(self.0.as_ptr(), &raw, &wanted, &mut value, message)
        })?;
        Ok(value)
    }

    /// One step. Gives the gradient's norm; where that is no finite number, nothing was changed.
    pub fn apply(&mut self, rate: f64, clip: f64) -> Result<f64, Failure> {
        let mut norm = 0.0;
        check(|message| unsafe { mlx_shim_apply(self.0.as_ptr(), rate, clip, &mut norm, message) })?;
        Ok(norm)
    }

    pub fn kept(&mut self, place: u32, kept: i32) -> Result<(Vec<f32>, Vec<i32>), Failure> {
        check(|message| unsafe { mlx_shim_kept(self.0.as_ptr(), place, kept, message) })?;
        self.output()
    }

    pub fn keep(&mut self, place: u32, kept: i32, data: &[f32]) -> Result<(), Failure> {
        check(|message| unsafe {
            mlx_shim_keep(self.0.as_ptr(), place, kept, data.as_ptr(), data.len(), message)
        })
    }

    pub fn set_steps(&mut self, steps: f64) -> Result<(), Failure> {
        check(|message| unsafe { mlx_shim_set_steps(self.0.as_ptr(), steps, message) })
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

fn size(value: u32) -> Result<i32, Failure> {
    i32::try_from(value).map_err(|_| Failure::new("invalid-input", "a batch that is too large"))
}

fn raw_batch(batch: &Batch) -> Result<RawBatch, Failure> {
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
    Ok(RawBatch {
        rows: size(*rows)?,
        columns: size(*columns)?,
        picked: size(*picked)?,
        ids: ids.as_ptr(),
        segments: segments.as_ptr(),
        lengths: lengths.as_ptr(),
        extents: extents.as_ptr(),
        places: places.as_ptr(),
    })
}
