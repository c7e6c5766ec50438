use std::path::PathBuf;

/// What scripts/build-native.mjs says: where the headers are, and the library with what it needs.
fn told(name: &str) -> PathBuf {
    println!("cargo:rerun-if-env-changed={name}");
    std::env::var_os(name).map(PathBuf::from).unwrap_or_else(|| {
        panic!("{name} is not set: build with `node scripts/build-native.mjs`, which fetches CTranslate2")
    })
}

fn main() {
    napi_build::setup();
    let include = told("CROSSRANK_CTRANSLATE2_INCLUDE");
    let library = told("CROSSRANK_CTRANSLATE2_LIBRARY");

    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .file("shim/shim.cpp")
        .include(&include)
        .define("CROSSRANK_CTRANSLATE2_VERSION", "\"4.8.4\"")
        // CTranslate2's headers, not ours.
        .flag_if_supported("-Wno-unused-parameter")
        .compile("ctranslate2_shim");
    println!("cargo:rerun-if-changed=shim");

    let os = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    println!("cargo:rustc-cdylib-link-arg={}", library.display());
    // The libraries lie in a folder beside the addon, wherever that is.
    let origin = if os == "macos" { "@loader_path" } else { "$ORIGIN" };
    let folder = told("CROSSRANK_CTRANSLATE2_FOLDER");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-rpath,{origin}/{}", folder.display());
    if os == "linux" {
        // libgomp has a name of the wheel's own, and is found beside the library by the library's own rpath.
        println!("cargo:rustc-cdylib-link-arg=-Wl,--allow-shlib-undefined");
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,noexecstack");
    }
}
