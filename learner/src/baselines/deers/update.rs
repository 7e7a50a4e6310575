//! One update of the Q-network, on tch. In: drawn rows; out: parameters moved towards the targets, the target network behind
//! them. The hidden states go through the learner's own GRU and its backward pass, the layers behind them through autograd.

use common::{ItemId, ItemTable, history};
use tch::{Device, Kind, Tensor};

use super::{
    Settings,
    loss::{pairwise, squared_error, targets},
    memory::{Row, is_positive},
    network::WINDOWS,
    parameters::{BRANCHES, JOINT, PER_BRANCH, PER_GRU, Parameters, Sizes},
};
use crate::algorithm::{
    adam::Adam,
    gru::{Gru, Tape},
    soft_update::soft_update,
    window::{PackedWindow, Packing},
};

/// The network with its optimiser and its target.
#[derive(Debug)]
pub(super) struct Learner {
    sizes: Sizes,
    settings: Settings,
    /// `[V, n]`.
    items: Tensor,
    /// `[len]`, and views of it.
    online: (Tensor, Vec<Tensor>),
    target: (Tensor, Vec<Tensor>),
    adam: Adam,
}

/// A minibatch as tensors, B rows.
struct Batch {
    now: Vec<PackedWindow>,
    next: Vec<PackedWindow>,
    /// `[B, 2, n]` the item shown, and its competitor (itself where it has none).
    items: Tensor,
    /// `[B]` see [`pairwise`].
    sign: Tensor,
    /// `[B]`.
    reward: Tensor,
    /// `[B, K, n]` candidates of the next step, padded with any item.
    candidates: Tensor,
    /// `[B, K]` 1 where there is one.
    is_valid: Tensor,
}

/// The views of a flat vector, tensor after tensor.
fn views(flat: &Tensor, sizes: Sizes) -> Vec<Tensor> {
    let mut start = 0;
    let mut view = |tensor: &super::parameters::Named| {
        let len = tensor.len() as i64;
        let shape: Vec<i64> = tensor.shape.iter().map(|&x| x as i64).collect();
        start += len;
        flat.narrow(0, start - len, len).view(shape.as_slice())
    };
    sizes.tensors().iter().map(&mut view).collect()
}

/// The GRU of a branch.
fn gru(tensors: &[Tensor], branch: usize) -> Gru<'_> {
    let [weight_ih, weight_hh, bias_ih, bias_hh] = &tensors[branch * PER_BRANCH..][..PER_GRU] else {
        unreachable!("a GRU has {PER_GRU} tensors")
    };
    Gru { weight_ih, weight_hh, bias_ih, bias_hh }
}

/// The last hidden states `[B, w]` of a window in the batch's order.
fn in_order(tape: impl std::borrow::Borrow<Tape>, window: &PackedWindow) -> Tensor {
    tape.borrow().last(window).index_select(0, &window.rank)
}

/// Q `[B, K]` of items `[B, K, n]` from the hidden states of both branches, `[B, w]` each.
fn values(tensors: &[Tensor], hidden: &[Tensor], items: &Tensor) -> Tensor {
    let branch = |k: usize| {
        let [state, item, bias] = &tensors[k * PER_BRANCH + PER_GRU..][..PER_BRANCH - PER_GRU] else {
            unreachable!("behind its GRU a branch has two weights and a bias")
        };
        (hidden[k].linear(state, Some(bias)).unsqueeze(1) + items.matmul(&item.tr())).relu()
    };
    let branches: Vec<Tensor> = (0..BRANCHES.len()).map(branch).collect();
    let joint = Tensor::cat(&branches, 2).linear(&tensors[JOINT], Some(&tensors[JOINT + 1])).relu();
    joint.linear(&tensors[JOINT + 2], Some(&tensors[JOINT + 3])).squeeze_dim(2)
}

