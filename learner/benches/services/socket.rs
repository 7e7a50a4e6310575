//! What a loopback connection carries: the floor of everything that crosses one.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Instant,
};

use anyhow::{Context, Result};

const PIECE: usize = 32 << 10;
const BYTES: usize = 1 << 30;

/// Bytes a second from one thread to another.
pub(crate) fn bytes_a_second() -> Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let sender = thread::spawn(move || -> std::io::Result<()> {
        let mut stream = TcpStream::connect(address)?;
        let piece = vec![7_u8; PIECE];
        (0..BYTES / PIECE).try_for_each(|_| stream.write_all(&piece))
    });
    let (mut stream, _) = listener.accept()?;
    let mut piece = vec![0_u8; PIECE];
    let begun = Instant::now();
    let mut received = 0;
    while received < BYTES {
        received += stream.read(&mut piece).context("the sender has gone")?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    sender.join().expect("the sender does not panic")?;
    Ok(BYTES as f64 / seconds)
}
