//! What can go wrong at a process's edges. No message holds a token or a key.

use std::{io, net::SocketAddr, path::PathBuf};

/// An error at a process's edges; its kind says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that a setting names cannot be read: fix the setting, or the file's rights.
    #[error("setting `{key}`: cannot read {path}")]
    File {
        /// The setting.
        key: &'static str,
        /// The file it names.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file that a setting names holds something else: fix the file.
    #[error("setting `{key}`: {path} {problem}")]
    Content {
        /// The setting.
        key: &'static str,
        /// The file it names.
        path: PathBuf,
        /// What is wrong with what it holds.
        problem: String,
    },
    /// A setting that another one needs is empty.
    #[error("setting `{key}` is empty: {why}")]
    Missing {
        /// The setting.
        key: &'static str,
        /// What needs it.
        why: &'static str,
    },
    /// A server would listen beyond loopback in plain text.
    #[error(
        "refusing to listen on {address} in plain text: set `cluster.tls.certificate` and `cluster.tls.key`, or \
         `cluster.insecure = true` in a network that you trust"
    )]
    PlainListen {
        /// Where it would listen.
        address: SocketAddr,
    },
    /// A client would talk plain text beyond loopback.
    #[error(
        "refusing to talk to {address} in plain text: set `cluster.tls.ca`, or `cluster.insecure = true` in a network \
         that you trust"
    )]
    PlainConnect {
        /// Whom it would talk to.
        address: String,
    },
    /// No HOST:PORT, or a host that cannot be found.
    #[error("no usable address: {address}, expected HOST:PORT")]
    Address {
        /// What was given.
        address: String,
        /// Why, where the system said so.
        #[source]
        source: Option<io::Error>,
    },
    /// The port is taken, or not this process's to take.
    #[error("cannot listen on {address}")]
    Bind {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Certificates and key do not work together, or the address is none for TLS.
    #[error("cannot use the certificates of `cluster.tls`")]
    Tls(#[source] tonic::transport::Error),
    /// The server ended by itself.
    #[error("the server failed")]
    Serve(#[source] tonic::transport::Error),
    /// The reflection service does not take the compiled proto files.
    #[error("cannot describe the services")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// A thread or a signal handler that the system refuses.
    #[error("cannot start {what}")]
    Start {
        /// What.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another recorder of metrics is installed in this process.
    #[error("this process records its metrics elsewhere already")]
    Recorder,
    /// A process does not answer, or says that it is not ready.
    #[error("{address} is not ready: {reason}")]
    NotReady {
        /// Who was asked.
        address: String,
        /// What it said, or why it said nothing.
        reason: String,
    },
    /// An argument `--set` without `=`.
    #[error("`--set {0}` is no KEY=VALUE, e.g. `--set algorithm.discount=0.9`")]
    Flag(String),
    /// Settings that cannot be used.
    #[error(transparent)]
    Settings(#[from] common::config::Error),
}
