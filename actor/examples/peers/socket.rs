//! Raw TCP: the floor of everything that crosses loopback. A frame's or a minibatch's rows, as bytes.
//!
//! A request is a byte, `i` with a frame behind it or `s`; the answer to `i` is a byte, to `s` a minibatch.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    ROWS, Reply, at,
    cpu::{Server, free_address, own_s},
    repeat,
    table::Table,
};

/// First argument of the program where it is this server.
pub(crate) const ROLE: &str = "tcp-server";
/// Frames on their way.
const IN_FLIGHT: u64 = 4;

/// Serves one connection.
pub(crate) fn serve(address: &str, row_bytes: usize) -> Result<()> {
    let mut table = Table::new(row_bytes);
    let (mut stream, _) = TcpListener::bind(address)?.accept()?;
    stream.set_nodelay(true)?;
    let (mut request, mut frame) = ([0], vec![0; ROWS * row_bytes]);
    while stream.read_exact(&mut request).is_ok() {
        if request == *b"i" {
            stream.read_exact(&mut frame)?;
            table.append(&frame);
            stream.write_all(b"k")?;
        } else {
            frame.clear();
            table.gather(&mut frame);
            stream.write_all(&frame)?;
        }
    }
    Ok(())
}

/// A server and a connection to it.
pub(crate) struct Case {
    server: Server,
    stream: TcpStream,
    row_bytes: usize,
}

impl Case {
    /// For rows of so many bytes.
    pub(crate) fn start(row_bytes: usize) -> Result<Self> {
        let address = free_address()?;
        let server = Server::start(&[ROLE.into(), address.clone(), row_bytes.to_string()])?;
        let begun = Instant::now();
        let stream = loop {
            match TcpStream::connect(&address) {
                Ok(stream) => break stream,
                Err(error) if begun.elapsed() > Duration::from_secs(20) => return Err(error.into()),
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        };
        stream.set_nodelay(true)?;
        Ok(Self { server, stream, row_bytes })
    }

    /// Frames as fast as they are taken.
    pub(crate) fn insert(&mut self, seconds: f64) -> Result<Reply> {
        let mut frame = vec![7; 1 + ROWS * self.row_bytes];
        frame[0] = b'i';
        let (cpu, begun, mut answer) = (own_s() + self.server.cpu_s(), Instant::now(), [0]);
        let (mut sent, mut stored) = (0, 0);
        while begun.elapsed().as_secs_f64() < seconds {
            self.stream.write_all(&frame)?;
            sent += 1;
            while sent - stored >= IN_FLIGHT {
                self.stream.read_exact(&mut answer)?;
                stored += 1;
            }
        }
        while stored < sent {
            self.stream.read_exact(&mut answer)?;
            stored += 1;
        }
        let (rows, seconds) = ((ROWS as u64 * stored) as f64, begun.elapsed().as_secs_f64());
        let cpu = own_s() + self.server.cpu_s() - cpu;
        Ok(vec![("rows_per_s", rows / seconds), ("cpu_us", 1e6 * cpu / rows)])
    }

    /// One minibatch after the other.
    pub(crate) fn sample(&mut self, seconds: f64) -> Result<Reply> {
        let mut rows = vec![0; ROWS * self.row_bytes];
        let cpu = own_s() + self.server.cpu_s();
        let times = repeat(seconds, || {
            self.stream.write_all(b"s")?;
            Ok(self.stream.read_exact(&mut rows)?)
        })?;
        Ok(sampled(&times, own_s() + self.server.cpu_s() - cpu))
    }
}

/// The reply of a case that drew minibatches, from the sorted seconds of its calls and the CPU of all processes.
pub(crate) fn sampled(times: &[f64], cpu_s: f64) -> Reply {
    let rows = (ROWS * times.len()) as f64;
    vec![
        ("rows_per_s", rows / times.iter().sum::<f64>()),
        ("cpu_us", 1e6 * cpu_s / rows),
        ("p50_ms", 1e3 * at(times, 0.5)),
        ("p99_ms", 1e3 * at(times, 0.99)),
    ]
}
