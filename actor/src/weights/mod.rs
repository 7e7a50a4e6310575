//! The subscription to the learner's weights. In: frames of `mahrl.v1.Weights`; out: the newest decoded version, in a
//! watch that every rollout thread looks at between two steps. Latest wins.

mod assembler;
mod freshness;
mod leaders;
mod subscription;

use common::PolicyVersion;

pub use assembler::{Assembler, Frame, Version};
pub use freshness::{Freshness, Known};
pub use leaders::connections;
pub use subscription::{Feed, Learner, Subscription};

/// Why the weights stopped coming.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The learner refused or lost the stream. Its status says why.
    #[error("{message} ({code:?})")]
    Stream {
        /// gRPC status code.
        code: tonic::Code,
        /// What the learner says.
        message: String,
    },
    /// A frame that does not follow the one before.
    #[error("weights version {version}: frame {field} is {found}, expected {expected}")]
    Frame {
        /// Version the frame says it belongs to.
        version: PolicyVersion,
        /// Which field.
        field: &'static str,
        /// What it holds.
        found: u64,
        /// What it should hold.
        expected: u64,
    },
    /// A learner that was replaced still sends.
    #[error("weights under fencing token {found}, but a learner of token {seen} leads")]
    Fenced {
        /// Token of the frame.
        found: u64,
        /// Highest token seen.
        seen: u64,
    },
    /// Bytes that changed on the way.
    #[error("weights version {version} is damaged: checksum {found:08x}, expected {expected:08x}")]
    Checksum {
        /// The version.
        version: PolicyVersion,
        /// CRC-32C of what arrived.
        found: u32,
        /// CRC-32C of what was sent.
        expected: u32,
    },
    /// Bytes that are no policy of this run.
    #[error("weights version {version} cannot be used: {problem}")]
    Decode {
        /// The version.
        version: PolicyVersion,
        /// Why.
        problem: String,
    },
}

impl Error {
    /// Whether another try can help: a stream that broke, a learner that restarts, bytes damaged on the way.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Stream { code, .. } => !matches!(
                code,
                tonic::Code::InvalidArgument
                    | tonic::Code::Unauthenticated
                    | tonic::Code::PermissionDenied
                    | tonic::Code::Unimplemented
            ),
            Self::Frame { .. } | Self::Fenced { .. } | Self::Checksum { .. } => true,
            Self::Decode { .. } => false,
        }
    }
}
