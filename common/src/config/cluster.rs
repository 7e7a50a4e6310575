//! `[cluster]`: how the processes of a cluster find and trust each other. Single-node runs read none of it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Error, require, within};

/// Whether a host is this machine's loopback by its text: a name that is found elsewhere could be moved by whoever answers for
/// names.
pub fn names_loopback(host: &str) -> bool {
    let is_loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(is_loopback)
}

/// `[cluster.tls]`: certificates. All paths empty: plain text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM file of the authority that signed the servers' certificates (and the clients', for mutual TLS).
    pub ca: String,
    /// PEM file of this process's certificate chain.
    pub certificate: String,
    /// PEM file of its private key.
    pub key: String,
    /// Mutual TLS: servers refuse clients without a certificate of the authority.
    pub mutual: bool,
    /// Name in the servers' certificates, where it is not that of their address; empty: the address's.
    pub domain: String,
}

/// `[cluster]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    /// Name of the run, 1 to 128 bytes: processes of other runs are refused.
    pub run: String,
    /// Where actors find the learner: `HOST:PORT`, or `redis` for whoever holds the learner's lease.
    pub learner: String,
    /// Where the shards are: `HOST:PORT` each, or one entry `dns:HOST:PORT` (every address of HOST is a shard) or
    /// `redis` (those that registered there).
    pub shards: Vec<String>,
    /// `redis://HOST[:PORT][/DB]` or `rediss://` (TLS), without a password; empty: no Redis.
    pub redis: String,
    /// File that holds Redis's password; empty: none.
    pub redis_password_file: String,
    /// Where the learner listens, `HOST:PORT`.
    pub learner_listen: String,
    /// Where a shard listens, `HOST:PORT`; port 0 takes a free one.
    pub replay_listen: String,
    /// Where every process serves Prometheus's `/metrics`, `HOST:PORT`; empty: nowhere.
    pub metrics_listen: String,
    /// `HOST:PORT` under which this process registers; empty: where it listens.
    pub advertise: String,
    /// Plain text beyond loopback, to Redis too.
    pub insecure: bool,
    /// File that holds the run's bearer token; empty: none is asked for.
    pub token_file: String,
    /// Seconds without a word from its holder after which a lease is free.
    pub lease_seconds: f64,
    /// Seconds from SIGTERM to the end of a process, at most.
    pub grace_seconds: f64,
    /// Certificates.
    pub tls: TlsConfig,
}

impl Default for ClusterConfig {
    /// Everything on this machine's loopback, without Redis.
    fn default() -> Self {
        Self {
            run: "mahrl".into(),
            learner: "127.0.0.1:7400".into(),
            shards: vec!["127.0.0.1:7410".into()],
            redis: String::new(),
            redis_password_file: String::new(),
            learner_listen: "127.0.0.1:7400".into(),
            replay_listen: "127.0.0.1:7410".into(),
            metrics_listen: String::new(),
            advertise: String::new(),
            insecure: false,
            token_file: String::new(),
            lease_seconds: 5.0,
            grace_seconds: 20.0,
            tls: TlsConfig::default(),
        }
    }
}

/// `HOST:PORT`.
fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

impl ClusterConfig {
    pub(super) fn validate(&self) -> Result<(), Error> {
        require((1..=128).contains(&self.run.len()), "cluster.run", &self.run, "a name of 1 to 128 bytes")?;
        let redis_said = |key, value: &str| {
            require(
                value != "redis" || !self.redis.is_empty(),
                key,
                value,
                "an address, as cluster.redis is empty",
            )
        };
        redis_said("cluster.learner", &self.learner)?;
        require(
            self.learner == "redis" || is_address(&self.learner),
            "cluster.learner",
            &self.learner,
            "HOST:PORT or `redis`",
        )?;
        require(!self.shards.is_empty(), "cluster.shards", "empty", "at least one entry")?;
        for shard in &self.shards {
            redis_said("cluster.shards", shard)?;
            let whole = shard == "redis" || shard.starts_with("dns:");
            require(
                shard == "redis" || is_address(shard.strip_prefix("dns:").unwrap_or(shard)),
                "cluster.shards",
                shard,
                "HOST:PORT, `dns:HOST:PORT` or `redis`",
            )?;
            require(
                !whole || self.shards.len() == 1,
                "cluster.shards",
                shard,
                "the only entry, where it is `dns:HOST:PORT` or `redis`",
            )?;
        }
        for (key, value) in [
            ("cluster.learner_listen", &self.learner_listen),
            ("cluster.replay_listen", &self.replay_listen),
            ("cluster.metrics_listen", &self.metrics_listen),
            ("cluster.advertise", &self.advertise),
        ] {
            let may_be_empty = ["cluster.metrics_listen", "cluster.advertise"].contains(&key);
            require(may_be_empty && value.is_empty() || is_address(value), key, value, "HOST:PORT")?;
        }
        let scheme = ["redis://", "rediss://"].iter().find_map(|scheme| self.redis.strip_prefix(scheme));
        require(
            self.redis.is_empty() || scheme.is_some_and(|rest| !rest.is_empty()),
            "cluster.redis",
            // Not the value: what follows may be a password.
            "of another form",
            "empty, redis://HOST[:PORT][/DB] or rediss://...",
        )?;
        require(
            !self.redis.contains('@'),
            "cluster.redis",
            "an address with a user or password",
            "one without: the password belongs into the file cluster.redis_password_file",
        )?;
        let TlsConfig { ca, certificate, key, mutual, .. } = &self.tls;
        require(
            certificate.is_empty() == key.is_empty(),
            "cluster.tls.key",
            if key.is_empty() { "empty" } else { key },
            "set together with cluster.tls.certificate",
        )?;
        require(
            !mutual || !ca.is_empty() && !certificate.is_empty(),
            "cluster.tls.mutual",
            mutual,
            "false without cluster.tls.ca and cluster.tls.certificate",
        )?;
        within("cluster.lease_seconds", self.lease_seconds, 0.1, 3600.0)?;
        within("cluster.grace_seconds", self.grace_seconds, 0.1, 3600.0)
    }
}
