//! Where Core ML means to run each operation: MLComputePlan.

use std::sync::mpsc::channel;

use block2::RcBlock;
use objc2::msg_send;
use objc2::rc::Retained;
use objc2::runtime::{AnyClass, AnyObject, ProtocolObject};
use objc2_core_ml::{
    MLCPUComputeDevice, MLComputeDeviceProtocol, MLComputePlan, MLComputePlanDeviceUsage, MLComputeUnits,
    MLGPUComputeDevice, MLModelStructureProgramBlock, MLNeuralEngineComputeDevice,
};
use objc2_foundation::{NSError, NSString};

use crate::compile::url_of;
use crate::failure::{Failure, Result, completed, guarded};
use crate::model::configuration;

/// One operation that is no constant.
pub struct Operation {
    pub operator: String,
    pub outputs: Vec<String>,
    pub preferred: Option<&'static str>,
    pub supported: Vec<&'static str>,
    pub cost: Option<f64>,
}

/// Plans a function of a compiled model, and waits for it. Core ML plans for the default one, which is the caller's to
/// name: the plan lists every function, and does not say which that is.
pub fn plan(compiled: &str, units: MLComputeUnits, function: &str) -> Result<Vec<Operation>> {
    // Asking for a class that is not there would be a panic.
    if AnyClass::get(c"MLComputePlan").is_none() {
        return Err(Failure::new("unsupported", "compute plans need macOS 14.4 or later"));
    }
    let (sender, receiver) = channel();
    let function = function.to_owned();
    guarded(|| {
        let url = url_of(compiled)?;
        let handler = RcBlock::new(move |plan: *mut MLComputePlan, error: *mut NSError| {
            // Read where it is given: objc2 marks a plan as not Send.
            let operations = guarded(|| {
                // SAFETY: Core ML keeps both alive while its handler runs.
                let plan = unsafe { completed("plan", plan, error) }?;
                operations_of(&plan, &function)
            });
            // Nobody waits for a second answer.
            let _ = sender.send(operations);
        });
        // SAFETY: the URL is of a file, the configuration is not changed afterwards, and the handler may run on any
        // thread: a Sender may be used there.
        unsafe {
            MLComputePlan::loadContentsOfURL_configuration_completionHandler(
                &url,
                &configuration(units),
                &handler,
            );
        }
        Ok(())
    })?;
    // Ends too where Core ML forgets the handler: the sender goes with it.
    receiver.recv().unwrap_or_else(|_| Err(Failure::new("plan", "Core ML did not answer")))
}

fn operations_of(plan: &MLComputePlan, function: &str) -> Result<Vec<Operation>> {
    // SAFETY: a plan and its structure do not change, and this thread is the only one that has them.
    let block = unsafe {
        let program = plan.modelStructure().program();
        let program = program.ok_or_else(|| Failure::new("unsupported", "the model is no ML Program"))?;
        let found = program.functions().objectForKey(&NSString::from_str(function));
        let missing = || Failure::new("unsupported", format!("the ML Program has no function {function}"));
        found.ok_or_else(missing)?.block()
    };
    let mut operations = Vec::new();
    add_block(plan, &block, &mut operations)?;
    Ok(operations)
}

fn add_block(
    plan: &MLComputePlan,
    block: &MLModelStructureProgramBlock,
    operations: &mut Vec<Operation>,
) -> Result<()> {
    // SAFETY: as in `operations_of`: all of these only read the plan and its structure.
    unsafe {
        for operation in block.operations() {
            let operator = operation.operatorName().to_string();
            // With its opset (`ios18.const`) or without.
            if operator.rsplit('.').next() == Some("const") {
                continue;
            }
            let usage = plan.computeDeviceUsageForMLProgramOperation(&operation);
            let mut supported = Vec::new();
            for device in usage.iter().flat_map(|usage| usage.supportedComputeDevices()) {
                let kind = kind_of(&device)?;
                // A Mac may have several processors of a kind.
                if !supported.contains(&kind) {
                    supported.push(kind);
                }
            }
            operations.push(Operation {
                operator,
                outputs: operation.outputs().iter().map(|output| output.name().to_string()).collect(),
                preferred: usage
                    .and_then(|usage| preferred(&usage))
                    .map(|device| kind_of(&device))
                    .transpose()?,
                supported,
                cost: plan.estimatedCostOfMLProgramOperation(&operation).map(|cost| cost.weight()),
            });
            for nested in operation.blocks() {
                add_block(plan, &nested, operations)?;
            }
        }
    }
    Ok(())
}

/// None where there is no device, which Core ML has for what costs nothing: Chromium's WebNN code says so beside its
/// reading of plans. The bindings' own method would panic.
fn preferred(
    usage: &MLComputePlanDeviceUsage,
) -> Option<Retained<ProtocolObject<dyn MLComputeDeviceProtocol>>> {
    // SAFETY: the method takes nothing, gives such an object or nil, and only reads.
    unsafe { msg_send![usage, preferredComputeDevice] }
}

fn kind_of(device: &ProtocolObject<dyn MLComputeDeviceProtocol>) -> Result<&'static str> {
    let device: &AnyObject = device.as_ref();
    if device.downcast_ref::<MLNeuralEngineComputeDevice>().is_some() {
        Ok("neuralEngine")
    } else if device.downcast_ref::<MLGPUComputeDevice>().is_some() {
        Ok("gpu")
    } else if device.downcast_ref::<MLCPUComputeDevice>().is_some() {
        Ok("cpu")
    } else {
        let class = device.class().name().to_string_lossy().into_owned();
        Err(Failure::new("unsupported", format!("Core ML names a device of an unknown kind: {class}")))
    }
}
