//! A loaded model. It stays on the thread that loaded it: objc2 marks MLModel as not Send.

use std::ptr::NonNull;
use std::sync::Mutex;

use block2::RcBlock;
use objc2::AnyThread;
use objc2::rc::Retained;
use objc2::runtime::{AnyObject, ProtocolObject};
use objc2_core_ml::{
    MLComputeUnits, MLDictionaryFeatureProvider, MLFeatureDescription, MLFeatureProvider, MLFeatureType,
    MLFeatureValue, MLModel, MLModelConfiguration, MLMultiArray, MLMultiArrayDataType,
    MLMultiArrayShapeConstraintType,
};
use objc2_foundation::{NSArray, NSDictionary, NSNumber, NSString};

use crate::compile::url_of;
use crate::failure::{Failure, Result, guarded};
use crate::tensor::{Element, Input, Output, check_input, gather, row_major_strides};

pub struct Model(Retained<MLModel>);

/// An input or output, as the model declares it.
#[derive(Clone)]
pub struct Feature {
    pub name: String,
    /// `int32`, `float16`, `float32`, `float64`, or `other` for what is no array of these.
    pub kind: &'static str,
    /// The one that is declared first; empty where none is.
    pub shape: Vec<u32>,
    /// All that are declared, where the model lists them.
    pub shapes: Vec<Vec<u32>>,
}

pub fn configuration(units: MLComputeUnits) -> Retained<MLModelConfiguration> {
    // SAFETY: a fresh object that this thread alone has; the units are a declared value of the enumeration.
    unsafe {
        let configuration = MLModelConfiguration::new();
        configuration.setComputeUnits(units);
        configuration
    }
}

impl Model {
    pub fn open(compiled: &str, units: MLComputeUnits) -> Result<Self> {
        guarded(|| {
            let url = url_of(compiled)?;
            // SAFETY: the URL is of a file, and the configuration is not changed afterwards.
            unsafe { MLModel::modelWithContentsOfURL_configuration_error(&url, &configuration(units)) }
                .map(Self)
                .map_err(|error| Failure::of("load", &error))
        })
    }

    /// Inputs and outputs, each in order of their names.
    pub fn features(&self) -> Result<(Vec<Feature>, Vec<Feature>)> {
        guarded(|| {
            // SAFETY: the model is used by this thread only.
            let (inputs, outputs) = unsafe {
                let description = self.0.modelDescription();
                (description.inputDescriptionsByName(), description.outputDescriptionsByName())
            };
            Ok((features_of(&inputs), features_of(&outputs)))
        })
    }

    pub fn predict(&self, inputs: Vec<Input>, output: &str) -> Result<Output> {
        guarded(|| {
            let mut names = Vec::with_capacity(inputs.len());
            let mut values = Vec::with_capacity(inputs.len());
            for input in inputs {
                check_input(&input).map_err(|problem| Failure::new("invalid-input", problem))?;
                names.push(NSString::from_str(&input.name));
                let array = array_over(input)?;
                // SAFETY: the array holds what its shape says.
                let value = unsafe { MLFeatureValue::featureValueWithMultiArray(&array) };
                values.push(Retained::<AnyObject>::from(value));
            }
            let names: Vec<&NSString> = names.iter().map(|name| &**name).collect();
            let dictionary = NSDictionary::from_retained_objects(&names, &values);
            // SAFETY: the dictionary holds feature values by their names, as is asked for.
            let provider = unsafe {
                MLDictionaryFeatureProvider::initWithDictionary_error(
                    MLDictionaryFeatureProvider::alloc(),
                    &dictionary,
                )
            }
            .map_err(|error| Failure::of("predict", &error))?;
            let provider: &ProtocolObject<dyn MLFeatureProvider> = ProtocolObject::from_ref(&*provider);
            // SAFETY: the model is used by this thread only, which waits here for the answer.
            let answer = unsafe { self.0.predictionFromFeatures_error(provider) }
                .map_err(|error| Failure::of("predict", &error))?;
            let name = NSString::from_str(output);
            // SAFETY: what Core ML answers with may be asked for any name.
            let array =
                unsafe { answer.featureValueForName(&name).and_then(|value| value.multiArrayValue()) };
            let array = array
                .ok_or_else(|| Failure::new("predict", format!("no output {output} that is an array")))?;
            read(&array, output)
        })
    }
}

fn features_of(descriptions: &NSDictionary<NSString, MLFeatureDescription>) -> Vec<Feature> {
    let (names, descriptions) = descriptions.to_vecs();
    let mut features: Vec<Feature> =
        names.iter().zip(&descriptions).map(|(name, description)| feature_of(name, description)).collect();
    features.sort_by(|one, other| one.name.cmp(&other.name));
    features
}

