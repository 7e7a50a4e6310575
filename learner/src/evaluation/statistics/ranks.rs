//! How far two orders of the same things agree.

/// Spearman's rank correlation: Pearson's of the ranks, ties sharing theirs. `None` where either side is constant.
pub fn spearman(a: &[f64], b: &[f64]) -> Option<f64> {
    let centre = (a.len() as f64 - 1.0) / 2.0;
    let (a, b) = (ranks(a), ranks(b));
    let sum =
        |x: &[f64], y: &[f64]| -> f64 { x.iter().zip(y).map(|(x, y)| (x - centre) * (y - centre)).sum() };
    let scale = (sum(&a, &a) * sum(&b, &b)).sqrt();
    (scale > 0.0).then(|| sum(&a, &b) / scale)
}

/// Ranks from 0, the smallest value first; equal values have the mean of theirs.
pub fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let mut ranks = vec![0.0; values.len()];
    let mut begin = 0;
    for equal in order.chunk_by(|&i, &j| values[i] == values[j]) {
        let rank = begin as f64 + (equal.len() as f64 - 1.0) / 2.0;
        equal.iter().for_each(|&i| ranks[i] = rank);
        begin += equal.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spearman_is_that_of_the_textbook() {
        assert_eq!(spearman(&[1.0, 2.0, 3.0], &[10.0, 20.0, 900.0]), Some(1.0));
        assert_eq!(spearman(&[1.0, 2.0, 3.0], &[3.0, 2.0, -1.0]), Some(-1.0));
        // 1 - 6 Σ d² / (n (n² - 1)) = 1 - 6·(1 + 1 + 4 + 4) / (5·24)
        assert_eq!(spearman(&[1.0, 2.0, 3.0, 4.0, 5.0], &[2.0, 1.0, 5.0, 4.0, 3.0]), Some(0.5));
        assert_eq!(ranks(&[5.0, 1.0, 5.0, 0.0]), [2.5, 1.0, 2.5, 0.0]);
        assert_eq!(spearman(&[1.0, 1.0], &[1.0, 2.0]), None);
    }
}
