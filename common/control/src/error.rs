//! What can go wrong, and what the caller does then.

use std::path::PathBuf;

/// A call to the control plane that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store gave no answer in time, or cannot serve now. Go on without it and ask again: every call may be repeated.
    #[error("the control plane at {address} is away: {reason}")]
    Unreachable {
        /// Where it is, without a password.
        address: String,
        /// What failed.
        reason: String,
    },
    /// The store refuses this process. An operator must act.
    #[error(
        "the control plane at {address} refuses this process: {reason}; check the password in \
         cluster.redis_password_file and the rights of its user"
    )]
    Refused {
        /// Where it is, without a password.
        address: String,
        /// What it said.
        reason: String,
    },
    /// Another process leads with a higher token: stop writing.
    #[error("fence {fence} is superseded by {by}: another learner leads, this one must stop")]
    Superseded {
        /// The token of this process.
        fence: u64,
        /// The highest known.
        by: u64,
    },
    /// A file of `[cluster]` that cannot be read.
    #[error("cannot read {key} = {path}")]
    File {
        /// Dotted key of the setting.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// `cluster.redis` or its TLS files cannot be used.
    #[error(
        "cluster.redis cannot be used: {reason}; write redis://HOST[:PORT][/DB] or rediss://HOST[:PORT][/DB]"
    )]
    Address {
        /// Why.
        reason: String,
    },
    /// Whoever writes there says where everybody is, and the password goes there first.
    #[error(
        "refusing to talk to Redis at {address} in plain text: write rediss://{address} (TLS), or, in a network that encrypts by \
         itself, cluster.insecure = true"
    )]
    Plain {
        /// Where it is.
        address: String,
    },
    /// A value in the store that this version cannot read: written by another version, or by hand.
    #[error("{key} in the control plane is damaged: {reason}; delete it, its holder writes it again")]
    Damaged {
        /// Its key.
        key: String,
        /// Why.
        reason: String,
    },
    /// A fencing token beyond [`crate::MAX_FENCE`].
    #[error("fence {fence} is above {}: a damaged checkpoint or shard?", crate::MAX_FENCE)]
    Fence {
        /// The token.
        fence: u64,
    },
    /// Settings that do not parse.
    #[error("cannot compare settings")]
    Settings(#[from] common::config::Error),
}
