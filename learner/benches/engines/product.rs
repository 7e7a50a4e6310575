//! How fast our own matrix product is where nothing holds it up. Out: GFLOP/s of one thread.

use std::{hint::black_box, time::Instant};

use kernels::{Init, Level, RowMajor, RowMajorMut, Strided, gemm};

/// Of f32: long sums, operands in the L2 cache; the best of some rounds.
pub(crate) fn gflops() -> f64 {
    let (m, n, k) = (192, 64, 512);
    let (a, b, mut c) = (vec![0.5_f32; m * k], vec![0.5_f32; k * n], vec![0.0_f32; m * n]);
    let mut product = || {
        let (b, c) = (RowMajor { data: &b, stride: n }, RowMajorMut { data: &mut c, stride: n });
        gemm(Level::best(), (m, n, k), Strided::rows(black_box(&a), k), b, c, Init::Zero);
    };
    let repeats = 50;
    let mut seconds = || {
        let begun = Instant::now();
        (0..repeats).for_each(|_| product());
        begun.elapsed().as_secs_f64()
    };
    let best = (0..10).map(|_| seconds()).fold(f64::INFINITY, f64::min);
    2.0 * (m * n * k * repeats) as f64 / best / 1e9
}
