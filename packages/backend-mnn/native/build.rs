use std::path::PathBuf;

fn main() {
    napi_build::setup();

    // mnn-sys exports its headers by its `links` key. The schema of .mnn files and flatbuffers lie beside them.
    let include = PathBuf::from(std::env::var("DEP_MNN_INCLUDE").expect("mnn-sys says where MNN's headers are"));
    let mnn = include.parent().expect("the headers are in a folder of MNN's sources");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .files(["shim/shim.cpp", "shim/check.cpp"])
        .include(&include)
        .include(mnn.join("schema/current"))
        .include(mnn.join("3rd_party/flatbuffers/include"))
        // MNN's headers, not ours.
        .flag_if_supported("-Wno-unused-parameter")
        .compile("mnn_shim");
    println!("cargo:rerun-if-changed=shim");

    // MNN's assembly does not say that it needs no executable stack, and the linker would give it one.
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,noexecstack");
    }
}
