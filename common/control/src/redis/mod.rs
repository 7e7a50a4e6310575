//! The control plane in Redis.
//!
//! Keys stand under `mahrl:RUN:`; the table in [`crate`] says which. What must be atomic is a script in this folder,
//! so that a command whose answer was lost may be sent again.

mod link;

use std::{collections::BTreeMap, path::Path, time::Duration};

use common::config::{ClusterConfig, names_loopback};
use redis::{
    Client, ConnectionAddr, FromRedisValue, IntoConnectionInfo, Script, ScriptInvocation, TlsCertificates,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    CheckpointEntry, Error, Leader, RunRecord, ShardEntry,
    records::{Bid, Claim, Kept, Renewal},
};
use link::{Link, Request, Timing};

/// The store.
pub(crate) struct Redis {
    link: Link,
    /// `mahrl:RUN:`.
    prefix: String,
    scripts: Scripts,
}

struct Scripts {
    claim: Script,
    renew: Script,
    release: Script,
    register: Script,
    deregister: Script,
    shards: Script,
    checkpoint: Script,
}

impl Redis {
    /// Does not connect yet: the first command does.
    pub(crate) fn new(config: &ClusterConfig) -> Result<Self, Error> {
        let bad = |error: redis::RedisError| Error::Address { reason: error.to_string() };
        let mut info = config.redis.as_str().into_connection_info().map_err(bad)?;
        let address = match info.addr() {
            ConnectionAddr::Tcp(host, port) if !config.insecure && !names_loopback(host) => {
                return Err(Error::Plain { address: format!("{host}:{port}") });
            }
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                format!("{host}:{port}")
            }
            _ => return Err(Error::Address { reason: "it is no network address".into() }),
        };
        if !config.redis_password_file.is_empty() {
            let password = file("cluster.redis_password_file", &config.redis_password_file)?;
            // Editors end a file with a line break, which is not part of the password.
            let password = String::from_utf8_lossy(&password);
            let settings =
                info.redis_settings().clone().set_password(password.trim_end_matches(['\r', '\n']));
            info = info.set_redis_settings(settings);
        }
        let tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        let client = if tls {
            Client::build_with_tls(info, certificates(config)?).map_err(bad)?
        } else {
            Client::open(info).map_err(bad)?
        };
        let timing = Timing::within(Duration::from_secs_f64(config.lease_seconds));
        Ok(Self {
            link: Link::new(client, address, timing),
            prefix: format!("mahrl:{}:", config.run),
            scripts: Scripts {
                claim: Script::new(include_str!("claim.lua")),
                renew: Script::new(include_str!("renew.lua")),
                release: Script::new(include_str!("release.lua")),
                register: Script::new(include_str!("register.lua")),
                deregister: Script::new(include_str!("deregister.lua")),
                shards: Script::new(include_str!("shards.lua")),
                checkpoint: Script::new(include_str!("checkpoint.lua")),
            },
        })
    }

    /// Where it is, without a password.
    pub(crate) fn address(&self) -> &str {
        self.link.address()
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    async fn command<T: FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, Error> {
        self.link.ask(&Request::Command(command)).await
    }

    async fn script<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, Error> {
        self.link.ask(&Request::Script(script)).await
    }

    pub(crate) async fn ping(&self) -> Result<(), Error> {
        self.command::<String>(&redis::cmd("PING")).await.map(drop)
    }

    pub(crate) async fn put_run(&self, record: &RunRecord) -> Result<(), Error> {
        self.command(redis::cmd("SET").arg(self.key("run")).arg(json(record))).await
    }

    pub(crate) async fn run(&self) -> Result<Option<RunRecord>, Error> {
        let key = self.key("run");
        let text: Option<String> = self.command(redis::cmd("GET").arg(&key)).await?;
        text.map(|text| read(&key, &text)).transpose()
    }

    pub(crate) async fn put_shard(&self, entry: &ShardEntry, lease: Duration) -> Result<(), Error> {
        let mut script = self.scripts.register.key(self.key("shards"));
        script.key(self.key(&format!("shard:{}", entry.uid)));
        script.arg(entry.uid).arg(&entry.address).arg(millis(lease));
        self.script::<String>(&script).await.map(drop)
    }

    pub(crate) async fn remove_shard(&self, entry: &ShardEntry) -> Result<(), Error> {
        let mut script = self.scripts.deregister.key(self.key("shards"));
        script.key(self.key(&format!("shard:{}", entry.uid))).arg(entry.uid).arg(&entry.address);
        self.script::<String>(&script).await.map(drop)
    }

    pub(crate) async fn shards(&self) -> Result<Vec<ShardEntry>, Error> {
        let mut script = self.scripts.shards.key(self.key("shards"));
        script.arg(self.key("shard:"));
        let found: Vec<(u64, String)> = self.script(&script).await?;
        let mut shards: Vec<_> =
            found.into_iter().map(|(uid, address)| ShardEntry { uid, address }).collect();
        shards.sort_unstable();
        Ok(shards)
    }

    pub(crate) async fn claim(&self, bid: Bid<'_>) -> Result<Claim, Error> {
        let mut script = self.scripts.claim.key(self.key("leader"));
        script.key(self.key("fence"));
        script.arg(bid.holder).arg(bid.address).arg(millis(bid.lease)).arg(bid.floor);
        script.arg(u8::from(bid.settled));
        let (state, fence, ms): (String, u64, i64) = self.script(&script).await?;
        Ok(match state.as_str() {
            "won" => Claim::Won { fence },
            "held" => {
                let free_in = Duration::from_millis(ms.max(0).unsigned_abs());
                Claim::Held { highest: fence, free_in }
            }
            _ => Claim::Blank,
        })
    }

    pub(crate) async fn renew(&self, bid: Bid<'_>, kept: &Kept) -> Result<Renewal, Error> {
        let mut script = self.scripts.renew.key(self.key("leader"));
        script.key(self.key("fence")).key(self.key("run")).key(self.key("checkpoints"));
        script.arg(bid.holder).arg(bid.floor).arg(bid.address).arg(millis(bid.lease));
        script.arg(kept.run.as_ref().map(json).unwrap_or_default());
        for entry in &kept.checkpoints {
            script.arg(entry.step).arg(json(entry));
        }
        Ok(match superseded(self.script(&script).await?) {
            Some(by) => Renewal::Superseded { by },
            None => Renewal::Renewed,
        })
    }

    pub(crate) async fn release(&self, holder: &str) -> Result<(), Error> {
        let mut script = self.scripts.release.key(self.key("leader"));
        script.arg(holder);
        self.script::<String>(&script).await.map(drop)
    }

    pub(crate) async fn leader(&self) -> Result<Option<Leader>, Error> {
        let mut command = redis::cmd("HMGET");
        command.arg(self.key("leader")).arg("address").arg("fence");
        let (address, fence): (Option<String>, Option<u64>) = self.command(&command).await?;
        Ok(address.zip(fence).map(|(address, fence)| Leader { address, fence }))
    }

    pub(crate) async fn put_counter(&self, name: &str, process: u64, total: u64) -> Result<(), Error> {
        let field = format!("{name}/{process:016x}");
        self.command(redis::cmd("HSET").arg(self.key("counters")).arg(field).arg(total)).await
    }

    pub(crate) async fn counters(&self) -> Result<BTreeMap<String, u64>, Error> {
        let parts: BTreeMap<String, u64> =
            self.command(redis::cmd("HGETALL").arg(self.key("counters"))).await?;
        let mut out = BTreeMap::new();
        for (field, total) in parts {
            let name = field.rsplit_once('/').map_or(field.as_str(), |(name, _)| name);
            *out.entry(name.to_owned()).or_default() += total;
        }
        Ok(out)
    }

    pub(crate) async fn put_checkpoint(&self, entry: &CheckpointEntry, keep: usize) -> Result<(), Error> {
        let mut script = self.scripts.checkpoint.key(self.key("fence"));
        script.key(self.key("checkpoints"));
        script.arg(entry.fence).arg(entry.step).arg(json(entry)).arg(keep.max(1));
        match superseded(self.script(&script).await?) {
            Some(by) => Err(Error::Superseded { fence: entry.fence, by }),
            None => Ok(()),
        }
    }

    pub(crate) async fn checkpoints(&self) -> Result<Vec<CheckpointEntry>, Error> {
        let key = self.key("checkpoints");
        let texts: Vec<String> = self.command(redis::cmd("HVALS").arg(&key)).await?;
        let mut entries: Vec<CheckpointEntry> =
            texts.iter().map(|text| read(&key, text)).collect::<Result<_, _>>()?;
        entries.sort_by_key(|entry| entry.step);
        Ok(entries)
    }
}

