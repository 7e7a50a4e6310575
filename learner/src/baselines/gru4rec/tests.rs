//! The frozen network against the one that is trained.

use common::seed::Streams;
use rand::RngExt;
use tch::{Device, Kind as Number, Tensor};

use super::*;
use crate::baselines::network::Network;

#[test]
fn the_frozen_network_computes_what_the_trained_one_does() {
    tch::set_num_threads(1);
    let (n, width, n_items) = (6, 5, 8);
    let mut rng = Streams::new(1, "test").sequential();
    let mut draw = |size: usize| -> Vec<f32> { (0..size).map(|_| rng.random::<f32>() * 2.0 - 1.0).collect() };
    let table = ItemTable::new(n, 1.94, draw(n_items * n), vec![0; n_items], vec![0.0; n_items]);
    let items = Arc::new(table.unwrap());
    let specs = fit::specs(&items, width);
    let mut values = network::initial(&specs, &Streams::new(2, "test"));
    values[6] = draw(n_items);
    let network = Network::new(&specs, &values);

    let table = Tensor::from_slice(items.embeddings()).view([-1, n as i64]);
    let p = &network.tensors;
    let mut hidden = Tensor::zeros([1, width as i64], (Number::Float, Device::Cpu));
    for item in [4, 1, 6] {
        hidden = table.narrow(0, item, 1).gru_cell(&hidden, &p[0], &p[1], Some(&p[2]), Some(&p[3]));
    }
    let candidates: Vec<ItemId> = (0..n_items as u32).map(ItemId).collect();
    let trained = fit::scores(p, &hidden, &candidates, &table);

    let pad = ItemId::PADDING;
    let clicked = [pad, ItemId(4), ItemId(1), ItemId(6)];
    let windows = [[pad; 4], clicked, [pad; 4]].concat();
    let mut frozen = vec![0.0; n_items];
    let state = SessionState { user: None, windows: &windows, shown: &[] };
    FittedGru4Rec::new(width, values, &items).scores(&state, &candidates, &mut frozen);
    for (item, frozen) in frozen.iter().enumerate() {
        let trained = trained.double_value(&[0, item as i64]);
        assert!((f64::from(*frozen) - trained).abs() < 1e-5, "item {item}: {frozen}, trained {trained}");
    }
}
