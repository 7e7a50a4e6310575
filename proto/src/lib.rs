//! `mahrl.v1`: messages and services, with order, units and limits in the comments of `mahrl/v1/*.proto`.
//!
//! In: the proto files, compiled by protox at build time; out: [`v1`]. No logic.

/// The messages and services.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
pub mod v1 {
    tonic::include_proto!("mahrl.v1");
}

/// The version of messages and packed records that this build speaks; see [`v1::RunHeader`].
pub const SCHEMA_VERSION: u32 = 1;

/// The compiled proto files (an encoded `google.protobuf.FileDescriptorSet`), for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mahrl.bin"));

impl v1::RunHeader {
    /// The header of this build's messages in a run.
    pub fn current(run_id: &str) -> Self {
        Self { schema_version: SCHEMA_VERSION, run_id: run_id.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    #[test]
    fn the_descriptor_set_names_every_service() {
        let set = prost_types::FileDescriptorSet::decode(super::FILE_DESCRIPTOR_SET).unwrap();
        let services: Vec<_> = set.file.iter().flat_map(|file| &file.service).map(|s| s.name()).collect();
        assert_eq!(services, ["Replay", "Weights", "Control"]);
    }
}
