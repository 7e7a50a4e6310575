//! One member of the ensemble on tch: parameters, forward pass, gradient.
//!
//! In: a [`Batch`] of B impressions; out: logits `[B, 3]` of skip, click, order. The formulas, names and shapes are those
//! of [`sim::learned`], which runs the network without torch. The GRUs and their backward pass are those of
//! [`crate::algorithm::gru`]; a window that several rows share is encoded once. Autograd differentiates the rest. Owner:
//! the fitting thread; one torch thread.

use common::{history::N_WINDOWS, seed::Streams};
use rand::RngExt;
use tch::{Reduction, Tensor};

use super::{Options, batch::Batch, catalogue::Catalogue};
use crate::algorithm::gru::Gru;

/// Parameter tensors of one GRU.
const PER_GRU: usize = 4;
/// Index of the first tensor behind the encoders.
const HEAD: usize = PER_GRU * N_WINDOWS;
/// Index of the weight of the output layer; its bias follows.
pub(super) const OUTPUT: usize = HEAD + 3;
/// Index of the category embeddings, if there are any.
const CATEGORY: usize = OUTPUT + 2;

/// Sizes of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Item embedding, n.
    pub(super) n_dims: usize,
    /// Item features, F.
    pub(super) n_features: usize,
    /// Categories; 0 without.
    pub(super) n_categories: usize,
    /// Category embedding, D; 0 without.
    pub(super) category_dims: usize,
    /// Encoders, W.
    pub(super) width: usize,
    /// Hidden layer, H.
    pub(super) hidden: usize,
}

/// A parameter tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Name behind `member.{k}.`.
    pub(super) name: String,
    /// Its shape.
    pub(super) shape: Vec<usize>,
    /// Inputs of the unit it belongs to: initial values lie in ±1/√inputs.
    inputs: usize,
}

impl Sizes {
    /// Those of a catalogue with the options' widths.
    pub(super) fn new(catalogue: &Catalogue, n_dims: usize, options: &Options) -> Self {
        let n_categories = catalogue.n_categories;
        Self {
            n_dims,
            n_features: catalogue.n_features,
            n_categories,
            category_dims: if n_categories > 0 { options.category_dims } else { 0 },
            width: options.width,
            hidden: options.hidden,
        }
    }

    /// The tensors of a member, in order.
    pub(super) fn blocks(&self) -> Vec<Block> {
        let (n, width, hidden) = (self.n_dims, self.width, self.hidden);
        let item = n + self.n_features + self.category_dims;
        let mut blocks = Vec::new();
        let mut add = |name: String, shape: &[usize], inputs| {
            blocks.push(Block { name, shape: shape.to_vec(), inputs });
        };
        for kind in ["skipped", "clicked", "ordered"] {
            add(format!("encoder.{kind}.weight_ih"), &[3 * width, n], width);
            add(format!("encoder.{kind}.weight_hh"), &[3 * width, width], width);
            add(format!("encoder.{kind}.bias_ih"), &[3 * width], width);
            add(format!("encoder.{kind}.bias_hh"), &[3 * width], width);
        }
        add("state.weight".into(), &[hidden, N_WINDOWS * width], N_WINDOWS * width);
        add("state.bias".into(), &[hidden], N_WINDOWS * width);
        add("item.weight".into(), &[hidden, item], item);
        add("output.weight".into(), &[3, hidden], hidden);
        add("output.bias".into(), &[3], hidden);
        if self.category_dims > 0 {
            add("category.weight".into(), &[self.n_categories, self.category_dims], self.category_dims);
        }
        blocks
    }
}

/// The parameters of a member: one flat tensor and views of it.
#[derive(Debug)]
pub(super) struct Network {
    flat: Tensor,
    views: Vec<Tensor>,
}

impl Network {
    /// Initial values of member `number`, from the project's random streams, not from torch's generator.
    pub(super) fn initial(sizes: &Sizes, streams: &Streams, number: u64) -> Self {
        let mut rng = streams.at(number, 0);
        let mut values = Vec::new();
        for block in sizes.blocks() {
            let bound = 1.0 / (block.inputs as f32).sqrt();
            let size: usize = block.shape.iter().product();
            values.extend((0..size).map(|_| rng.random_range(-bound..bound)));
        }
        Self::from_flat(sizes, Tensor::from_slice(&values))
    }

    /// The network whose parameters lie in `flat`, one tensor behind the other.
    pub(super) fn from_flat(sizes: &Sizes, flat: Tensor) -> Self {
        let mut start = 0;
        let views = sizes
            .blocks()
            .iter()
            .map(|block| {
                let shape: Vec<i64> = block.shape.iter().map(|&size| size as i64).collect();
                let size: i64 = shape.iter().product();
                start += size;
                flat.narrow(0, start - size, size).view(shape.as_slice())
            })
            .collect();
        assert_eq!(flat.size(), [start], "the flat tensor holds all parameters");
        Self { flat, views }
    }

    /// `[len]`, all parameters; writing to it in place changes the network.
    pub(super) fn flat(&self) -> &Tensor {
        &self.flat
    }

    /// Views of the parameters, in the order of [`Sizes::blocks`].
    pub(super) fn views(&self) -> &[Tensor] {
        &self.views
    }

