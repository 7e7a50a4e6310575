//! The trained network against autograd and against the frozen one.

use common::{Feedback, history::window};
use rand::RngExt;
use tch::{Device, Kind};

use super::{
    recurrent::{HEAD, PER_GRU, WINDOWS, head, loss_and_gradients},
    *,
};
use crate::baselines::{InteractionLog, Step};

const N: usize = 4;
const WIDTH: usize = 5;

fn items() -> ItemTable {
    let mut rng = Streams::new(1, "test").sequential();
    let embeddings = (0..20 * 6).map(|_| rng.random::<f32>() * 2.0 - 1.0).collect();
    ItemTable::new(6, 1.94, embeddings, vec![0; 20], vec![0.0; 20]).unwrap()
}

fn rows() -> Rows {
    let mut log = InteractionLog::new(N);
    let mut rng = Streams::new(2, "test").sequential();
    for user in 0..4 {
        let steps: Vec<Step> = (0..6)
            .map(|_| Step {
                item: ItemId(rng.random_range(0..20)),
                feedback: Feedback::ALL[rng.random_range(0..3)],
                propensity: None,
            })
            .collect();
        log.push(user, &[ItemId::PADDING; 3 * N], steps);
    }
    Rows::new(&log, 100, 0, NAME).unwrap()
}

/// The state `[1, 2w]` of a row, step by step.
fn plain_state(parameters: &[Tensor], windows: &[ItemId], table: &Tensor) -> Tensor {
    let last = |(kind, p): (_, &[Tensor])| {
        let mut h = Tensor::zeros([1, WIDTH as i64], (Kind::Float, Device::Cpu));
        for item in window(windows, kind).iter().filter(|item| !item.is_padding()) {
            let x = table.narrow(0, i64::from(item.0), 1);
            h = x.gru_cell(&h, &p[0], &p[1], Some(&p[2]), Some(&p[3]));
        }
        h
    };
    let states: Vec<Tensor> = WINDOWS.into_iter().zip(parameters.chunks_exact(PER_GRU)).map(last).collect();
    Tensor::cat(&states, 1)
}

#[test]
fn gradients_are_those_of_autograd_and_the_frozen_network_agrees() {
    tch::set_num_threads(1);
    let (items, rows) = (items(), rows());
    let table = Tensor::from_slice(items.embeddings()).view([-1, 6]);
    let specs = specs(6, WIDTH, 7);
    let values = network::initial(&specs, &Streams::new(3, "test"));
    let network = Network::new(&specs, &values);
    let batch: Vec<usize> = (0..rows.len()).collect();
    let (loss, gradients) = loss_and_gradients(&network, &rows, &batch, &table);

    let states: Vec<Tensor> =
        batch.iter().map(|&row| plain_state(&network.tensors, rows.windows(row), &table)).collect();
    let ids: Vec<i64> = batch.iter().map(|&row| i64::from(rows.items[row].0)).collect();
    let candidates = table.index_select(0, &Tensor::from_slice(&ids));
    let logits = head(&network.tensors[HEAD..], &Tensor::cat(&states, 0), &candidates);
    let labels: Vec<i64> = batch.iter().map(|&row| rows.feedback[row] as i64).collect();
    let expected = logits.cross_entropy_for_logits(&Tensor::from_slice(&labels));
    assert!((loss - expected.double_value(&[])).abs() < 1e-5);
    let by_autograd = Tensor::run_backward(&[&expected], &network.tensors, false, false);
    for ((found, expected), spec) in gradients.iter().zip(&by_autograd).zip(&specs) {
        let error = (found - expected).abs().max().double_value(&[]);
        assert!(error < 1e-5, "{}: {error:e}", spec.name);
    }

    let (frozen, mut scratch) = (Frozen::new(&items, WIDTH, &values), Scratch::default());
    for &row in &batch {
        frozen.logits(rows.windows(row), &[rows.items[row]], &mut scratch);
        for (class, found) in scratch.logits.iter().enumerate() {
            let expected = logits.double_value(&[row as i64, class as i64]);
            assert!((f64::from(*found) - expected).abs() < 1e-5, "row {row}: {found}, trained {expected}");
        }
    }
}
