//! The frozen network against the one that is trained.

use common::seed::Streams;
use rand::RngExt;
use tch::Tensor;

use super::*;
use crate::baselines::network::Network;

#[test]
fn the_frozen_network_computes_what_the_trained_one_does() {
    tch::set_num_threads(1);
    let (n, n_items) = (5, 7);
    let mut rng = Streams::new(4, "test").sequential();
    let mut draw = |size: usize| -> Vec<f32> { (0..size).map(|_| rng.random::<f32>() * 2.0 - 1.0).collect() };
    let items = ItemTable::new(n, 1.94, draw(n_items * n), vec![0; n_items], vec![0.0; n_items]).unwrap();
    let means = draw(N_WINDOWS * n);
    let specs = deep::specs(n, &[9, 8, 6]);
    let values = network::initial(&specs, &Streams::new(5, "test"));
    let candidates: Vec<ItemId> = (0..n_items as u32).map(ItemId).collect();
    let frozen = Deep::new(n, &values).logits(&items, &means, &candidates);

    let size = [N_WINDOWS as i64, n_items as i64, n as i64];
    let means = Tensor::from_slice(&means).view([N_WINDOWS as i64, 1, n as i64]).expand(size, false);
    let x = fit::join(&means, &Tensor::from_slice(items.embeddings()).view([-1, n as i64]));
    let trained = fit::forward(&Network::new(&specs, &values), &x);
    for (k, frozen) in frozen.iter().enumerate() {
        let trained = trained.double_value(&[(k / N_CLASSES) as i64, (k % N_CLASSES) as i64]);
        assert!((f64::from(*frozen) - trained).abs() < 1e-5, "logit {k}: {frozen}, trained {trained}");
    }
}

#[test]
fn a_setting_outside_its_range_is_named() {
    let settings = WideDeepSettings::of(Budget::Quick);
    settings.validate().unwrap();
    let bad = WideDeepSettings { bits: 40, ..settings };
    assert_eq!(bad.validate().unwrap_err().to_string(), "wide-deep: `bits` is 40, expected 1 to 28");
}
