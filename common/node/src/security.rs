//! Who may talk to whom: certificates, the run's token, and what is closed by default.
//!
//! In: [`ClusterConfig`] (`insecure`, `token_file`, `tls`); out: [`Security`], read once at a process's start.
//! Invariants: nothing is served or said in plain text beyond loopback unless `insecure`; so no token either. Token and
//! key are in no `Debug`, log line or error.

use std::{
    fmt, fs,
    io::{self, Read},
    net::SocketAddr,
    path::Path,
    sync::Arc,
};

use common::config::{ClusterConfig, TlsConfig, names_loopback};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity, ServerTlsConfig};

use crate::{Error, server::Limits};

/// Bytes of a token, at least and at most.
pub const TOKEN_BYTES: (usize, usize) = (16, 4096);
/// Bytes of a file of certificates, at most.
const PEM_BYTES: u64 = 1 << 20;

/// Certificates and token of a process; cheap to clone. The default is that of a single machine: plain text on loopback
/// only, no token.
#[derive(Clone, Default)]
pub struct Security {
    insecure: bool,
    token: Option<Arc<str>>,
    ca: Option<Certificate>,
    identity: Option<Identity>,
    mutual: bool,
    domain: Option<Arc<str>>,
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Security")
            .field("insecure", &self.insecure)
            .field("token", &self.token.is_some())
            .field("ca", &self.ca.is_some())
            .field("certificate", &self.identity.is_some())
            .field("mutual", &self.mutual)
            .field("domain", &self.domain)
            .finish()
    }
}

impl Security {
    /// Reads the files that the settings name. Errors name the setting and the file.
    pub fn load(config: &ClusterConfig) -> Result<Self, Error> {
        let TlsConfig { ca, certificate, key, mutual, domain } = &config.tls;
        let ca = match ca.as_str() {
            "" => None,
            path => Some(Certificate::from_pem(pem("cluster.tls.ca", path, "CERTIFICATE-----")?)),
        };
        let identity = match (certificate.as_str(), key.as_str()) {
            ("", "") => None,
            ("", _) => {
                return Err(Error::Missing {
                    key: "cluster.tls.certificate",
                    why: "`cluster.tls.key` needs it",
                });
            }
            (_, "") => {
                return Err(Error::Missing {
                    key: "cluster.tls.key",
                    why: "`cluster.tls.certificate` needs it",
                });
            }
            (certificate, key) => Some(Identity::from_pem(
                pem("cluster.tls.certificate", certificate, "CERTIFICATE-----")?,
                pem("cluster.tls.key", key, "PRIVATE KEY-----")?,
            )),
        };
        let token = match config.token_file.as_str() {
            "" => None,
            path => Some(token(path)?),
        };
        let domain = (!domain.is_empty()).then(|| domain.as_str().into());
        let security = Self { insecure: config.insecure, token, ca, identity, mutual: *mutual, domain };
        security.check_certificates()?;
        Ok(security)
    }

    /// This, with a token. For tests; programs read a file.
    pub fn with_token(self, token: &str) -> Self {
        Self { token: Some(token.into()), ..self }
    }

    /// This, with plain text beyond loopback. For tests; programs read the settings.
    pub fn with_insecure(self) -> Self {
        Self { insecure: true, ..self }
    }

    /// Certificate and key are parsed at the start, not at the first connection.
    fn check_certificates(&self) -> Result<(), Error> {
        if self.identity.is_some() {
            let tls = self.server_tls(&Limits::default())?.unwrap_or_default();
            tonic::transport::Server::builder().tls_config(tls).map_err(Error::Tls)?;
        }
        if let Some(tls) = self.client_tls() {
            Endpoint::from_static("https://localhost").tls_config(tls).map_err(Error::Tls)?;
        }
        Ok(())
    }

    /// The token, for what compares or sends it.
    pub(crate) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// TLS of a server; `None` for plain text.
    pub(crate) fn server_tls(&self, limits: &Limits) -> Result<Option<ServerTlsConfig>, Error> {
        let Some(identity) = &self.identity else {
            return match self.ca {
                None => Ok(None),
                Some(_) => Err(Error::Missing {
                    key: "cluster.tls.certificate",
                    why: "clients with `cluster.tls.ca` talk to no server without a certificate",
                }),
            };
        };
        let tls = ServerTlsConfig::new().identity(identity.clone()).timeout(limits.handshake);
        match (&self.ca, self.mutual) {
            (Some(ca), true) => Ok(Some(tls.client_ca_root(ca.clone()))),
            (None, true) => {
                Err(Error::Missing { key: "cluster.tls.ca", why: "`cluster.tls.mutual` needs it" })
            }
            (_, false) => Ok(Some(tls)),
        }
    }

    /// TLS of a client; `None` for plain text.
    fn client_tls(&self) -> Option<ClientTlsConfig> {
        let mut tls = ClientTlsConfig::new().ca_certificate(self.ca.clone()?);
        if let Some(domain) = &self.domain {
            tls = tls.domain_name(domain.as_ref());
        }
        if let Some(identity) = &self.identity {
            tls = tls.identity(identity.clone());
        }
        Some(tls)
    }

    /// Refuses plain text beyond loopback, for a server.
    pub(crate) fn may_listen(&self, address: SocketAddr) -> Result<(), Error> {
        if self.identity.is_some() || self.insecure || address.ip().to_canonical().is_loopback() {
            Ok(())
        } else {
            Err(Error::PlainListen { address })
        }
    }

