//! Generates the Rust side of `mahrl/v1/*.proto` with protox: no protoc is needed.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

const FILES: [&str; 4] =
    ["mahrl/v1/run.proto", "mahrl/v1/replay.proto", "mahrl/v1/weights.proto", "mahrl/v1/control.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(FILES, ["."])?;
    let path = PathBuf::from(env::var("OUT_DIR")?).join("mahrl.bin");
    fs::write(path, descriptors.encode_to_vec())?;
    // Packed columns are reference-counted slices of the received frame, not copies.
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
