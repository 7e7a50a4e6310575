//! A `redis-server` of a test's own.
//!
//! In: a folder; out: a server without persistence on a port of its own, which can be killed and started again, empty.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use crate::process::{Process, free_port, wait_until};

/// Longest time for a server to start.
const START: Duration = Duration::from_secs(20);

/// Whether `redis-server` is there; says so where not, and fails where it must be (MAHRL_REQUIRE_REDIS=1).
pub fn is_installed() -> bool {
    let found = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !found {
        let required = std::env::var_os("MAHRL_REQUIRE_REDIS").is_some_and(|value| value == "1");
        assert!(!required, "MAHRL_REQUIRE_REDIS=1, but there is no redis-server on PATH: install it");
        // Not `eprintln`, which the test harness swallows.
        let _ = writeln!(std::io::stderr(), "NOT TESTED with Redis: there is no redis-server on PATH");
    }
    found
}

/// See the module.
#[derive(Debug)]
pub struct Redis {
    /// The server.
    pub process: Process,
    /// Where it listens.
    pub port: u16,
}

impl Redis {
    /// Starts one.
    pub fn start(folder: &Path) -> Self {
        let port = free_port();
        let text = port.to_string();
        let arguments = [
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            "/",
            "--port",
            text.as_str(),
        ];
        let process = Process::new("redis", "redis-server".into(), arguments, folder);
        let mut redis = Self { process, port };
        redis.start_again();
        redis
    }

    /// `redis://HOST:PORT`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it again on the same port, empty; waits until it answers.
    pub fn start_again(&mut self) {
        self.process.start();
        let (port, folder) = (self.port, self.process.log_folder());
        wait_until("redis-server answers", START, &folder, || {
            ask(port, "PING").ok().filter(|a| !a.is_empty())
        });
    }

    /// The answer to a command, as it came.
    pub fn command(&self, line: &str) -> String {
        ask(self.port, line).unwrap_or_default()
    }
}

fn ask(port: u16, line: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(format!("{line}\r\n").as_bytes())?;
    let mut answer = [0; 4096];
    let n = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..n]).into_owned())
}
