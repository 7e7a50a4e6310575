//! A line of a table against the first one. In: a value a round of each; out: the ratio as a cell, and whether it is within
//! the bar.

use std::fmt;

use crate::median;

/// Of two lines, round by round, so that a busy minute is in both.
pub(crate) struct Ratio {
    least: f64,
    median: f64,
    most: f64,
}

impl Ratio {
    /// Of `values` to `first`, which have a round each at the same place.
    pub(crate) fn of(values: impl Iterator<Item = f64>, first: impl Iterator<Item = f64>) -> Self {
        let ratios: Vec<f64> = values.zip(first).map(|(value, first)| value / first.max(1e-12)).collect();
        let (least, most) = (ratios.iter().copied().fold(f64::INFINITY, f64::min), ratios.iter().copied());
        Self { least, most: most.fold(0.0, f64::max), median: median(ratios) }
    }

    /// Whether the median is at most `bar`.
    pub(crate) fn within(&self, bar: f64) -> &'static str {
        crate::verdict(self.median <= bar)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}x ({:.3} to {:.3})", self.median, self.least, self.most)
    }
}
