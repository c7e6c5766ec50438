//! What this machine is.

use std::ffi::CStr;
use std::ptr;

/// E.g. `15.1`.
pub fn product_version() -> Option<String> {
    text(c"kern.osproductversion")
}

/// E.g. `24B83`.
pub fn build_version() -> Option<String> {
    text(c"kern.osversion")
}

/// E.g. `Apple M3`.
pub fn chip() -> Option<String> {
    text(c"machdep.cpu.brand_string")
}

/// Not NSProcessInfo's text, which is in the user's language.
fn text(name: &CStr) -> Option<String> {
    let mut bytes = [0u8; 256];
    let mut length = bytes.len();
    // SAFETY: the name ends with a zero, and at most `length` bytes are written into `bytes`, which has so many.
    let status = unsafe {
        libc::sysctlbyname(name.as_ptr(), bytes.as_mut_ptr().cast(), &mut length, ptr::null_mut(), 0)
    };
    if status != 0 {
        return None;
    }
    CStr::from_bytes_until_nul(&bytes).ok()?.to_str().ok().map(str::to_owned)
}
