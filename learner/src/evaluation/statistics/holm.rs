//! Holm's step-down correction: a table of many comparisons finds something by chance unless it is corrected.
//!
//! In: p-values of comparisons; out: adjusted ones. Those below 0.05 hold together: the chance that any of them is a
//! false alarm is at most 5%, whatever the dependence between them (Holm 1979).

/// Adjusted p-values in the order given: of the k-th smallest of m, the largest (m - j + 1) p_j up to j = k, at most 1.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&i, &j| p_values[i].total_cmp(&p_values[j]));
    let mut adjusted = vec![0.0; p_values.len()];
    let mut largest = 0.0_f64;
    for (rank, &i) in order.iter().enumerate() {
        largest = largest.max((p_values.len() - rank) as f64 * p_values[i]).min(1.0);
        adjusted[i] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_counts_m_times_and_order_is_kept() {
        assert_eq!(holm(&[0.01, 0.5, 0.02]), [0.03, 0.5, 0.04]);
        assert_eq!(holm(&[0.02, 0.021]), [0.04, 0.04], "never below that of a smaller p-value");
        assert_eq!(holm(&[0.6, 0.7]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }
}