impl Learner {
    pub(super) fn new(parameters: &Parameters, items: &ItemTable, settings: &Settings) -> Self {
        let vector = || {
            let flat = Tensor::from_slice(&parameters.flat);
            let views = views(&flat, parameters.sizes);
            (flat, views)
        };
        let (online, target) = (vector(), vector());
        Self {
            sizes: parameters.sizes,
            items: Tensor::from_slice(items.embeddings())
                .view([items.n_items() as i64, items.n_dims() as i64]),
            adam: Adam::single(settings.learning_rate, &online.0),
            online,
            target,
            settings: settings.clone(),
        }
    }

    /// The online network's parameters.
    pub(super) fn parameters(&self) -> Parameters {
        let flat = Vec::try_from(&self.online.0).expect("a flat tensor of f32 is a vector");
        Parameters { sizes: self.sizes, flat }
    }

    /// The learning rate after this share of the run.
    pub(super) fn set_progress(&mut self, done: f64) {
        self.adam.scale_learning_rate(self.settings.learning_rate_final.powf(done.clamp(0.0, 1.0)));
    }

    /// One step from a minibatch; the mean squared error before it.
    pub(super) fn update(&mut self, rows: &[Row]) -> f64 {
        let (error, _, gradient) = self.differentiate(&self.batch(rows));
        self.adam.step(0, &self.online.0, &gradient);
        soft_update(&self.target.0, &self.online.0, self.settings.soft_update);
        error.double_value(&[])
    }

    /// The mean squared error, the loss with its regularizer, and the loss's gradient `[len]`.
    fn differentiate(&self, batch: &Batch) -> (Tensor, Tensor, Tensor) {
        let target = &self.target.1;
        let last = |(k, window): (usize, &PackedWindow)| in_order(gru(target, k).forward(window), window);
        let next: Vec<Tensor> = batch.next.iter().enumerate().map(last).collect();
        let next_values = values(target, &next, &batch.candidates);
        let y = targets(&batch.reward, &next_values, &batch.is_valid, self.settings.discount);
        let online = &self.online.1;
        let tapes: Vec<Tape> = (0..BRANCHES.len()).map(|k| gru(online, k).forward(&batch.now[k])).collect();
        let leaf = |tensor: Tensor| tensor.detach().set_requires_grad(true);
        let hidden: Vec<Tensor> =
            tapes.iter().zip(&batch.now).map(|(tape, window)| leaf(in_order(tape, window))).collect();
        let leaves: Vec<Tensor> = online.iter().map(|tensor| leaf(tensor.shallow_clone())).collect();
        let q = values(&leaves, &hidden, &batch.items);
        let (shown, competing) = (q.select(1, 0), q.select(1, 1));
        let error = squared_error(&y, &shown);
        let loss = &error + pairwise(self.settings.pairwise, &shown, &competing, &batch.sign);
        let gradient = self.gradient(&loss, (&leaves, &hidden), &tapes, &batch.now);
        (error, loss, gradient)
    }

    /// The gradient of `loss`, `[len]`: autograd's down to the hidden states, from there the GRUs' own.
    fn gradient(
        &self,
        loss: &Tensor,
        (leaves, hidden): (&[Tensor], &[Tensor]),
        tapes: &[Tape],
        windows: &[PackedWindow],
    ) -> Tensor {
        // Autograd knows nothing of the GRUs' own tensors.
        let behind = |k: usize| &leaves[k * PER_BRANCH + PER_GRU..][..PER_BRANCH - PER_GRU];
        let mut wanted: Vec<&Tensor> = hidden.iter().collect();
        (0..BRANCHES.len()).for_each(|k| wanted.extend(behind(k)));
        wanted.extend(&leaves[JOINT..]);
        let mut found = Tensor::run_backward(&[loss], &wanted, false, false).into_iter();
        let d_hidden: Vec<Tensor> = found.by_ref().take(BRANCHES.len()).collect();
        let mut gradients = Vec::with_capacity(leaves.len());
        for k in 0..BRANCHES.len() {
            let d_last = d_hidden[k].index_select(0, &windows[k].order);
            gradients.extend(gru(&self.online.1, k).backward(&windows[k], &tapes[k], &d_last));
            gradients.extend(found.by_ref().take(PER_BRANCH - PER_GRU));
        }
        gradients.extend(found);
        let flat: Vec<Tensor> = gradients.iter().map(|gradient| gradient.reshape([-1])).collect();
        Tensor::cat(&flat, 0)
    }

