//! A `redis-server` of a test's own, and a way to it that can be cut.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;

/// Longest time for a server to start.
const START: Duration = Duration::from_secs(20);

/// A server without persistence on loopback; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    extra: Vec<String>,
    folder: tempfile::TempDir,
}

/// Whether `redis-server` is there; says so where not, and fails where it must be.
pub(crate) fn is_installed() -> bool {
    let found = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !found {
        let required = std::env::var_os("MAHRL_REQUIRE_REDIS").is_some_and(|value| value == "1");
        assert!(!required, "MAHRL_REQUIRE_REDIS=1, but there is no redis-server on PATH: install it");
        // Not `eprintln`, which the test harness swallows.
        let _ = writeln!(std::io::stderr(), "NOT TESTED against Redis: there is no redis-server on PATH");
    }
    found
}

impl Server {
    /// Starts one, if it is installed.
    pub(crate) fn start(extra: &[&str]) -> Option<Self> {
        if !is_installed() {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let extra: Vec<String> = extra.iter().map(|text| (*text).to_owned()).collect();
        // Another process may take the port between our look and the server's start.
        for _ in 0..20 {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
            if let Some(child) = launch(port, &extra, folder.path()) {
                return Some(Self { child, port, extra, folder });
            }
        }
        panic!("redis-server did not start on 20 ports");
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// What `SAVE` writes, and the next start reads.
    pub(crate) fn dump(&self) -> std::path::PathBuf {
        self.folder.path().join("dump.rdb")
    }

    /// Starts again on the same port after [`Self::kill`]: empty, but for what was saved.
    pub(crate) fn start_again(&mut self) {
        let started = launch(self.port, &self.extra, self.folder.path());
        self.child = started.expect("the port is free again");
    }

    /// Stops it without closing anything, and lets it go on.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Sends a command.
    pub(crate) fn command(&self, line: &str) -> String {
        ask(self.port, line).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ask(port: u16, line: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(format!("{line}\r\n").as_bytes())?;
    let mut answer = [0; 512];
    let n = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..n]).into_owned())
}

/// A server that answers, or none if it ended by itself.
fn launch(port: u16, extra: &[String], folder: &std::path::Path) -> Option<Child> {
    let mut child = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &port.to_string()])
        .arg("--dir")
        .arg(folder)
        .args(extra)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + START;
    while Instant::now() < deadline {
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        // Any answer: with a password it is an error.
        if ask(port, "PING").is_ok_and(|answer| !answer.is_empty()) {
            return Some(child);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
    panic!("redis-server did not answer within {START:?}");
}

/// A port that leads to the server while it is not cut.
pub(crate) struct Wire {
    pub(crate) port: u16,
    open: Arc<watch::Sender<bool>>,
}

impl Wire {
    pub(crate) async fn to(server: u16) -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = Arc::new(watch::channel(true).0);
        let opened = open.clone();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut open = opened.subscribe();
                tokio::spawn(async move {
                    if !*open.borrow_and_update() {
                        return;
                    }
                    let Ok(mut far) = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await
                    else {
                        return;
                    };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = open.wait_for(|open| !*open) => {}
                    }
                });
            }
        });
        Self { port, open }
    }

    pub(crate) fn set_open(&self, open: bool) {
        self.open.send_replace(open);
    }
}
