//! A matrix product to be done, and what must come of it.

use kernels::{Init, Level, RowMajor, RowMajorMut};

use crate::support::{close, numbers};

/// C `[m, n]` = init + A `[m, k]` B `[k, n]`, rows a gap apart.
pub(crate) struct Product {
    pub(crate) size: (usize, usize, usize),
    /// Whether A is stored as `[k, m]`.
    pub(crate) transposed: bool,
    gap: usize,
    form: usize,
    a: Vec<f32>,
    b: Vec<f32>,
    before: Vec<f32>,
    bias: Vec<f32>,
}

impl Product {
    /// `form` 0: of nothing, 1: added to C, 2: to a bias.
    pub(crate) fn new(
        size: (usize, usize, usize),
        transposed: bool,
        gap: usize,
        form: usize,
        seed: u64,
    ) -> Self {
        let (m, n, k) = size;
        let (rows, columns) = if transposed { (k, m) } else { (m, k) };
        Self {
            size,
            transposed,
            gap,
            form,
            a: numbers(seed, rows * (columns + gap)),
            b: numbers(seed ^ 1, k * (n + gap)),
            before: numbers(seed ^ 2, m * (n + gap)),
            bias: numbers(seed ^ 3, n),
        }
    }

    /// A as it is stored.
    pub(crate) fn a(&self) -> RowMajor<'_> {
        let columns = if self.transposed { self.size.0 } else { self.size.2 };
        RowMajor { data: &self.a, stride: columns + self.gap }
    }

    /// B.
    pub(crate) fn b(&self) -> RowMajor<'_> {
        RowMajor { data: &self.b, stride: self.size.1 + self.gap }
    }

    /// What `multiply` makes of C.
    pub(crate) fn of(&self, multiply: impl FnOnce(RowMajorMut<'_>, Init<'_>)) -> Vec<f32> {
        let mut c = self.before.clone();
        let init = [Init::Zero, Init::Accumulate, Init::Bias(&self.bias)][self.form];
        multiply(RowMajorMut { data: &mut c, stride: self.size.1 + self.gap }, init);
        c
    }

    /// Whether that is the product of the sides' numbers, and nothing between the rows of C has changed.
    pub(crate) fn check(&self, level: Level, c: &[f32], number: fn(f32) -> f64) {
        let (m, n, k) = self.size;
        let (a, b, stride) = (self.a(), self.b(), n + self.gap);
        for i in 0..m {
            for j in 0..stride {
                let (found, before) = (c[i * stride + j], self.before[i * stride + j]);
                if j >= n {
                    assert_eq!(found, before, "between the rows");
                    continue;
                }
                let mut expected = [0.0, before, self.bias[j]][self.form] as f64;
                for p in 0..k {
                    let at = if self.transposed { p * a.stride + i } else { i * a.stride + p };
                    expected += number(a.data[at]) * number(b.data[p * b.stride + j]);
                }
                assert!(close(found, expected, 1.0 + k as f64), "{level} ({i}, {j}): {found} {expected}");
            }
        }
    }
}