    fn batch(&self, rows: &[Row]) -> Batch {
        let n_rows = rows.len() as i64;
        let windows = |of: fn(&Row) -> &[ItemId]| -> Vec<PackedWindow> {
            let n = of(&rows[0]).len() / history::N_WINDOWS;
            let one = |kind| {
                let windows = rows.iter().map(move |row| history::window(of(row), kind));
                Packing::new(n, windows).gather(&self.items)
            };
            WINDOWS.into_iter().map(one).collect()
        };
        let embed = |ids: Vec<i64>, k: i64| {
            let n = self.sizes.n_dims as i64;
            self.items.index_select(0, &Tensor::from_slice(&ids)).view([n_rows, k, n])
        };
        let pair = |row: &Row| [row.item, row.competitor.unwrap_or(row.item)].map(|item| i64::from(item.0));
        let sign = |row: &Row| match (row.competitor, is_positive(row.feedback)) {
            (None, _) => 0.0_f32,
            (Some(_), true) => 1.0,
            (Some(_), false) => -1.0,
        };
        let n_candidates = rows.iter().map(|row| row.candidates.len()).max().unwrap_or(0).max(1);
        let mut candidates = vec![0_i64; rows.len() * n_candidates];
        let mut is_valid = vec![0.0_f32; candidates.len()];
        for (k, row) in rows.iter().enumerate() {
            for (i, item) in row.candidates.iter().enumerate() {
                candidates[k * n_candidates + i] = i64::from(item.0);
                is_valid[k * n_candidates + i] = 1.0;
            }
        }
        let column = |of: &dyn Fn(&Row) -> f32| {
            Tensor::from_slice(&rows.iter().map(of).collect::<Vec<f32>>())
                .to_kind(Kind::Float)
                .to_device(Device::Cpu)
        };
        Batch {
            now: windows(|row| &row.windows),
            next: windows(|row| &row.next_windows),
            items: embed(rows.iter().flat_map(pair).collect(), 2),
            sign: column(&sign),
            reward: column(&|row| row.feedback.reward()),
            candidates: embed(candidates, n_candidates as i64),
            is_valid: Tensor::from_slice(&is_valid).view([n_rows, n_candidates as i64]),
        }
    }
}

#[cfg(test)]
mod tests {
    use common::{Feedback, seed::Streams};
    use rand::RngExt;

    use super::*;
    use crate::baselines::deers::{Deers, Pairwise};

    const SIZES: Sizes = Sizes { n_dims: 5, encoder: 7, branch: 6, joint: 4 };
    const N_ITEMS: u32 = 30;

    fn items() -> ItemTable {
        let mut rng = Streams::new(3, "test/items").sequential();
        let embeddings = (0..N_ITEMS * 5).map(|_| rng.random_range(-1.9..1.9)).collect();
        let n = N_ITEMS as usize;
        ItemTable::new(5, 1.94, embeddings, vec![0; n], vec![0.0; n]).unwrap()
    }

    /// Rows of ragged histories, some without a competitor, some at the user's leaving.
    fn rows(n: u64) -> Vec<Row> {
        let row = |k: u64| {
            let mut rng = Streams::new(4, "test/rows").at(k, 0);
            let mut item = || ItemId(rng.random_range(0..N_ITEMS));
            let mut windows = vec![ItemId::PADDING; 9];
            (0..k % 7).for_each(|t| {
                history::push(&mut windows, item(), Feedback::ALL[(t % 3) as usize]);
            });
            let (shown, competitor) = (item(), item());
            let feedback = Feedback::ALL[(k % 3) as usize];
            let mut next_windows = windows.clone();
            history::push(&mut next_windows, shown, feedback);
            let candidates = if k % 5 == 4 { Vec::new() } else { vec![item(), item(), item()] };
            let competitor = (k % 4 != 3).then_some(competitor);
            Row { windows, next_windows, item: shown, feedback, competitor, candidates }
        };
        (0..n).map(row).collect()
    }

