//! The Q-network without libtorch: what rollouts and evaluations run. In: history windows, items; out: Q values.
//!
//! ```text
//! h+, h- = GRU+(clicked), GRU-(skipped)                       last states, [w]
//! p(a)   = ReLU(S+ h+ + A+ a + b+), m(a) = ReLU(S- h- + A- a + b-)    [H] each
//! Q(s,a) = w . ReLU(W [p(a); m(a)] + b) + b'
//! ```
//!
//! Parameters and the catalogue's share `A a` of both branches are made once a version, and are shared by threads.

use common::{
    ItemId, ItemTable,
    history::{Kind, N_WINDOWS},
};
use kernels::{
    Gru, GruParameters, GruScratch, Init, Inputs, Level, RowMajor, RowMajorMut, Sequences, Strided, gemm,
    search, transpose,
};

use super::parameters::{BRANCHES, JOINT, PER_BRANCH, PER_GRU, Parameters, Sizes};

/// The window that each branch reads.
pub(super) const WINDOWS: [Kind; BRANCHES.len()] = [Kind::Clicked, Kind::Skipped];

/// One version of the parameters, ready to run.
#[derive(Debug)]
pub(super) struct Network {
    level: Level,
    sizes: Sizes,
    branches: [Branch; BRANCHES.len()],
    /// `[2H, J]`
    joint_weight: Vec<f32>,
    joint_bias: Vec<f32>,
    out_weight: Vec<f32>,
    out_bias: f32,
}

#[derive(Debug)]
struct Branch {
    gru: Gru,
    /// `[w, H]`
    state_weight: Vec<f32>,
    bias: Vec<f32>,
    /// `[V, H]` A a of every item.
    items: Vec<f32>,
}

/// Working memory of a thread.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    gru: GruScratch,
    /// `[E, w]`
    hidden: Vec<f32>,
    /// `[2, E, H]` the states' share of both branches.
    states: Vec<f32>,
    /// `[K, 2H]` both branches of the items of one session.
    branches: Vec<f32>,
    /// `[K, J]`
    joint: Vec<f32>,
}

impl Network {
    pub(super) fn new(parameters: &Parameters, items: &ItemTable) -> Self {
        let (sizes, level) = (parameters.sizes, Level::best());
        let Sizes { n_dims: n, encoder: w, branch: h, .. } = sizes;
        assert_eq!(n, items.n_dims(), "network and catalogue have one embedding size");
        let tensors = parameters.split();
        let branch = |k: usize| {
            let [weight_ih, weight_hh, bias_ih, bias_hh, state, item, bias] =
                tensors[k * PER_BRANCH..][..PER_BRANCH]
            else {
                unreachable!("a branch has {PER_BRANCH} tensors")
            };
            let item = transpose(item, n);
            let mut projected = vec![0.0; items.n_items() * h];
            let size = (items.n_items(), h, n);
            let (a, b) = (Strided::rows(items.embeddings(), n), RowMajor { data: &item, stride: h });
            let c = RowMajorMut { data: &mut projected, stride: h };
            gemm(level, size, a, b, c, Init::Bias(&vec![0.0; h]));
            Branch {
                gru: Gru::new(n, w, GruParameters { weight_ih, weight_hh, bias_ih, bias_hh }),
                state_weight: transpose(state, w),
                bias: bias.to_vec(),
                items: projected,
            }
        };
        const { assert!(PER_GRU + 3 == PER_BRANCH, "a GRU, two weights and a bias") };
        Self {
            level,
            sizes,
            branches: std::array::from_fn(branch),
            joint_weight: transpose(tensors[JOINT], 2 * h),
            joint_bias: tensors[JOINT + 1].to_vec(),
            out_weight: tensors[JOINT + 2].to_vec(),
            out_bias: tensors[JOINT + 3][0],
        }
    }

    /// Encodes the windows `[E, 3, N]` of E sessions, for [`Self::values`].
    pub(super) fn encode(
        &self,
        items: &ItemTable,
        windows: &[ItemId],
        n_sessions: usize,
        scratch: &mut Scratch,
    ) {
        let Sizes { encoder: w, branch: h, .. } = self.sizes;
        let length = windows.len() / (n_sessions.max(1) * N_WINDOWS);
        scratch.hidden.resize(n_sessions * w, 0.0);
        scratch.states.resize(BRANCHES.len() * n_sessions * h, 0.0);
        for (k, (branch, kind)) in self.branches.iter().zip(WINDOWS).enumerate() {
            let starts: Vec<usize> =
                (0..n_sessions).map(|row| (row * N_WINDOWS + kind as usize) * length).collect();
            let sequences = Sequences { ids: bytemuck::cast_slice(windows), starts: &starts, length };
            let hidden = RowMajorMut { data: &mut scratch.hidden, stride: w };
            let inputs = Inputs::Rows(items.embeddings());
            branch.gru.forward(self.level, inputs, sequences, hidden, &mut scratch.gru);
            let states = &mut scratch.states[k * n_sessions * h..][..n_sessions * h];
            let (a, b) =
                (Strided::rows(&scratch.hidden, w), RowMajor { data: &branch.state_weight, stride: h });
            let c = RowMajorMut { data: states, stride: h };
            gemm(self.level, (n_sessions, h, w), a, b, c, Init::Bias(&branch.bias));
        }
    }

    /// Q of the given items in session `row` of the last [`Self::encode`], into `q`, in their order.
    pub(super) fn values(&self, row: usize, items: &[ItemId], scratch: &mut Scratch, q: &mut Vec<f32>) {
        let Sizes { branch: h, joint: j, .. } = self.sizes;
        let Scratch { states, branches, joint, .. } = scratch;
        let (n_items, n_sessions) = (items.len(), states.len() / (BRANCHES.len() * h));
        branches.resize(n_items * 2 * h, 0.0);
        joint.resize(n_items * j, 0.0);
        for (k, branch) in self.branches.iter().enumerate() {
            let state = &states[(k * n_sessions + row) * h..][..h];
            for (out, item) in branches.chunks_exact_mut(2 * h).zip(items) {
                let item = &branch.items[item.row() * h..][..h];
                for ((out, x), y) in out[k * h..][..h].iter_mut().zip(state).zip(item) {
                    *out = (x + y).max(0.0);
                }
            }
        }
        let (a, b) = (Strided::rows(branches, 2 * h), RowMajor { data: &self.joint_weight, stride: j });
        let c = RowMajorMut { data: joint, stride: j };
        gemm(self.level, (n_items, j, 2 * h), a, b, c, Init::Bias(&self.joint_bias));
        q.clear();
        let value = |hidden| search::relu_dot(self.level, hidden, &self.out_weight) + self.out_bias;
        q.extend(joint.chunks_exact(j).map(value));
    }
}
