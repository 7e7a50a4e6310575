//! Bytes that nobody wrote, for decoders.
//!
//! In: right examples, a decoder; out: that many calls of it with random bytes and with examples that were damaged, and a
//! line of how many. A decoder fails by panicking; the case is told then. In the tests of the crates, which take this file
//! by its path, a few thousand cases; `make fuzz MINUTES=10` sets MAHRL_FUZZ_MINUTES, and then it is so many minutes. The
//! seed is printed; MAHRL_FUZZ_SEED sets it.
#![allow(missing_docs, unreachable_pub)]

use std::{
    io::Write,
    time::{Duration, Instant},
};

/// Cases without MAHRL_FUZZ_MINUTES.
pub(crate) const FEW: u64 = 2_000;
/// Longest random input, in bytes.
const LONGEST: u64 = 400;
/// Numbers at which decoders go wrong.
const EXTREMES: [u64; 9] =
    [0, 1, 0x7f, 0xff, 0x7fff_ffff, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, u64::MAX, 0x4000_0000];

/// SplitMix64.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next() as u8).collect()
    }

    /// Random bytes, or an example with some damage, now and then with none.
    fn case(&mut self, examples: &[Vec<u8>]) -> Vec<u8> {
        if examples.is_empty() || self.below(5) == 0 {
            let length = self.next() % LONGEST;
            return self.bytes(length as usize);
        }
        let mut bytes = examples[self.below(examples.len())].clone();
        for _ in 0..self.below(5) {
            self.damage(&mut bytes, examples);
        }
        bytes
    }

    fn damage(&mut self, bytes: &mut Vec<u8>, examples: &[Vec<u8>]) {
        let at = self.below(bytes.len());
        let to = (at + self.below(40)).min(bytes.len());
        match self.below(8) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
            1 if !bytes.is_empty() => bytes[at] = self.next() as u8,
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..to)),
            4 => {
                let n = self.below(20);
                let more = self.bytes(n);
                bytes.splice(at..at, more);
            }
            5 => {
                let again = bytes[at..to].to_vec();
                bytes.splice(at..at, again);
            }
            6 => {
                let number = EXTREMES[self.below(EXTREMES.len())].to_le_bytes();
                let width = [1, 2, 4, 8][self.below(4)].min(bytes.len() - at);
                bytes[at..at + width].copy_from_slice(&number[..width]);
            }
            _ => {
                let other = &examples[self.below(examples.len())];
                let from = self.below(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
}

/// Tells the case if the decoder panics.
struct Case<'a> {
    name: &'a str,
    seed: u64,
    number: u64,
    bytes: &'a [u8],
}

impl Drop for Case<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { name, seed, number, bytes } = self;
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            say(&format!("fuzz {name}: MAHRL_FUZZ_SEED={seed}, case {number} panics: {hex}"));
        }
    }
}

fn say(line: &str) {
    // Not `eprintln`, which the test harness swallows.
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn number<T: std::str::FromStr>(key: &str) -> Option<T> {
    let text = std::env::var(key).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{key}={text} is no number")))
}

/// Calls `decode` with case after case.
pub fn fuzz(name: &str, examples: &[Vec<u8>], decode: impl FnMut(&[u8])) {
    let time = number("MAHRL_FUZZ_MINUTES").map(|minutes: f64| Duration::from_secs_f64(60.0 * minutes));
    run(name, examples, time, decode);
}

pub(crate) fn run(name: &str, examples: &[Vec<u8>], time: Option<Duration>, mut decode: impl FnMut(&[u8])) {
    let seed = number("MAHRL_FUZZ_SEED").unwrap_or(1);
    let (mut draws, begun) = (Draws(seed), Instant::now());
    let mut number = 0;
    // The time is looked at only now and then.
    while number < FEW || time.is_some_and(|time| !number.is_multiple_of(64) || begun.elapsed() < time) {
        let bytes = draws.case(examples);
        let _case = Case { name, seed, number, bytes: &bytes };
        decode(&bytes);
        number += 1;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let rate = number as f64 / seconds;
    say(&format!(
        "fuzz {name}: MAHRL_FUZZ_SEED={seed}, {number} cases in {seconds:.1} s, {rate:.0} a second"
    ));
}
