//! Compiles the shim and links MLX's library. Variables that scripts/build-native.mjs sets: MLX_ROOT, a folder with MLX's
//! `include` and `lib`; on Linux BLAS_ROOT, one with OpenBLAS's `lib`; and MLX_LIBRARIES, where the addon looks for its
//! libraries when it is loaded, from its own place on.

use std::path::PathBuf;

fn main() {
    napi_build::setup();
    let root =
        PathBuf::from(std::env::var("MLX_ROOT").expect("MLX_ROOT is a folder with MLX's include and lib"));
    let libraries = std::env::var("MLX_LIBRARIES").expect("MLX_LIBRARIES is a folder beside the addon");
    let target = std::env::var("CARGO_CFG_TARGET_OS").expect("cargo names the target");

    cc::Build::new()
        .cpp(true)
        .std("c++20")
        .files(["shim/shim.cpp", "shim/interpreter.cpp", "shim/training.cpp", "shim/fused.cpp"])
        .include(root.join("include"))
        // Exceptions and the whole standard, which Microsoft's compiler has to be asked for.
        .flag_if_supported("/EHsc")
        .flag_if_supported("/Zc:__cplusplus")
        // MLX's headers, not ours.
        .flag_if_supported("-Wno-unused-parameter")
        .define("MLX_LIBRARIES", Some(format!("\"{libraries}\"").as_str()))
        .compile("mlx_shim");
    cc::Build::new()
        .cpp(true)
        .std("c++20")
        .file("shim/kernels.cpp")
        // What vectors need: products and sums in one, and no traps and no errno that would order the numbers.
        .flag_if_supported("-O3")
        .flag_if_supported("-ffp-contract=fast")
        .flag_if_supported("-fno-trapping-math")
        .flag_if_supported("-fno-math-errno")
        .compile("mlx_kernels");
    println!("cargo:rerun-if-changed=shim");
    println!("cargo:rerun-if-env-changed=MLX_ROOT");
    println!("cargo:rerun-if-env-changed=MLX_LIBRARIES");

    println!("cargo:rustc-link-search=native={}", root.join("lib").display());
    match target.as_str() {
        "linux" => {
            // src/blas.rs says why. Before MLX, whose own BLAS stays for what MLX calls of LAPACK.
            let blas = std::env::var("BLAS_ROOT").expect("BLAS_ROOT is a folder with OpenBLAS's lib");
            println!("cargo:rustc-link-search=native={blas}/lib");
            println!("cargo:rerun-if-env-changed=BLAS_ROOT");
            for argument in ["-lscipy_openblas", "-lmlx"] {
                println!("cargo:rustc-cdylib-link-arg={argument}");
            }
            // RPATH and not RUNPATH: it holds for the libraries of MLX's library too.
            println!("cargo:rustc-cdylib-link-arg=-Wl,--disable-new-dtags,-rpath,$ORIGIN/{libraries}");
            println!("cargo:rustc-cdylib-link-arg=-Wl,--allow-shlib-undefined");
        }
        "macos" => {
            println!("cargo:rustc-link-lib=dylib=mlx");
            println!("cargo:rustc-cdylib-link-arg=-Wl,-rpath,@loader_path/{libraries}");
        }
        _ => println!("cargo:rustc-link-lib=dylib=mlx"),
    }
}
