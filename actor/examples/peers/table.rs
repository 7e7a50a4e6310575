//! Rows as plain bytes: what bare transports store and gather.

use std::{hint::black_box, time::Instant};

use crate::ROWS;

/// Rows kept.
const CAPACITY: usize = 1_000_000;

/// A ring of rows of equal size.
pub(crate) struct Table {
    bytes: Vec<u8>,
    row_bytes: usize,
    next: usize,
    state: u64,
}

impl Table {
    /// Full of something.
    pub(crate) fn new(row_bytes: usize) -> Self {
        Self { bytes: vec![7; CAPACITY * row_bytes], row_bytes, next: 0, state: 1 }
    }

    /// Takes the rows of a frame.
    pub(crate) fn append(&mut self, frame: &[u8]) {
        for row in frame.chunks_exact(self.row_bytes) {
            self.bytes[self.next * self.row_bytes..][..self.row_bytes].copy_from_slice(row);
            self.next = (self.next + 1) % CAPACITY;
        }
    }

    /// A minibatch of random rows.
    pub(crate) fn gather(&mut self, out: &mut Vec<u8>) {
        for _ in 0..ROWS {
            // A linear congruential generator: the draw is not what is measured.
            self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let row = (self.state >> 33) as usize % CAPACITY;
            out.extend_from_slice(&self.bytes[row * self.row_bytes..][..self.row_bytes]);
        }
    }
}

/// GB copied a second by one thread, each byte read once and written once.
pub(crate) fn copy_gb_per_s() -> f64 {
    let from = vec![1_u8; 64 << 20];
    let mut to = vec![0_u8; from.len()];
    let mut best = f64::INFINITY;
    for _ in 0..8 {
        let begun = Instant::now();
        to.copy_from_slice(black_box(&from));
        best = best.min(begun.elapsed().as_secs_f64());
        black_box(&to);
    }
    from.len() as f64 / best / 1e9
}
