//! Ages of the rows of minibatches, in weight broadcasts between the choice of their goals and the update.
//!
//! In: an age a row; out: counts in fixed bins, and quantiles of them. Ages below 16 are exact; above, eight bins an octave,
//! each named by its upper end: at most 12.5% too high.

use node::metrics;

/// Bins: 16 exact ones, then eight an octave up to 2^32.
const BINS: usize = 16 + 28 * 8;

/// The rows of one minibatch by age.
pub(super) struct Ages([u64; BINS]);

impl Ages {
    /// Counts the rows of a minibatch, and notes them for operators.
    pub(super) fn of(ages: impl Iterator<Item = u64>) -> Self {
        let mut counts = [0; BINS];
        ages.for_each(|age| counts[bin(age)] += 1);
        for (bin, &n) in counts.iter().enumerate().filter(|(_, n)| **n > 0) {
            metrics::LEARNER_SAMPLED_AGE_VERSIONS.record_many(upper(bin) as f64, n, []);
        }
        Self(counts)
    }

    /// Adds them to sums over minibatches, which are empty at first.
    pub(super) fn add_to(&self, sums: &mut Vec<u64>) {
        sums.resize(BINS, 0);
        sums.iter_mut().zip(self.0).for_each(|(sum, n)| *sum += n);
    }
}

/// The age that a share `p` of the rows does not exceed; `None` without rows.
pub(super) fn quantile(sums: &[u64], p: f64) -> Option<f64> {
    let rank = (p * sums.iter().sum::<u64>() as f64).ceil() as u64;
    let mut below = 0;
    let reaches = |n: &u64| {
        below += n;
        below >= rank.max(1)
    };
    sums.iter().position(reaches).map(|bin| upper(bin) as f64)
}

fn bin(age: u64) -> usize {
    if age < 16 {
        return age as usize;
    }
    let octave = age.ilog2();
    (16 + (octave as usize - 4) * 8 + (age >> (octave - 3)) as usize % 8).min(BINS - 1)
}

/// The highest age in a bin.
fn upper(bin: usize) -> u64 {
    if bin < 16 {
        return bin as u64;
    }
    let (octave, eighth) = ((bin - 16) / 8 + 4, (bin - 16) as u64 % 8);
    ((9 + eighth) << (octave - 3)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_exact_below_16_and_at_most_an_eighth_too_high_above() {
        for age in (0..2000).chain([1 << 20, (1 << 32) - 1]) {
            let (found, limit) = (upper(bin(age)), if age < 16 { age } else { age + age / 8 });
            assert!((age..=limit).contains(&found), "{age}: {found}");
            assert!(bin(age) == 0 || upper(bin(age) - 1) < age, "{age}: the bin below has it too");
        }
        assert_eq!(bin(u64::MAX), BINS - 1);
    }

    #[test]
    fn quantiles_are_of_all_rows_of_all_minibatches() {
        let mut sums = Vec::new();
        assert_eq!(quantile(&sums, 0.5), None);
        Ages::of((0..98).map(|_| 2)).add_to(&mut sums);
        Ages::of([7, 9].into_iter()).add_to(&mut sums);
        let found = [0.0, 0.5, 0.98, 0.99, 1.0].map(|p| quantile(&sums, p).unwrap());
        assert_eq!(found, [2.0, 2.0, 2.0, 7.0, 9.0]);
    }
}