    /// TLS towards `HOST:PORT`; `None` for plain text where that is allowed.
    pub(crate) fn towards(&self, address: &str) -> Result<Option<ClientTlsConfig>, Error> {
        match self.client_tls() {
            Some(tls) => Ok(Some(tls)),
            None if self.identity.is_some() => Err(Error::Missing {
                key: "cluster.tls.ca",
                why: "without it no server's certificate can be checked",
            }),
            None if self.insecure || names_loopback(host(address)?) => Ok(None),
            None => Err(Error::PlainConnect { address: address.to_owned() }),
        }
    }
}

/// The host of `HOST:PORT`, without the brackets of an IPv6 address.
pub(crate) fn host(address: &str) -> Result<&str, Error> {
    let parts =
        address.rsplit_once(':').filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    let Some((host, _)) = parts else {
        return Err(Error::Address { address: address.to_owned(), source: None });
    };
    Ok(host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host))
}

fn read(key: &'static str, path: &str, at_most: u64) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::File { key, path: path.into(), source };
    let mut bytes = Vec::new();
    fs::File::open(Path::new(path))
        .map_err(failed)?
        .take(at_most + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > at_most {
        return Err(failed(io::Error::other(format!("it is longer than {at_most} bytes"))));
    }
    Ok(bytes)
}

/// A PEM file with at least one section whose header ends in `section`.
fn pem(key: &'static str, path: &str, section: &str) -> Result<Vec<u8>, Error> {
    let bytes = read(key, path, PEM_BYTES)?;
    let is_header = |line: &str| line.starts_with("-----BEGIN ") && line.trim_end().ends_with(section);
    match std::str::from_utf8(&bytes) {
        Ok(text) if text.lines().any(is_header) => Ok(bytes),
        _ => Err(Error::Content {
            key,
            path: path.into(),
            problem: format!("is no PEM file: no `-----BEGIN {section}`"),
        }),
    }
}

fn token(path: &str) -> Result<Arc<str>, Error> {
    let key = "cluster.token_file";
    let (low, high) = TOKEN_BYTES;
    // Room for white space around it.
    let bytes = read(key, path, 2 * high as u64)?;
    let bytes = bytes.trim_ascii();
    let refused = |problem: String| Err(Error::Content { key, path: path.into(), problem });
    if !(low..=high).contains(&bytes.len()) {
        return refused(format!("holds {} bytes, a token has {low} to {high}", bytes.len()));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.iter().all(u8::is_ascii_graphic) => Ok(text.into()),
        _ => refused("holds other bytes than printable ASCII".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(config: &ClusterConfig) -> String {
        let error = Security::load(config).unwrap_err();
        format!("{error} {:?}", std::error::Error::source(&error))
    }

    fn with_token_file(content: &[u8]) -> (tempfile::TempDir, ClusterConfig) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, content).unwrap();
        let config =
            ClusterConfig { token_file: path.to_str().unwrap().to_owned(), ..ClusterConfig::default() };
        (folder, config)
    }

    #[test]
    fn a_token_is_trimmed_and_in_no_debug_output() {
        let (_folder, config) = with_token_file(b"  0123456789abcdef-secret\n");
        let security = Security::load(&config).unwrap();
        assert_eq!(security.token(), Some("0123456789abcdef-secret"));
        assert!(!format!("{security:?} {security:#?}").contains("secret"));
    }

    #[test]
    fn a_token_of_another_form_is_refused_without_saying_it() {
        for (content, said) in [
            (&b"secret"[..], "holds 6 bytes"),
            (b"", "holds 0 bytes"),
            (b"secret secret secret", "printable"),
            (b"secret\xff\xfesecretsecretsecret", "printable"),
            (&[b's'; 4097][..], "holds 4097 bytes"),
            (&[b's'; 9000][..], "longer than"),
        ] {
            let (_folder, config) = with_token_file(content);
            let message = refusal(&config);
            assert!(message.contains(said) && message.contains("cluster.token_file"), "{message}");
            assert!(!message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn a_missing_file_is_named_with_its_setting() {
        let mut config = ClusterConfig { token_file: "/nowhere/token".into(), ..ClusterConfig::default() };
        assert!(refusal(&config).contains("setting `cluster.token_file`: cannot read /nowhere/token"));
        config.tls.ca = "/nowhere/ca.pem".into();
        assert!(refusal(&config).contains("setting `cluster.tls.ca`: cannot read /nowhere/ca.pem"));
    }

    #[test]
    fn plain_text_is_for_loopback_only() {
        let closed = Security::default();
        for address in ["127.0.0.1:1", "localhost:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(closed.towards(address).unwrap().is_none(), "{address}");
        }
        for address in ["10.0.0.1:1", "learner:7400", "localhost.example:1", "0.0.0.0:1", "[::]:1"] {
            let message = closed.towards(address).unwrap_err().to_string();
            assert!(message.contains("cluster.insecure = true") && message.contains(address), "{message}");
            assert!(closed.clone().with_insecure().towards(address).unwrap().is_none());
        }
        assert!(closed.may_listen("127.0.0.1:0".parse().unwrap()).is_ok());
        assert!(closed.may_listen("0.0.0.0:0".parse().unwrap()).is_err());
        assert!(closed.with_insecure().may_listen("0.0.0.0:0".parse().unwrap()).is_ok());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for address in ["", "learner", "learner:", ":1", "learner:70000"] {
            assert!(matches!(Security::default().towards(address), Err(Error::Address { .. })), "{address}");
        }
    }
}
