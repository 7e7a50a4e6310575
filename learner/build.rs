//! Lets the binaries, tests and benches of this package find libtorch at run time.
//!
//! `make setup` unpacks libtorch into `.libtorch/` at the root of the workspace; the rpath below is relative to the
//! binary (`target/<profile>/x` or `target/<profile>/deps/x`), so that a built tree can be moved as a whole. Given here
//! and not in `.cargo/config.toml`, because a user's own RUSTFLAGS would override that.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_TORCH").is_none() {
        return;
    }
    for levels in ["../..", "../../.."] {
        println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/{levels}/.libtorch/torch/lib");
    }
    // An absolute path as well, for a target folder that lies elsewhere (CARGO_TARGET_DIR).
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../.libtorch/torch/lib");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", root.display());
}
