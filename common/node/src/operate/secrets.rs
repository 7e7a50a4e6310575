//! The secrets of a run: a token, certificates of an authority of its own, Redis's password.
//!
//! In: nothing but the system's randomness; out: the files of [`NAMES`]. The authority's key is never written: it signs one
//! certificate and is forgotten, so that nobody can sign another. New certificates are a new authority.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    thread::sleep,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, bail};
use rand::Rng;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

/// The files: the run's token, the authority's certificate, that of all processes with its key, Redis's password, and a
/// part of Redis's configuration that sets it.
pub const NAMES: [&str; 6] = ["token", "ca.pem", "tls.pem", "tls.key", "redis-password", "redis.conf"];

/// Name in the certificate of all processes, which is no machine's (`cluster.tls.domain`).
const DOMAIN: &str = "node.mahrl";
/// Validity of the certificates. A run is shorter; docs/security.md says how to replace them.
const VALID: Duration = Duration::from_secs(3650 * 86_400);
/// Clocks may differ by so much.
const SKEW: Duration = Duration::from_secs(86_400);
/// Between two looks into a folder.
const LOOK: Duration = Duration::from_millis(200);

/// Fresh ones by name. Redis's certificate is good for `redis_hosts`, `redis` and loopback.
pub(super) fn fresh(redis_hosts: &[String]) -> Result<BTreeMap<&'static str, String>> {
    let (token, password) = (random_hex(), random_hex());
    let [ca, certificate, key] = certificates(redis_hosts).context("cannot make certificates")?;
    let redis = format!("requirepass {password}\n");
    Ok(NAMES.into_iter().zip([token, ca, certificate, key, password, redis]).collect())
}

/// 256 bits of a generator that is seeded by the system.
fn random_hex() -> String {
    let mut bytes = [0_u8; 32];
    rand::rng().fill_bytes(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The authority's certificate, that of all processes, its key; PEM.
fn certificates(redis_hosts: &[String]) -> Result<[String; 3], rcgen::Error> {
    let now = SystemTime::now();
    let params = |names: Vec<String>, common_name: &str| {
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, common_name);
        (params.not_before, params.not_after) = ((now - SKEW).into(), (now + VALID).into());
        Ok::<_, rcgen::Error>(params)
    };
    let mut authority = params(Vec::new(), "mahrl authority")?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let mut names: Vec<String> = [DOMAIN, "redis", "localhost", "127.0.0.1", "::1"].map(String::from).into();
    names.extend_from_slice(redis_hosts);
    let mut node = params(names, DOMAIN)?;
    node.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate()?;
    let certificate = node.signed_by(&key, &authority)?;
    Ok([authority.pem(), certificate.pem(), key.serialize_pem()])
}

/// Those of [`NAMES`] that `has` does not have.
pub(super) fn missing(has: impl Fn(&str) -> bool) -> Vec<&'static str> {
    NAMES.into_iter().filter(|name| !has(name)).collect()
}

fn missing_in(folder: &Path) -> Vec<&'static str> {
    missing(|name| folder.join(name).is_file())
}

/// Writes fresh ones into a folder, unless it holds all; some without the others are an error.
pub(super) fn write(folder: &Path, redis_hosts: &[String]) -> Result<()> {
    let missing = missing_in(folder);
    if missing.is_empty() {
        println!("{} holds the secrets of a run already; they stay as they are", folder.display());
        return Ok(());
    }
    if missing.len() < NAMES.len() {
        bail!(
            "{} lacks {}, but holds others that belong together: add what is missing, or empty it",
            folder.display(),
            missing.join(", ")
        );
    }
    let shown = |what: &str, path: &Path| format!("cannot {what} {}", path.display());
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| shown("make", folder))?;
    for (name, content) in fresh(redis_hosts)? {
        let path = folder.join(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(content.as_bytes()))
            .with_context(|| shown("write", &path))?;
    }
    println!("the secrets of a run are in {}: {}", folder.display(), NAMES.join(", "));
    Ok(())
}

/// Waits until a folder holds all of them.
pub(super) fn wait(folder: &Path, patience: Duration) -> Result<()> {
    let begun = Instant::now();
    loop {
        let missing = missing_in(folder);
        if missing.is_empty() {
            return Ok(());
        }
        if begun.elapsed() >= patience {
            bail!(
                "{} lacks {}. In Kubernetes the Job `secrets` writes them into the Secret `mahrl-secrets`: `kubectl -n \
                 mahrl logs job/secrets` says why it has not; `make k8s-secrets` does it from your machine. This is \
                 tried again.",
                folder.display(),
                missing.join(", ")
            );
        }
        sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use common::config::{ClusterConfig, TlsConfig};

    use super::*;
    use crate::Security;

    #[test]
    fn a_folder_of_secrets_is_what_the_settings_take_and_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("new");
        write(&folder, &["redis.elsewhere".into()]).unwrap();
        let path = |name: &str| folder.join(name).display().to_string();
        let tls = TlsConfig {
            ca: path("ca.pem"),
            certificate: path("tls.pem"),
            key: path("tls.key"),
            mutual: true,
            domain: DOMAIN.into(),
        };
        let config = ClusterConfig { token_file: path("token"), tls, ..ClusterConfig::default() };
        Security::load(&config).unwrap();
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!(read("redis.conf"), format!("requirepass {}\n", read("redis-password")));
        assert_ne!(read("token"), read("redis-password"));
        let before = NAMES.map(read);
        write(&folder, &[]).unwrap();
        assert_eq!(NAMES.map(read), before);

        fs::remove_file(folder.join("token")).unwrap();
        let message = write(&folder, &[]).unwrap_err().to_string();
        assert!(message.contains("lacks token, but"), "{message}");
    }

    #[test]
    fn a_wait_ends_with_the_last_file_or_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        for name in &NAMES[1..] {
            fs::write(folder.join(name), "").unwrap();
        }
        let message = wait(folder, Duration::ZERO).unwrap_err().to_string();
        assert!(message.contains("lacks token.") && message.contains("make k8s-secrets"), "{message}");
        let later = folder.join("token");
        let writes = std::thread::spawn(move || fs::write(later, "").unwrap());
        wait(folder, Duration::from_secs(20)).unwrap();
        writes.join().unwrap();
    }
}
