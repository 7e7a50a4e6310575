//! Others of the cluster as a client reaches them, and why it does not.
//!
//! In: addresses; out: connections, and of those that fail what is to be done. What a TLS library says of a server that speaks
//! plain text, or an HTTP/2 one of a server that speaks TLS, varies with timing and names no setting. So whoever waits for
//! somebody asks once more, in bytes that both kinds of server answer in their own way.

use std::{fmt, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{Connection, Security, connect};

/// What a client of HTTP/2 begins with: the preface and empty settings.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// How long a server may take to answer it.
const ANSWER: Duration = Duration::from_secs(1);

/// Connects to addresses. Cheap to clone.
#[derive(Clone)]
pub struct Dialer(Kind);

/// Connects to `HOST:PORT` (lazily), or says why that cannot be.
type Connector = dyn Fn(&str) -> Result<Connection, String> + Send + Sync;

#[derive(Clone)]
enum Kind {
    Secure(Security),
    By(Arc<Connector>),
}

/// Somebody, as a client reaches them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Opened by its first request.
    pub connection: Connection,
    /// `HOST:PORT`; empty within a process.
    pub address: String,
    dialer: Option<Dialer>,
}

/// What a server's first bytes say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    Tls,
    PlainText,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").finish_non_exhaustive()
    }
}

impl Dialer {
    /// With a process's certificates and token.
    pub fn new(security: &Security) -> Self {
        Self(Kind::Secure(security.clone()))
    }

    /// In a way of its own, e.g. within a process.
    pub fn by<E: fmt::Display>(
        connect: impl Fn(&str) -> Result<Connection, E> + Send + Sync + 'static,
    ) -> Self {
        Self(Kind::By(Arc::new(move |address: &str| connect(address).map_err(|error| error.to_string()))))
    }

    /// A connection to an address, opened by its first request; else why there can be none. Needs a tokio runtime around it.
    pub fn connect(&self, address: &str) -> Result<Connection, String> {
        match &self.0 {
            Kind::Secure(security) => connect(address, security).map_err(|error| error.to_string()),
            Kind::By(connect) => connect(address),
        }
    }

    /// The same, for whoever wants to say why it fails.
    pub fn dial(&self, address: &str) -> Result<Peer, String> {
        let connection = self.connect(address)?;
        Ok(Peer { connection, address: address.to_owned(), dialer: Some(self.clone()) })
    }

    /// A failure to reach an address, with what is to be done about it where that can be found out. May take a second.
    pub async fn explain(&self, address: &str, problem: &str) -> String {
        match self.remedy(address).await {
            Some(remedy) => format!("{problem}; {remedy}"),
            None => problem.to_owned(),
        }
    }

    async fn remedy(&self, address: &str) -> Option<&'static str> {
        let Kind::Secure(security) = &self.0 else { return None };
        let we = match security.towards(address).ok()? {
            Some(_) => Speaks::Tls,
            None => Speaks::PlainText,
        };
        match (we, timeout(ANSWER, listen(address)).await.ok()??) {
            (Speaks::PlainText, Speaks::Tls) => {
                Some("it speaks TLS, this process does not: set cluster.tls.ca (docs/security.md)")
            }
            (Speaks::Tls, Speaks::PlainText) => Some(
                "it speaks plain text, this process TLS: start it with cluster.tls.certificate and cluster.tls.key \
                 (docs/security.md)",
            ),
            _ => None,
        }
    }
}

impl Peer {
    /// Somebody in the same process.
    pub fn within(connection: Connection) -> Self {
        Self { connection, address: String::new(), dialer: None }
    }

    /// A failure to reach it, with its address, and with what is to be done where that can be found out.
    pub async fn explain(&self, problem: &str) -> String {
        match &self.dialer {
            Some(dialer) => format!("{}: {}", self.address, dialer.explain(&self.address, problem).await),
            None => problem.to_owned(),
        }
    }
}

/// What a server makes of [`HELLO`]; `None` where it says nothing that is known here.
async fn listen(address: &str) -> Option<Speaks> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(HELLO).await.ok()?;
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.ok()?;
    match head {
        // An alert of TLS 1.x; the settings of a server of HTTP/2.
        [0x15, 0x03, ..] => Some(Speaks::Tls),
        [_, _, _, 0x04] => Some(Speaks::PlainText),
        _ => None,
    }
}