/// The token that a script answers, if any.
fn superseded(answer: String) -> Option<u64> {
    (!answer.is_empty()).then(|| answer.parse().unwrap_or(u64::MAX))
}

fn millis(lease: Duration) -> u64 {
    u64::try_from(lease.as_millis()).unwrap_or(u64::MAX).max(1)
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("records are plain values")
}

fn read<T: DeserializeOwned>(key: &str, text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|e| Error::Damaged { key: key.to_owned(), reason: e.to_string() })
}

fn file(key: &'static str, path: &str) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::File { key, path: Path::new(path).to_owned(), source })
}

/// `cluster.tls` holds for Redis, too; without an authority, the system's are trusted.
fn certificates(config: &ClusterConfig) -> Result<TlsCertificates, Error> {
    let tls = &config.tls;
    let authority = (!tls.ca.is_empty()).then(|| file("cluster.tls.ca", &tls.ca)).transpose()?;
    let own = (!tls.certificate.is_empty()).then(|| {
        Ok::<_, Error>(redis::ClientTlsConfig {
            client_cert: file("cluster.tls.certificate", &tls.certificate)?,
            client_key: file("cluster.tls.key", &tls.key)?,
        })
    });
    Ok(TlsCertificates { client_tls: own.transpose()?, root_cert: authority })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RunRecord;

    #[test]
    fn plain_text_beyond_loopback_is_refused_unless_it_is_asked_for() {
        let open = |redis: &str, insecure| {
            let config = ClusterConfig { redis: redis.into(), insecure, ..ClusterConfig::default() };
            Redis::new(&config).map(|redis| redis.address().to_owned()).map_err(|error| error.to_string())
        };
        for address in ["127.0.0.1:6379", "localhost:6379"] {
            assert_eq!(open(&format!("redis://{address}"), false).unwrap(), address);
        }
        let refused = open("redis://10.1.2.3", false).unwrap_err();
        assert!(refused.contains("10.1.2.3:6379 in plain text: write rediss://10.1.2.3:6379"), "{refused}");
        open("redis://10.1.2.3", true).unwrap();
    }

    #[test]
    fn fuzz_records() {
        let run = RunRecord::new("test", "seed = 3\n[train]\nsteps = 5\n".into());
        let shard = ShardEntry { uid: 7, address: "10.0.0.1:50051".into() };
        let checkpoint = CheckpointEntry {
            step: 512,
            updates: 7,
            path: "runs/a/checkpoints/512.safetensors".into(),
            sha256: run.sha256.clone(),
            fence: 3,
        };
        let examples = [json(&run), json(&shard), json(&checkpoint)].map(String::into_bytes);
        let mut taken = 0;
        crate::fuzz::fuzz("records", &examples, |bytes| {
            // Redis gives text, or the client refuses it.
            let text = String::from_utf8_lossy(bytes);
            let _token = superseded(text.clone().into_owned());
            if let Ok(found) = read::<ShardEntry>("shards", &text) {
                assert_eq!(read::<ShardEntry>("shards", &json(&found)).unwrap(), found);
                taken += 1;
            }
            if let Ok(found) = read::<CheckpointEntry>("checkpoints", &text) {
                assert_eq!(read::<CheckpointEntry>("checkpoints", &json(&found)).unwrap(), found);
                taken += 1;
            }
            if let Ok(found) = read::<RunRecord>("run", &text) {
                assert_eq!(read::<RunRecord>("run", &json(&found)).unwrap(), found);
                taken += 1;
            }
        });
        assert!(taken > 0, "no case was right");
    }
}
