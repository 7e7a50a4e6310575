//! What the networks know of an item, as tensors.
//!
//! In: the item table; out: inputs `[V, n + F]` = [embedding; features] and categories `[V]`. The one feature is the
//! price: its logarithm, standardised over the items that have one, and whether there is one. Tables without prices give
//! F = 0.

use common::ItemTable;
use tch::Tensor;

use super::Options;

/// The item table of a log for the networks.
#[derive(Debug)]
pub(super) struct Catalogue {
    /// `[V, n]`.
    pub(super) embeddings: Tensor,
    /// `[V, n + F]`.
    pub(super) inputs: Tensor,
    /// `[V]`, i64.
    pub(super) categories: Tensor,
    /// `[V, F]` row-major, as the networks see them.
    pub(super) features: Vec<f32>,
    /// F.
    pub(super) n_features: usize,
    /// Largest category code + 1, or 0 if the options leave categories out or all items have one.
    pub(super) n_categories: usize,
}

impl Catalogue {
    /// Tensors of a table, with what the options ask for.
    pub(super) fn new(items: &ItemTable, options: &Options) -> Self {
        let (v, n) = (items.n_items() as i64, items.n_dims() as i64);
        let embeddings = Tensor::from_slice(items.embeddings()).view([v, n]);
        let features = if options.features { price_features(items.prices()) } else { Vec::new() };
        let n_features = features.len() / items.n_items();
        let inputs = if n_features == 0 {
            embeddings.shallow_clone()
        } else {
            Tensor::cat(&[&embeddings, &Tensor::from_slice(&features).view([v, n_features as i64])], 1)
        };
        let codes: Vec<i64> = items.categories().iter().map(|&code| i64::from(code)).collect();
        let n_categories = codes.iter().max().map_or(0, |&code| code as usize + 1);
        let one_category = codes.iter().all(|code| Some(code) == codes.first());
        let n_categories = if options.category_dims == 0 || one_category { 0 } else { n_categories };
        Self {
            embeddings,
            inputs,
            categories: Tensor::from_slice(&codes),
            features,
            n_features,
            n_categories,
        }
    }
}

/// `[V, 2]`: standardised logarithm of the price (0 where unknown) and whether it is known. Empty if no price is known
/// or all are equal.
fn price_features(prices: &[f32]) -> Vec<f32> {
    let known: Vec<f64> =
        prices.iter().filter(|&&price| price > 0.0).map(|&price| f64::from(price).ln()).collect();
    let n = known.len().max(1) as f64;
    let mean = known.iter().sum::<f64>() / n;
    let deviation = (known.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / n).sqrt();
    if deviation < 1e-6 {
        return Vec::new();
    }
    prices
        .iter()
        .flat_map(|&price| {
            let is_known = price > 0.0;
            let log = if is_known { (f64::from(price).ln() - mean) / deviation } else { 0.0 };
            [log as f32, f32::from(u8::from(is_known))]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_standardised_logarithms_and_unknown_ones_are_zero() {
        let features = price_features(&[1.0, 0.0, 100.0]);
        assert_eq!(features, [-1.0, 1.0, 0.0, 0.0, 1.0, 1.0]);
        assert!(price_features(&[0.0, 0.0]).is_empty());
        assert!(price_features(&[5.0, 5.0]).is_empty());
    }
}
