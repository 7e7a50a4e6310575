//! Joint training of both sides, on tch.
//!
//! In: rows; out: wide weights and deep parameters that minimise the cross-entropy of skip, click and order under the
//! softmax of both sides' logits added up. AdaGrad moves the deep side, FTRL-Proximal the wide one. Minibatches in an order
//! fixed by the seed.

use common::{ItemTable, history::N_WINDOWS, seed::Streams};
use tch::{Kind, Tensor};

use super::{
    NAME, WideDeepSettings,
    crosses::Past,
    deep::{self, N_CLASSES},
    ftrl::Ftrl,
};
use crate::baselines::{
    Error, OnProgress, Progress,
    history_greedy::features::window_means,
    method::report,
    network::{self, AdaGrad, Network, Values},
    rows::Rows,
};

/// Fitted parameters: wide `[2^bits, 3]`, deep in the order of [`deep::specs`].
pub(super) fn fit(
    rows: &Rows,
    items: &ItemTable,
    settings: &WideDeepSettings,
    seed: u64,
    progress: &mut OnProgress<'_>,
) -> Result<(Vec<f32>, Values), Error> {
    let specs = deep::specs(items.n_dims(), &settings.widths);
    let network = Network::new(&specs, &network::initial(&specs, &Streams::new(seed, "wide-deep/initial")));
    let mut adagrad = AdaGrad::new(&network, settings.learning_rate);
    let mut wide = Ftrl::new(N_CLASSES << settings.bits, settings.ftrl);
    let table = Tensor::from_slice(items.embeddings()).view([-1, items.n_dims() as i64]);
    let shuffles = Streams::new(seed, "wide-deep/shuffle");
    let mut past = Past::default();
    let mut buckets: Vec<Vec<u32>> = vec![Vec::new(); settings.batch];
    for pass in 0..settings.passes {
        let mut loss_sum = 0.0;
        for batch in rows.shuffled(&shuffles, pass).chunks(settings.batch) {
            for (&row, buckets) in batch.iter().zip(&mut buckets) {
                past.read(items, rows.windows(row));
                buckets.clear();
                buckets.extend(past.cross(items, rows.items[row], settings.bits));
            }
            let labels: Vec<i64> = batch.iter().map(|&row| rows.feedback[row] as i64).collect();
            let deep = forward(&network, &inputs(rows, items, &table, batch));
            let logits = deep + wide_logits(&wide, &buckets[..batch.len()]);
            let loss = logits.cross_entropy_for_logits(&Tensor::from_slice(&labels));
            let gradients = Tensor::run_backward(&[&loss], &network.tensors, false, false);
            adagrad.step(&network, &gradients);
            // The gradient of a row's own loss by its logits: p - y.
            let mut p = vec![0.0_f32; batch.len() * N_CLASSES];
            logits.detach().softmax(-1, Kind::Float).copy_data(&mut p, batch.len() * N_CLASSES);
            for ((p, &label), buckets) in p.chunks_exact_mut(N_CLASSES).zip(&labels).zip(&buckets) {
                p[label as usize] -= 1.0;
                for &bucket in buckets {
                    for (class, &gradient) in p.iter().enumerate() {
                        wide.step(bucket as usize * N_CLASSES + class, gradient);
                    }
                }
            }
            loss_sum += loss.double_value(&[]) * batch.len() as f64;
        }
        let loss = loss_sum / rows.len() as f64;
        report(NAME, progress, Progress { done: pass + 1, total: settings.passes, loss })?;
    }
    Ok((wide.weights(), network.values()))
}

/// Inputs of the deep side, `[B, 10 n]`.
fn inputs(rows: &Rows, items: &ItemTable, table: &Tensor, batch: &[usize]) -> Tensor {
    let mut means = vec![0.0; N_WINDOWS * batch.len() * items.n_dims()];
    window_means(items, batch.iter().map(|&row| rows.windows(row)), &mut means);
    let means = Tensor::from_slice(&means).view([N_WINDOWS as i64, batch.len() as i64, -1]);
    let ids: Vec<i64> = batch.iter().map(|&row| i64::from(rows.items[row].0)).collect();
    join(&means, &table.index_select(0, &Tensor::from_slice(&ids)))
}

/// x of [`deep`], from means `[3, B, n]` and embeddings `[B, n]`.
pub(super) fn join(means: &Tensor, embeddings: &Tensor) -> Tensor {
    let windows = (0..N_WINDOWS as i64).map(|kind| means.get(kind));
    let mut blocks: Vec<Tensor> = windows.clone().collect();
    blocks.push(embeddings.shallow_clone());
    blocks.extend(windows.clone().map(|mean| mean - embeddings));
    blocks.extend(windows.map(|mean| mean * embeddings));
    Tensor::cat(&blocks, 1)
}

/// Logits `[B, 3]` of the deep side.
pub(super) fn forward(network: &Network, x: &Tensor) -> Tensor {
    let mut x = x.shallow_clone();
    for (number, layer) in network.tensors.chunks_exact(2).enumerate() {
        if number > 0 {
            x = x.relu();
        }
        x = layer[1].addmm(&x, &layer[0]);
    }
    x
}

/// Logits `[B, 3]` of the wide side.
fn wide_logits(wide: &Ftrl, buckets: &[Vec<u32>]) -> Tensor {
    let logits: Vec<f32> = buckets
        .iter()
        .flat_map(|buckets| {
            (0..N_CLASSES).map(|class| {
                buckets.iter().map(|&bucket| wide.weight(bucket as usize * N_CLASSES + class)).sum::<f32>()
            })
        })
        .collect();
    Tensor::from_slice(&logits).view([-1, N_CLASSES as i64])
}
