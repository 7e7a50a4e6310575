//! The seed and the rounds of a fault test.
//!
//! In: MAHRL_FAULT_SEED, MAHRL_FAULT_ROUNDS; out: draws. The seed is printed, so that a failure can be tried again; when
//! exactly a process dies in its work is not repeatable all the same.

use std::{io::Write, time::Duration};

use common::seed::{Rng, Streams};
use rand::RngExt;

/// See the module.
#[derive(Debug)]
pub struct Chance {
    /// Rounds to play.
    pub rounds: usize,
    rng: Rng,
}

fn number(key: &str) -> Option<u64> {
    let text = std::env::var(key).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{key}={text} is no number")))
}

impl Chance {
    /// Of the test `name`; `rounds` unless the environment says more or fewer.
    pub fn of(name: &str, rounds: usize) -> Self {
        let seed = number("MAHRL_FAULT_SEED").unwrap_or(20_260_101);
        let rounds = number("MAHRL_FAULT_ROUNDS").map_or(rounds, |rounds| rounds as usize);
        // Not `eprintln`, which the test harness swallows.
        let _ = writeln!(std::io::stderr(), "{name}: MAHRL_FAULT_SEED={seed} MAHRL_FAULT_ROUNDS={rounds}");
        Self { rounds, rng: Streams::new(seed, &format!("tests/{name}")).sequential() }
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.rng.random_range(0..n)
    }

    /// A time between the two, in milliseconds.
    pub fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.rng.random_range(from..to))
    }

    /// In another order.
    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for k in (1..values.len()).rev() {
            values.swap(k, self.below(k + 1));
        }
    }
}