    fn learner(settings: &Settings) -> Learner {
        tch::set_num_threads(1);
        Learner::new(&Parameters::initial(SIZES, 9), &items(), settings)
    }

    #[test]
    fn plain_rust_and_torch_give_the_same_values() {
        let (learner, items) = (learner(&Settings::default()), std::sync::Arc::new(items()));
        let mut policy = Deers::new(learner.parameters(), items);
        let rows = rows(40);
        let batch = learner.batch(&rows);
        let tensors = &learner.online.1;
        let last = |k: usize| in_order(gru(tensors, k).forward(&batch.now[k]), &batch.now[k]);
        let q = values(tensors, &[last(0), last(1)], &batch.items);
        for (k, row) in rows.iter().enumerate() {
            let pair = [row.item, row.competitor.unwrap_or(row.item)];
            let mut found = [0.0; 2];
            policy.values(&row.windows, &pair, &mut found);
            for (i, found) in found.into_iter().enumerate() {
                let expected = q.double_value(&[k as i64, i as i64]);
                assert!((f64::from(found) - expected).abs() < 1e-5, "row {k}: {found}, {expected}");
            }
        }
    }

    #[test]
    fn the_gradient_of_every_tensor_is_the_losss_slope() {
        for pairwise in
            [Pairwise::Hinge { weight: 0.5, margin: 1.0 }, Pairwise::Squared { weight: 0.1, clip: 1.0 }]
        {
            let learner = learner(&Settings { pairwise, ..Settings::default() });
            let batch = learner.batch(&rows(64));
            let gradient = learner.differentiate(&batch).2;
            for (k, tensor) in views(&gradient, SIZES).iter().enumerate() {
                let length = tensor.norm().double_value(&[]);
                assert!(length > 0.0, "tensor {k} has no gradient");
                // Few ReLUs turn within it, and f32 still tells the difference.
                let step = 2e-3;
                let at = |side: f64| {
                    let mut moved = learner.online.1[k].shallow_clone();
                    let before = moved.copy();
                    let _ = moved.g_add_(&(tensor * (side * step / length)));
                    let loss = learner.differentiate(&batch).1.double_value(&[]);
                    moved.copy_(&before);
                    loss
                };
                let slope = (at(1.0) - at(-1.0)) / (2.0 * step);
                assert!((slope - length).abs() < 0.03 * length + 5e-4, "tensor {k}: {slope}, not {length}");
            }
        }
    }

    #[test]
    fn updates_bring_q_nearer_to_its_targets() {
        for pairwise in
            [Pairwise::Hinge { weight: 0.5, margin: 1.0 }, Pairwise::Squared { weight: 0.1, clip: 1.0 }]
        {
            // Without a next step the targets stand still.
            let settings = Settings { learning_rate: 1e-2, discount: 0.0, pairwise, ..Settings::default() };
            let mut learner = learner(&settings);
            let rows = rows(64);
            let first = learner.update(&rows);
            let last = (0..200).map(|_| learner.update(&rows)).last().unwrap();
            assert!(last < 0.7 * first, "{pairwise:?}: {first} became {last}");
        }
    }

    #[test]
    fn the_target_network_follows_by_tau() {
        let settings = Settings { soft_update: 0.25, ..Settings::default() };
        let mut learner = learner(&settings);
        let before = learner.target.0.copy();
        learner.update(&rows(8));
        let expected = &before + (&learner.online.0 - &before) * 0.25;
        assert!((&learner.target.0 - expected).abs().max().double_value(&[]) < 1e-6);
        assert!((&learner.online.0 - &before).abs().max().double_value(&[]) > 0.0);
    }
}