fn feature_of(name: &NSString, description: &MLFeatureDescription) -> Feature {
    let other = Feature { name: name.to_string(), kind: "other", shape: Vec::new(), shapes: Vec::new() };
    // SAFETY: descriptions are not changed once a model is loaded; each of these only reads one.
    unsafe {
        if description.r#type() != MLFeatureType::MultiArray {
            return other;
        }
        let Some(constraint) = description.multiArrayConstraint() else { return other };
        let kind = match constraint.dataType() {
            MLMultiArrayDataType::Int32 => "int32",
            MLMultiArrayDataType::Float16 => "float16",
            MLMultiArrayDataType::Float32 => "float32",
            MLMultiArrayDataType::Float64 => "float64",
            _ => "other",
        };
        let flexibility = constraint.shapeConstraint();
        let shapes = if flexibility.r#type() == MLMultiArrayShapeConstraintType::Enumerated {
            flexibility.enumeratedShapes().iter().map(|shape| shape_of(&shape)).collect()
        } else {
            Vec::new()
        };
        Feature { kind, shape: shape_of(&constraint.shape()), shapes, ..other }
    }
}

fn shape_of(shape: &NSArray<NSNumber>) -> Vec<u32> {
    shape.iter().map(|dimension| dimension.as_u32()).collect()
}

/// An array over the input's own memory, which is freed when Core ML lets go of it.
fn array_over(Input { shape, mut data, .. }: Input) -> Result<Retained<MLMultiArray>> {
    let numbers = |values: &mut dyn Iterator<Item = usize>| {
        NSArray::from_retained_slice(&values.map(NSNumber::new_usize).collect::<Vec<_>>())
    };
    let strides = numbers(&mut row_major_strides(&shape).into_iter());
    let shape = numbers(&mut shape.iter().map(|&dimension| dimension as usize));
    // A Vec holds at least one number here, so this is no dangling pointer; moving the Vec does not move its memory.
    let pointer = NonNull::from(data.as_mut_slice()).cast();
    // The block owns the memory. Core ML calls it when it is done, and releases it in any case, also where it refuses
    // the array without a call: so the memory is freed once, whatever happens.
    let memory = Mutex::new(Some(data));
    let deallocator = RcBlock::new(move |_: NonNull<std::ffi::c_void>| {
        if let Ok(mut memory) = memory.lock() {
            memory.take();
        }
    });
    // SAFETY: the memory has as many int32 numbers as shape and strides reach (`check_input`), nothing else touches it,
    // and it lives until the block is called or freed. Both may happen on any thread: a Vec may be dropped there.
    unsafe {
        MLMultiArray::initWithDataPointer_shape_dataType_strides_deallocator_error(
            MLMultiArray::alloc(),
            pointer,
            &shape,
            MLMultiArrayDataType::Int32,
            &strides,
            Some(&deallocator),
        )
    }
    .map_err(|error| Failure::of("invalid-input", &error))
}

fn read(array: &MLMultiArray, output: &str) -> Result<Output> {
    // SAFETY: this thread alone has the array.
    let (kind, shape, strides) = unsafe { (array.dataType(), array.shape(), array.strides()) };
    let element = match kind {
        MLMultiArrayDataType::Float32 => Element::Float32,
        MLMultiArrayDataType::Float16 => Element::Float16,
        MLMultiArrayDataType(other) => {
            let message =
                format!("output {output} holds numbers of type {other}, neither float32 nor float16");
            return Err(Failure::new("unsupported", message));
        }
    };
    let shape = shape_of(&shape);
    let strides: Vec<usize> = strides.iter().map(|stride| stride.as_usize()).collect();
    let read = Mutex::new(None);
    let handler = |bytes: NonNull<std::ffi::c_void>, size: isize| {
        let gathered = guarded(|| {
            let size = usize::try_from(size).map_err(|_| Failure::new("failed", "a size below zero"))?;
            // SAFETY: Core ML keeps so many bytes in place, unchanged, until this handler returns.
            let bytes = unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast::<u8>(), size) };
            gather(bytes, element, &shape, &strides)
                .map_err(|problem| Failure::new("failed", format!("output {output}: {problem}")))
        });
        if let Ok(mut read) = read.lock() {
            *read = Some(gathered);
        }
    };
    // SAFETY: the handler is called before this returns, if at all, and is not kept: its parameter does not escape.
    unsafe { array.getBytesWithHandler(&block2::StackBlock::new(handler)) };
    let data = read.lock().ok().and_then(|mut read| read.take());
    let data =
        data.unwrap_or_else(|| Err(Failure::new("failed", format!("output {output} has no memory"))))?;
    Ok(Output { shape, data })
}
