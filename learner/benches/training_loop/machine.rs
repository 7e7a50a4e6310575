//! What this machine can do on one thread.

#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::{hint::black_box, time::Instant};

use tch::{Device, Kind, Tensor};

/// Peaks of one thread.
pub(crate) struct Machine {
    /// f32 matrix product.
    pub(crate) gflops: f64,
    /// Bytes copied a second, each read once and written once.
    pub(crate) copy_gbps: f64,
}

/// The best of some rounds.
pub(crate) fn measure() -> Machine {
    let size = 1024_i64;
    let a = Tensor::rand([size, size], (Kind::Float, Device::Cpu));
    let product = best(8, || drop(black_box(a.mm(&a))));
    let from = vec![1_u8; 64 << 20];
    let mut to = vec![0_u8; from.len()];
    let copy = best(8, || to.copy_from_slice(black_box(&from)));
    black_box(&to);
    Machine { gflops: 2.0 * (size as f64).powi(3) / product / 1e9, copy_gbps: from.len() as f64 / copy / 1e9 }
}

fn best(rounds: usize, mut work: impl FnMut()) -> f64 {
    work();
    (0..rounds).map(|_| seconds(&mut work)).fold(f64::INFINITY, f64::min)
}

/// Seconds that some work takes.
pub(crate) fn seconds(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64().max(1e-9)
}

/// The median of some measurements.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
