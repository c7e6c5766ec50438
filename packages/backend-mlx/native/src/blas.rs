//! The BLAS that MLX calls on Linux. MLX's wheel brings netlib's, which takes ten times as long, and a distribution's
//! OpenBLAS may be older than the processor, which is then computed on as if it were one of 2004. So OpenBLAS is SciPy's
//! build, whose symbols have a prefix, and the functions that MLX calls are these: an addon's own symbols stand before
//! those of its libraries.

use std::ffi::{CStr, c_char, c_int, c_void};

unsafe extern "C" {
    fn scipy_openblas_get_corename() -> *const c_char;
    fn scipy_openblas_get_num_threads() -> c_int;
    fn scipy_openblas_set_num_threads(count: c_int);
}

/// One thread, unless OPENBLAS_NUM_THREADS says how many: its threads spin while they wait for each other. On a busy
/// machine of two cores a document took 1,260 ms of processor time with two threads and 42 with one.
pub fn begin() {
    if std::env::var_os("OPENBLAS_NUM_THREADS").is_none() {
        // SAFETY: it takes any positive count.
        unsafe { scipy_openblas_set_num_threads(1) };
    }
}

/// Threads of a product.
pub fn threads() -> u32 {
    // SAFETY: it reads a number of the library's.
    u32::try_from(unsafe { scipy_openblas_get_num_threads() }).unwrap_or(0)
}

/// The processor whose kernels OpenBLAS has chosen, e.g. `SkylakeX`.
pub fn processor() -> Option<String> {
    // SAFETY: it returns a constant of the library's, or null.
    let name = unsafe { scipy_openblas_get_corename() };
    // SAFETY: as above; it ends with a zero.
    (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned())
}

/// A product of matrices, and what it is called in OpenBLAS.
macro_rules! forward {
    ($name:ident, $theirs:ident, $scalar:ty, $number:ty) => {
        unsafe extern "C" {
            fn $theirs(
                order: c_int,
                transposed_a: c_int,
                transposed_b: c_int,
                m: c_int,
                n: c_int,
                k: c_int,
                alpha: $scalar,
                a: *const $number,
                row_a: c_int,
                b: *const $number,
                row_b: c_int,
                beta: $scalar,
                c: *mut $number,
                row_c: c_int,
            );
        }

        /// # Safety
        /// As of BLAS: the matrices have as many numbers as the other arguments say.
        #[allow(clippy::too_many_arguments)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(
            order: c_int,
            transposed_a: c_int,
            transposed_b: c_int,
            m: c_int,
            n: c_int,
            k: c_int,
            alpha: $scalar,
            a: *const $number,
            row_a: c_int,
            b: *const $number,
            row_b: c_int,
            beta: $scalar,
            c: *mut $number,
            row_c: c_int,
        ) {
            // SAFETY: the caller's promise is handed on.
            unsafe {
                $theirs(
                    order,
                    transposed_a,
                    transposed_b,
                    m,
                    n,
                    k,
                    alpha,
                    a,
                    row_a,
                    b,
                    row_b,
                    beta,
                    c,
                    row_c,
                );
            }
        }
    };
}

forward!(cblas_sgemm, scipy_cblas_sgemm, f32, f32);
forward!(cblas_dgemm, scipy_cblas_dgemm, f64, f64);
// Complex numbers are handed over as pointers.
forward!(cblas_cgemm, scipy_cblas_cgemm, *const c_void, c_void);
