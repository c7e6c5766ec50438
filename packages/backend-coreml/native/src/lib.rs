//! Core ML for Node.js: compiles a model, loads and runs it on a thread of its own, and reads its compute plan.
//!
//! Promises are rejected with an `Error` whose message begins with a code and a colon: `compile`, `load`, `predict` and
//! `plan` for what Core ML refused (followed by the NSError's description, domain and number), `invalid-input`,
//! `unsupported`, `closed`, `failed`.

#[cfg(target_os = "macos")]
mod addon;
#[cfg(target_os = "macos")]
mod compile;
#[cfg(target_os = "macos")]
mod failure;
#[cfg(target_os = "macos")]
mod model;
#[cfg(target_os = "macos")]
mod owner;
#[cfg(target_os = "macos")]
mod plan;
#[cfg(target_os = "macos")]
mod system;
// Elsewhere only its tests use it.
#[cfg_attr(not(target_os = "macos"), allow(dead_code))]
mod tensor;