    fn gru(&self, kind: usize) -> Gru<'_> {
        let [weight_ih, weight_hh, bias_ih, bias_hh] = &self.views[kind * PER_GRU..][..PER_GRU] else {
            unreachable!("a GRU has four tensors")
        };
        Gru { weight_ih, weight_hh, bias_ih, bias_hh }
    }

    /// Logits `[B, 3]`.
    pub(super) fn logits(&self, catalogue: &Catalogue, batch: &Batch) -> Tensor {
        let last: Vec<Tensor> = (0..N_WINDOWS)
            .map(|kind| {
                let window = &batch.windows[kind].packed;
                self.gru(kind).forward(window).last(window)
            })
            .collect();
        head(&self.views[HEAD..], &last, catalogue, batch)
    }

    /// Mean cross-entropy of the batch and its gradient `[len]`.
    pub(super) fn gradient(&self, catalogue: &Catalogue, batch: &Batch) -> (f64, Tensor) {
        let tapes: Vec<_> =
            (0..N_WINDOWS).map(|kind| self.gru(kind).forward(&batch.windows[kind].packed)).collect();
        // Leaves: the last hidden states, then the tensors of the head.
        let mut leaves: Vec<Tensor> =
            tapes.iter().zip(&batch.windows).map(|(tape, window)| leaf(&tape.last(&window.packed))).collect();
        leaves.extend(self.views[HEAD..].iter().map(leaf));
        let logits = head(&leaves[N_WINDOWS..], &leaves[..N_WINDOWS], catalogue, batch);
        let loss = logits.cross_entropy_loss::<Tensor>(&batch.targets, None, Reduction::Mean, -100, 0.0);
        let gradients = Tensor::run_backward(&[&loss], &leaves, false, false);
        let mut parts = Vec::with_capacity(self.views.len());
        for (kind, tape) in tapes.iter().enumerate() {
            let window = &batch.windows[kind].packed;
            let of_gru = self.gru(kind).backward(window, tape, &gradients[kind]);
            parts.extend(of_gru.map(|gradient| gradient.reshape([-1])));
        }
        parts.extend(gradients[N_WINDOWS..].iter().map(|gradient| gradient.reshape([-1])));
        (loss.double_value(&[]), Tensor::cat(&parts, 0))
    }
}

fn leaf(tensor: &Tensor) -> Tensor {
    tensor.detach().set_requires_grad(true)
}

/// Logits `[B, 3]` from the last hidden states `[U, W]` of each kind's distinct windows, in packed order.
fn head(parameters: &[Tensor], last: &[Tensor], catalogue: &Catalogue, batch: &Batch) -> Tensor {
    let at = |index: usize| &parameters[index - HEAD];
    let states: Vec<Tensor> =
        last.iter().zip(&batch.windows).map(|(h, window)| h.index_select(0, &window.place)).collect();
    let mut item = vec![catalogue.inputs.index_select(0, &batch.items)];
    if parameters.len() > CATEGORY - HEAD {
        let categories = catalogue.categories.index_select(0, &batch.items);
        item.push(at(CATEGORY).index_select(0, &categories));
    }
    let state = Tensor::cat(&states, 1).linear(at(HEAD), Some(at(HEAD + 1)));
    let hidden = (state + Tensor::cat(&item, 1).linear::<Tensor>(at(HEAD + 2), None)).relu();
    hidden.linear(at(OUTPUT), Some(at(OUTPUT + 1)))
}

#[cfg(test)]
mod tests {
    use common::{Feedback, ItemId, ItemTable};
    use tch::Kind;

    use super::*;
    use crate::simulator::fitting::samples::Samples;

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        let mut rng = Streams::new(4, "test").sequential();
        let embeddings = (0..12 * 4).map(|_| rng.random_range(-1.0..1.0)).collect();
        let prices = (0..12).map(|k| k as f32).collect();
        let items = ItemTable::new(4, 1.94, embeddings, (0..12).map(|k| k % 3).collect(), prices).unwrap();
        let options = Options { width: 3, hidden: 5, category_dims: 2, window: 4, ..Options::default() };
        let mut catalogue = Catalogue::new(&items, &options);
        // In f64, so that small differences tell the derivative from the kinks of the ReLU.
        catalogue.embeddings = catalogue.embeddings.to_kind(Kind::Double);
        catalogue.inputs = catalogue.inputs.to_kind(Kind::Double);
        let sizes = Sizes::new(&catalogue, 4, &options);
        let mut samples = Samples::new(4);
        let impressions = (0..40_u32).map(|k| (ItemId(k * 5 % 12), Feedback::ALL[(k * 7 % 5 % 3) as usize]));
        samples.add_session(0, true, impressions);
        let rows: Vec<usize> = (0..samples.rows.len()).collect();
        let batch = Batch::gather(&samples, &rows, &catalogue.embeddings);
        let flat = Network::initial(&sizes, &Streams::new(0, "initial"), 0).flat().to_kind(Kind::Double);
        let network = Network::from_flat(&sizes, flat);
        let (_, gradient) = network.gradient(&catalogue, &batch);
        let loss = |network: &Network| {
            let logits = network.logits(&catalogue, &batch);
            let targets = &batch.targets;
            logits.cross_entropy_loss::<Tensor>(targets, None, Reduction::Mean, -100, 0.0).double_value(&[])
        };
        // Along random directions: (L(x + h d) - L(x - h d)) / 2h.
        for seed in 0..5 {
            let mut rng = Streams::new(seed, "direction").sequential();
            let direction: Vec<f64> = (0..gradient.numel()).map(|_| rng.random_range(-1.0..1.0)).collect();
            let direction = Tensor::from_slice(&direction);
            let at = |h: f64| Network::from_flat(&sizes, network.flat() + &direction * h);
            let numeric = (loss(&at(1e-6)) - loss(&at(-1e-6))) / 2e-6;
            let exact = (&gradient * &direction).sum(Kind::Double).double_value(&[]);
            assert!((numeric - exact).abs() < 1e-7, "{numeric} and {exact}");
        }
    }
}
