//! What the thread that owns a model does: it reads the weights, runs the program and frees both.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;
use std::thread::Builder;

use crossrank_native_owner::{Jobs, OwnedThread};

use crate::shim::{Batch, Failure, Model, Tensor, Training, Wanted, Weight};

/// Called on the owning thread, once.
pub type Answer<Value> = Box<dyn FnOnce(Result<Value, Failure>) + Send>;

/// A part of a file.
pub struct Part {
    /// Place among the files.
    pub file: usize,
    pub start: u64,
    pub end: u64,
}

/// Where a tensor's bytes come from: parts of files one after the other, or the bytes themselves.
pub enum Bytes {
    Parts(Vec<Part>),
    Given(Vec<u8>),
}

pub struct TensorSource {
    pub kind: i32,
    pub shape: Vec<i32>,
    pub bytes: Bytes,
}

/// As `shim::Weight`, before it is read.
pub struct WeightSource {
    pub name: String,
    pub tensors: Vec<TensorSource>,
    pub target: i32,
    pub plus: f32,
    pub bits: i32,
    pub group: i32,
    pub unfold: bool,
}

pub struct Source {
    pub files: Vec<String>,
    pub weights: Vec<WeightSource>,
    pub program: Vec<f64>,
}

pub struct Output {
    pub data: Vec<f32>,
    pub shape: Vec<i32>,
}

pub enum Job {
    Run { batch: Batch, answer: Answer<Output> },
    Train { training: Training, answer: Answer<()> },
    Accumulate { batch: Batch, wanted: Wanted, answer: Answer<f64> },
    Apply { rate: f64, clip: f64, answer: Answer<f64> },
    Kept { place: u32, kept: i32, answer: Answer<Output> },
    Keep { place: u32, kept: i32, data: Vec<f32>, answer: Answer<()> },
    SetSteps { steps: f64, answer: Answer<()> },
    Close { answer: Answer<()> },
}

pub type Owner = OwnedThread<Job>;

/// Deep graphs are walked recursively.
const STACK_BYTES: usize = 8 << 20;

/// Starts the thread, which loads the model first.
pub fn start(source: Source, answer: Answer<()>) -> std::io::Result<Arc<Owner>> {
    let thread = Builder::new().name("crossrank-mlx".into()).stack_size(STACK_BYTES);
    Owner::spawn(thread, move |jobs| match load(source) {
        Ok(model) => {
            answer(Ok(()));
            serve(model, jobs);
        }
        Err(failure) => answer(Err(failure)),
    })
}

fn load(source: Source) -> Result<Model, Failure> {
    let mut files = Vec::with_capacity(source.files.len());
    for path in &source.files {
        files.push(File::open(path).map_err(|error| Failure::new("unreadable", error.to_string()))?);
    }
    let mut model = Model::open()?;
    for weight in source.weights {
        let name = weight.name.clone();
        read(weight, &mut files)
            .and_then(|weight| model.add_weight(&weight))
            .map_err(|Failure { code, message }| Failure::new(code, format!("{name}: {message}")))?;
    }
    model.set_program(&source.program)?;
    Ok(model)
}

/// One weight's bytes: never more of a model than that beside what MLX holds.
fn read(source: WeightSource, files: &mut [File]) -> Result<Weight, Failure> {
    let WeightSource { tensors, target, plus, bits, group, unfold, .. } = source;
    let tensors = tensors
        .into_iter()
        .map(|TensorSource { kind, shape, bytes }| {
            let data = match bytes {
                Bytes::Given(data) => data,
                Bytes::Parts(parts) => read_parts(&parts, files)?,
            };
            Ok(Tensor { kind, shape, data })
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    Ok(Weight { tensors, target, plus, bits, group, unfold })
}

fn read_parts(parts: &[Part], files: &mut [File]) -> Result<Vec<u8>, Failure> {
    let unreadable = |error: std::io::Error| Failure::new("unreadable", error.to_string());
    let mut data = Vec::new();
    for part in parts {
        let file = files.get_mut(part.file).ok_or_else(|| Failure::new("invalid-input", "no such file"))?;
        let length = part.end.checked_sub(part.start).and_then(|length| usize::try_from(length).ok());
        let length =
            length.ok_or_else(|| Failure::new("invalid-input", "a part that ends before it begins"))?;
        // Before memory is asked for: a file that was cut short meanwhile.
        let size = file.metadata().map_err(unreadable)?.len();
        if part.end > size {
            return Err(Failure::new("damaged", "its file ends before it does"));
        }
        let begin = data.len();
        data.try_reserve_exact(length)
            .map_err(|_| Failure::new("out-of-memory", "there is not enough memory"))?;
        data.resize(begin + length, 0);
        file.seek(SeekFrom::Start(part.start)).map_err(unreadable)?;
        file.read_exact(&mut data[begin..]).map_err(unreadable)?;
    }
    Ok(data)
}

fn serve(mut model: Model, jobs: Jobs<Job>) {
    for job in jobs {
        match job {
            Job::Run { batch, answer } => {
                answer(model.run(&batch).map(|(data, shape)| Output { data, shape }));
            }
            Job::Train { training, answer } => answer(model.train(&training)),
            Job::Accumulate { batch, wanted, answer } => answer(model.accumulate(&batch, &wanted)),
            Job::Apply { rate, clip, answer } => answer(model.apply(rate, clip)),
            Job::Kept { place, kept, answer } => {
                answer(model.kept(place, kept).map(|(data, shape)| Output { data, shape }));
            }
            Job::Keep { place, kept, data, answer } => answer(model.keep(place, kept, &data)),
            Job::SetSteps { steps, answer } => answer(model.set_steps(steps)),
            Job::Close { answer } => {
                drop(model);
                answer(Ok(()));
                return;
            }
        }
    }
}
