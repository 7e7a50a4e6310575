//! How many rows of a minibatch come from each shard.

use common::seed::Streams;
use rand::RngExt;

/// A multinomial draw of `rows` in proportion to `sizes`, from the key alone. With uniform sampling inside the shards
/// every transition of their union is equally likely. `sizes` must not all be 0.
pub(super) fn split(sizes: &[u64], rows: usize, key: u64) -> Vec<usize> {
    let ends: Vec<u64> =
        sizes.iter().scan(0, |end, size| Some(*end + size).inspect(|sum| *end = *sum)).collect();
    let total = ends.last().copied().unwrap_or(0);
    assert!(total > 0, "there is no transition to draw from");
    let mut rng = Streams::new(key, "replay/split").sequential();
    let mut counts = vec![0; sizes.len()];
    for _ in 0..rows {
        let at = rng.random_range(0..total);
        counts[ends.partition_point(|end| *end <= at)] += 1;
    }
    counts
}

/// [`split`] in proportion to masses: finite, none negative, not all 0.
pub(super) fn split_by_mass(masses: &[f64], rows: usize, key: u64) -> Vec<usize> {
    let ends: Vec<f64> =
        masses.iter().scan(0.0, |end, mass| Some(*end + mass).inspect(|sum| *end = *sum)).collect();
    let total = ends.last().copied().unwrap_or(0.0);
    assert!(total > 0.0, "there is no transition to draw from");
    let last = masses.iter().rposition(|mass| *mass > 0.0).unwrap_or(0);
    let mut rng = Streams::new(key, "replay/split").sequential();
    let mut counts = vec![0; masses.len()];
    for _ in 0..rows {
        let at = rng.random::<f64>() * total;
        // Rounding may put a draw on the very end.
        counts[ends.partition_point(|end| *end <= at).min(last)] += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masses_split_like_sizes_and_a_shard_without_mass_gets_none() {
        let counts = split_by_mass(&[0.5, 0.0, 1.5, 0.0], 40_000, 5);
        assert_eq!((counts[1], counts[3], counts.iter().sum::<usize>()), (0, 0, 40_000));
        // Standard deviation 87.
        assert!((9_650..10_350).contains(&counts[0]), "{counts:?}");
    }

    #[test]
    fn rows_are_split_in_proportion_and_an_empty_shard_gets_none() {
        let counts = split(&[1_000, 0, 3_000], 40_000, 5);
        assert_eq!((counts[1], counts.iter().sum::<usize>()), (0, 40_000));
        // Standard deviation 87.
        assert!((9_650..10_350).contains(&counts[0]), "{counts:?}");
        assert_eq!(counts, split(&[1_000, 0, 3_000], 40_000, 5));
        assert_ne!(counts, split(&[1_000, 0, 3_000], 40_000, 6));
    }
}
