//! A model being trained: the same thread, one job after the other.

use napi::bindgen_prelude::{Env, Float32Array, Int32Array, Object, Result, Uint8Array, Uint32Array};
use napi_derive::napi;

use crate::owner::{Job, Output};
use crate::shim::{Failure, Training, Wanted};
use crate::{NativeModel, RunInput, RunOutput, batch_of, place, promised, rejection};

/// Names stand in the order of the shim's numbers.
const LOSSES: &[&str] = &["binary", "listwise", "margins", "divergence", "sum"];
const KEPT: &[&str] = &["value", "mean", "square", "gradient"];

#[napi(object, object_to_js = false)]
pub struct TrainingFacts {
    /// Places of the weights that are trained, and whether AdamW's decay holds for each.
    pub weights: Int32Array,
    pub decays: Uint8Array,
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    pub decay: f64,
    /// Steps of the program that begin a part whose activations are computed again.
    pub parts: Uint32Array,
}

#[napi(object, object_to_js = false)]
pub struct WantedFacts {
    pub loss: String,
    pub positive: i32,
    pub negative: i32,
    pub groups: u32,
    pub most: u32,
    pub members: Int32Array,
    pub labels: Float32Array,
    pub share: f64,
    /// Two halves of 32 bits, the high one first; none without dropout.
    pub seed: Option<Uint32Array>,
}

#[napi]
impl NativeModel {
    /// Once: some of the weights are trained from here on.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn train<'env>(&self, env: &'env Env, facts: TrainingFacts) -> Result<Object<'env>> {
        let TrainingFacts { weights, decays, beta1, beta2, epsilon, decay, parts } = facts;
        let (weights, decays, parts) = (weights.to_vec(), decays.to_vec(), parts.to_vec());
        let training = Training { weights, decays, beta1, beta2, epsilon, decay, parts };
        let (promise, answer) = promised(env, |()| Ok(()))?;
        let _ = self.owner.send(Job::Train { training, answer });
        Ok(promise)
    }

    /// Adds a batch's gradients to the step. Gives the batch's loss. The arrays are copied before this returns.
    #[napi(ts_return_type = "Promise<number>")]
    pub fn accumulate<'env>(
        &self,
        env: &'env Env,
        input: RunInput,
        wanted: WantedFacts,
    ) -> Result<Object<'env>> {
        let batch = batch_of(&input);
        let wanted = wanted_of(wanted).map_err(rejection)?;
        let (promise, answer) = promised(env, |loss: f64| Ok(loss))?;
        let _ = self.owner.send(Job::Accumulate { batch, wanted, answer });
        Ok(promise)
    }

    /// One step of AdamW. Gives the gradient's norm; where that is no finite number, nothing was changed.
    #[napi(ts_return_type = "Promise<number>")]
    pub fn apply<'env>(&self, env: &'env Env, rate: f64, clip: f64) -> Result<Object<'env>> {
        let (promise, answer) = promised(env, |norm: f64| Ok(norm))?;
        let _ = self.owner.send(Job::Apply { rate, clip, answer });
        Ok(promise)
    }

    /// What is kept of a trained weight: `value`, `mean`, `square`, or the step's `gradient`.
    #[napi(ts_return_type = "Promise<RunOutput>")]
    pub fn kept<'env>(&self, env: &'env Env, at: u32, kept: String) -> Result<Object<'env>> {
        let kept = place("what is kept", &kept, KEPT).map_err(rejection)?;
        let (promise, answer) =
            promised(env, |Output { data, shape }| Ok(RunOutput { data: Float32Array::new(data), shape }))?;
        let _ = self.owner.send(Job::Kept { place: at, kept, answer });
        Ok(promise)
    }

    /// Sets it, save the gradient.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn keep<'env>(
        &self,
        env: &'env Env,
        at: u32,
        kept: String,
        data: Float32Array,
    ) -> Result<Object<'env>> {
        let kept = place("what is kept", &kept, KEPT).map_err(rejection)?;
        let (promise, answer) = promised(env, |()| Ok(()))?;
        let _ = self.owner.send(Job::Keep { place: at, kept, data: data.to_vec(), answer });
        Ok(promise)
    }

    /// How many steps are done. Gradients are let go.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn set_steps<'env>(&self, env: &'env Env, steps: f64) -> Result<Object<'env>> {
        let (promise, answer) = promised(env, |()| Ok(()))?;
        let _ = self.owner.send(Job::SetSteps { steps, answer });
        Ok(promise)
    }
}

fn wanted_of(facts: WantedFacts) -> std::result::Result<Wanted, Failure> {
    let WantedFacts { loss, positive, negative, groups, most, members, labels, share, seed } = facts;
    let seed = match seed.as_deref() {
        None => None,
        Some([high, low]) => Some((u64::from(*high) << 32) | u64::from(*low)),
        Some(_) => return Err(Failure::new("invalid-input", "a seed of two numbers")),
    };
    Ok(Wanted {
        loss: place("loss", &loss, LOSSES)?,
        positive,
        negative,
        groups,
        most,
        members: members.to_vec(),
        labels: labels.to_vec(),
        share,
        seed,
    })
}
