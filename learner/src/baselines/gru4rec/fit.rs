//! Training on tch: one step of many sequences at a time, hidden states carried over without their gradient.
//!
//! In: click sequences; out: parameters. Negatives of a row are the targets of the other rows and items drawn by their clicks.

use common::{ItemId, ItemTable, seed::Streams};
use rand::{
    distr::{Distribution, weighted::WeightedIndex},
    seq::SliceRandom,
};
use tch::{Device, Kind, Tensor};

use super::{
    Gru4RecSettings, NAME,
    loss::bpr_max,
    sequences::{Event, Minibatch, Walk},
};
use crate::baselines::{
    Error, OnProgress, Progress,
    method::report,
    network::{self, Adams, Network, Spec, Values},
};

/// Parameters: a GRU of width w over embeddings of size n, its map back to embeddings, a bias of each item.
pub(super) fn specs(items: &ItemTable, w: usize) -> Vec<Spec> {
    let n = items.n_dims();
    vec![
        Spec::of_layer("gru.weight_ih", &[3 * w, n], w),
        Spec::of_layer("gru.weight_hh", &[3 * w, w], w),
        Spec::of_layer("gru.bias_ih", &[3 * w], w),
        Spec::of_layer("gru.bias_hh", &[3 * w], w),
        Spec::of_layer("output.weight", &[w, n], w),
        Spec::of_layer("output.bias", &[n], w),
        Spec { name: "item.bias", shape: vec![items.n_items()], bound: 0.0 },
    ]
}

/// Fits the parameters, in the order of the specs.
pub(super) fn fit(
    sequences: &[Vec<Event>],
    items: &ItemTable,
    settings: &Gru4RecSettings,
    seed: u64,
    progress: &mut OnProgress<'_>,
) -> Result<Values, Error> {
    let specs = specs(items, settings.width);
    let network = Network::new(&specs, &network::initial(&specs, &Streams::new(seed, "gru4rec/initial")));
    let mut adam = Adams::new(&network, settings.learning_rate);
    let table = Tensor::from_slice(items.embeddings()).view([-1, items.n_dims() as i64]);
    let by_clicks = by_clicks(sequences, items.n_items(), settings.sample_exponent);
    let (shuffles, draws) = (Streams::new(seed, "gru4rec/shuffle"), Streams::new(seed, "gru4rec/negatives"));
    for pass in 0..settings.passes {
        let mut order: Vec<usize> = (0..sequences.len()).collect();
        order.shuffle(&mut shuffles.long(0, pass as u64));
        let mut hidden =
            Tensor::zeros([settings.batch as i64, settings.width as i64], (Kind::Float, Device::Cpu));
        let (mut loss_sum, mut weight_sum) = (0.0, 0.0);
        for (number, batch) in Walk::new(sequences, order, settings.batch).enumerate() {
            let mut rng = draws.at(pass as u64, number as u64);
            let drawn = (0..settings.negatives).map(|_| ItemId(by_clicks.sample(&mut rng) as u32));
            let columns: Vec<ItemId> = batch.targets.iter().copied().chain(drawn).collect();
            let next = step(&network.tensors, &hidden, &batch, &table);
            hidden = next.detach();
            let weight: f32 = batch.weights.iter().sum();
            if weight == 0.0 {
                continue;
            }
            let loss = bpr_max(
                &scores(&network.tensors, &next, &columns, &table),
                &is_negative(&batch.targets, &columns),
                &Tensor::from_slice(&batch.weights),
                settings.regularisation,
            );
            let gradients = Tensor::run_backward(&[&loss], &network.tensors, false, false);
            adam.step(&network, &gradients);
            loss_sum += loss.double_value(&[]) * f64::from(weight);
            weight_sum += f64::from(weight);
        }
        let loss = loss_sum / weight_sum;
        report(NAME, progress, Progress { done: pass + 1, total: settings.passes, loss })?;
    }
    Ok(network.values())
}

/// Draws items by their clicks to a power, each with one click more than it has: an item that was never clicked must be able
/// to score low too.
fn by_clicks(sequences: &[Vec<Event>], n_items: usize, exponent: f64) -> WeightedIndex<f64> {
    let mut clicks = vec![1.0_f64; n_items];
    sequences.iter().flatten().for_each(|(item, _)| clicks[item.row()] += 1.0);
    WeightedIndex::new(clicks.iter().map(|clicks| clicks.powf(exponent))).expect("all weights are positive")
}

/// Rows of the table.
fn lookup(table: &Tensor, items: &[ItemId]) -> Tensor {
    let rows: Vec<i64> = items.iter().map(|item| i64::from(item.0)).collect();
    table.index_select(0, &Tensor::from_slice(&rows))
}

/// The hidden states `[B, w]` after a minibatch's inputs.
fn step(parameters: &[Tensor], hidden: &Tensor, batch: &Minibatch, table: &Tensor) -> Tensor {
    let before = hidden.index_select(0, &Tensor::from_slice(&batch.rows));
    let before = before * Tensor::from_slice(&batch.keep).unsqueeze(1);
    let [weight_ih, weight_hh, bias_ih, bias_hh, ..] = parameters else {
        unreachable!("the parameters begin with the GRU's")
    };
    lookup(table, &batch.inputs).gru_cell(&before, weight_ih, weight_hh, Some(bias_ih), Some(bias_hh))
}

/// Scores `[B, S]` of items after hidden states `[B, w]`: e_j . (W h + b) + b_j.
pub(super) fn scores(parameters: &[Tensor], hidden: &Tensor, items: &[ItemId], table: &Tensor) -> Tensor {
    let [.., weight, bias, item_bias] = parameters else {
        unreachable!("the parameters end with the output's")
    };
    let wanted = bias.addmm(hidden, weight);
    wanted.mm(&lookup(table, items).tr()) + lookup(item_bias, items)
}

/// `[B, S]` 1 where a column is another item than the row's target, else 0.
fn is_negative(targets: &[ItemId], columns: &[ItemId]) -> Tensor {
    let pairs = targets.iter().flat_map(|target| columns.iter().map(move |item| item != target));
    let values: Vec<f32> = pairs.map(|differs| f32::from(u8::from(differs))).collect();
    Tensor::from_slice(&values).view([targets.len() as i64, columns.len() as i64])
}
