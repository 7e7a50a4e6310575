//! The parameters of the Q-network: plain data, any thread.
//!
//! For n item components, w GRU width, H branch width, J joint width; a branch is `positive` or `negative`:
//!
//! | name | shape | |
//! |---|---|---|
//! | `BRANCH.gru.{weight_ih,weight_hh,bias_ih,bias_hh}` | `[3w,n] [3w,w] [3w] [3w]` | gates reset, update, new |
//! | `BRANCH.state.weight`, `BRANCH.item.weight`, `BRANCH.bias` | `[H,w] [H,n] [H]` | the branch's own hidden layer |
//! | `joint.{weight,bias}` | `[J,2H] [J]` | the hidden layer behind both |
//! | `out.{weight,bias}` | `[1,J] [1]` | Q |

use common::seed::Streams;
use rand::RngExt;

/// The branches, in the order of their tensors.
pub(super) const BRANCHES: [&str; 2] = ["positive", "negative"];
/// Tensors of a branch.
pub(super) const PER_BRANCH: usize = 7;
/// Tensors of a branch's GRU, its first.
pub(super) const PER_GRU: usize = 4;
/// Index of the joint layer's weight; bias, output weight and output bias follow.
pub(super) const JOINT: usize = PER_BRANCH * BRANCHES.len();

/// Sizes of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Item embedding size, n.
    pub n_dims: usize,
    /// Width of the GRUs, w.
    pub encoder: usize,
    /// Width of a branch, H.
    pub branch: usize,
    /// Width of the joint layer, J.
    pub joint: usize,
}

/// A tensor of the table above.
pub(super) struct Named {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    /// Initial values are uniform in ±1/√ of it (PyTorch's default).
    fan_in: usize,
}

impl Sizes {
    /// The tensors, in the order of the flat vector.
    pub(super) fn tensors(self) -> Vec<Named> {
        let Self { n_dims: n, encoder: w, branch: h, joint: j } = self;
        let mut all = Vec::with_capacity(JOINT + 4);
        let mut push = |name: String, shape: &[usize], fan_in| {
            all.push(Named { name, shape: shape.to_vec(), fan_in });
        };
        for branch in BRANCHES {
            push(format!("{branch}.gru.weight_ih"), &[3 * w, n], w);
            push(format!("{branch}.gru.weight_hh"), &[3 * w, w], w);
            push(format!("{branch}.gru.bias_ih"), &[3 * w], w);
            push(format!("{branch}.gru.bias_hh"), &[3 * w], w);
            push(format!("{branch}.state.weight"), &[h, w], w + n);
            push(format!("{branch}.item.weight"), &[h, n], w + n);
            push(format!("{branch}.bias"), &[h], w + n);
        }
        push("joint.weight".into(), &[j, 2 * h], 2 * h);
        push("joint.bias".into(), &[j], 2 * h);
        push("out.weight".into(), &[1, j], j);
        push("out.bias".into(), &[1], j);
        all
    }
}

impl Named {
    /// Numbers in it.
    pub(super) fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// All numbers of a network, tensor after tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    pub(super) sizes: Sizes,
    pub(super) flat: Vec<f32>,
}

impl Parameters {
    /// PyTorch's default initialisation from a seed.
    pub(super) fn initial(sizes: Sizes, seed: u64) -> Self {
        let streams = Streams::new(seed, "deers/initial-parameters");
        let mut flat = Vec::new();
        for (number, tensor) in sizes.tensors().iter().enumerate() {
            let (mut rng, limit) = (streams.at(number as u64, 0), 1.0 / (tensor.fan_in as f32).sqrt());
            flat.extend((0..tensor.len()).map(|_| rng.random_range(-limit..limit)));
        }
        Self { sizes, flat }
    }

    /// The values of every tensor, in order.
    pub(super) fn split(&self) -> Vec<&[f32]> {
        let mut rest = self.flat.as_slice();
        let mut next = |tensor: &Named| {
            let (values, behind) = rest.split_at(tensor.len());
            rest = behind;
            values
        };
        self.sizes.tensors().iter().map(&mut next).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_cover_the_flat_vector_and_follow_from_the_seed() {
        let sizes = Sizes { n_dims: 3, encoder: 4, branch: 5, joint: 6 };
        let one = Parameters::initial(sizes, 1);
        assert_eq!(one.split().iter().map(|values| values.len()).sum::<usize>(), one.flat.len());
        assert_eq!(sizes.tensors()[JOINT].name, "joint.weight");
        assert_eq!(one, Parameters::initial(sizes, 1));
        assert_ne!(one, Parameters::initial(sizes, 2));
        // 1/√(w + n) for the layer that joins state and item.
        let item = one.split()[5];
        assert!(item.iter().all(|x| x.abs() <= 1.0 / 7.0_f32.sqrt()));
    }
}
