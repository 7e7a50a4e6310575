//! Several GRUs side by side, forward and backward: a step of all of them is one batched product. In: `[N B, n]` item vectors
//! with padding, a GRU; out: the last hidden states `[B, w]`, a GRU.
//!
//! The same equations as [`super::gru`], for GPUs: there a step of 64 numbers takes as long as it takes to start its
//! operations, so that G GRUs (of actors, critics and targets) in one operation take the time of one. Packing would save
//! arithmetic that costs nothing there. Padding stays neutral as the update gate of a padded pair is held shut: z = 1, so that
//! `h' = h` (0, as padding is on the left), and all of its gradients are exactly 0.

use tch::Tensor;

use super::{
    assert_shape,
    gru::{Gru, factors},
    window::PaddedWindow,
};

/// What sigmoid makes exactly 1 of, in f32 and in f64. At a padded pair h is 0, so that W_hz h adds nothing to it.
const SHUT: f64 = 1e3;

/// What the backward pass needs from the forward pass. G GRUs, N steps, B rows.
#[derive(Debug)]
pub struct Tape {
    /// `[G, N B, n]`.
    x: Tensor,
    /// `[G, N, B, 3w]` r, z, n.
    gates: Tensor,
    /// `[G, N, B, w]` W_hn h + b_hn.
    recurrent: Tensor,
    /// `[G, N + 1, B, w]` the hidden state before each step; behind them the last ones.
    hidden: Tensor,
}

impl Tape {
    /// The last hidden states `[G, B, w]`; 0 for a row without items.
    pub fn last(&self) -> Tensor {
        self.hidden.select(1, -1)
    }

    /// The tape of `count` of the GRUs, from `first` on; no copy.
    pub fn part(&self, first: i64, count: i64) -> Self {
        let part = |t: &Tensor| t.narrow(0, first, count);
        Self {
            x: part(&self.x),
            gates: part(&self.gates),
            recurrent: part(&self.recurrent),
            hidden: part(&self.hidden),
        }
    }
}

fn stack<'a>(grus: &'a [Gru<'a>], parameter: fn(&Gru<'a>) -> &'a Tensor) -> Tensor {
    Tensor::stack(&grus.iter().map(parameter).collect::<Vec<_>>(), 0)
}

/// Runs every GRU over its own window; all have the same width, all windows the same rows and steps.
pub fn forward(grus: &[Gru<'_>], windows: &[&PaddedWindow]) -> Tape {
    assert_eq!(grus.len(), windows.len(), "a window a GRU");
    let w = grus[0].weight_hh.size()[1];
    let (g, steps, rows) = (grus.len() as i64, windows[0].n_steps, windows[0].n_rows());
    let of_windows = |part: fn(&PaddedWindow) -> &Tensor| {
        Tensor::stack(&windows.iter().map(|window| part(window)).collect::<Vec<_>>(), 0)
    };
    let x = of_windows(|window| &window.x);
    assert_shape("x", &x, &[g, steps * rows, grus[0].weight_ih.size()[1]]);
    // The input's share of all gates of all steps at once. b_hr and b_hz only add to b_ir and b_iz.
    let (bias, bias_hh) = (stack(grus, |gru| gru.bias_ih), stack(grus, |gru| gru.bias_hh));
    let _ = bias.narrow(1, 0, 2 * w).g_add_(&bias_hh.narrow(1, 0, 2 * w));
    let gates = bias.unsqueeze(1).baddbmm(&x, &stack(grus, |gru| gru.weight_ih).transpose(1, 2), 1.0, 1.0);
    let _ = gates.narrow(2, w, w).masked_fill_(&of_windows(|window| &window.is_padding), SHUT);
    let gates = gates.view([g, steps, rows, 3 * w]);
    let hidden = Tensor::zeros([g, steps + 1, rows, w], (x.kind(), x.device()));
    let by_gate = stack(grus, |gru| gru.weight_hh).transpose(1, 2);
    let (w_rz, w_n) = (by_gate.narrow(2, 0, 2 * w), by_gate.narrow(2, 2 * w, w));
    // Adding to what is there is one operation; adding to a bias copies the bias first, step by step.
    let bias_n = bias_hh.narrow(1, 2 * w, w).view([g, 1, 1, w]);
    let recurrent = bias_n.expand([g, steps, rows, w], false).contiguous();
    for t in 0..steps {
        let (h, step) = (hidden.select(1, t), gates.select(1, t));
        let mut rz = step.narrow(2, 0, 2 * w);
        let _ = rz.baddbmm_(&h, &w_rz);
        let _ = rz.sigmoid_();
        let mut in_new = recurrent.select(1, t);
        let _ = in_new.baddbmm_(&h, &w_n);
        let mut new = step.narrow(2, 2 * w, w);
        let _ = new.addcmul_(&rz.narrow(2, 0, w), &in_new);
        let _ = new.tanh_();
        // h' = n + z (h - n)
        let _ = new.lerp_tensor_out(&hidden.select(1, t + 1), &h, &rz.narrow(2, w, w));
    }
    Tape { x, gates, recurrent, hidden }
}

/// Gradients of every GRU's four parameters (in the order of its fields), given those of the last hidden states, `[G, B, w]`.
pub fn backward(grus: &[Gru<'_>], tape: &Tape, d_last: &Tensor) -> Vec<[Tensor; 4]> {
    let [g, steps, rows, w] = tape.recurrent.size()[..] else { unreachable!("a tape has four axes") };
    assert_shape("d_last", d_last, &[g, rows, w]);
    let weight_hh = stack(grus, |gru| gru.weight_hh);
    let h = tape.hidden.narrow(1, 0, steps);
    let d = factors(&tape.gates, &tape.recurrent, &h);
    let z = tape.gates.narrow(3, w, w);
    let by_column = d.view([g, steps, rows, 4, w]);
    let d_hidden = d.narrow(3, 0, 3 * w);
    let mut dh = d_last.copy();
    for t in (0..steps).rev() {
        let _ = by_column.select(1, t).g_mul_(&dh.unsqueeze(2));
        if t > 0 {
            dh *= z.select(1, t);
            let _ = dh.baddbmm_(&d_hidden.select(1, t), &weight_hh);
        }
    }
    let d = d.view([g, steps * rows, 4 * w]);
    let (d_rz, d_n) = (d.narrow(2, 0, 2 * w).transpose(1, 2), d.narrow(2, 3 * w, w).transpose(1, 2));
    let sums = d.sum_dim_intlist([1_i64].as_slice(), false, None);
    let gradients = [
        Tensor::cat(&[d_rz.bmm(&tape.x), d_n.bmm(&tape.x)], 1),
        d.narrow(2, 0, 3 * w).transpose(1, 2).bmm(&h.reshape([g, steps * rows, w])),
        Tensor::cat(&[sums.narrow(1, 0, 2 * w), sums.narrow(1, 3 * w, w)], 1),
        sums.narrow(1, 0, 3 * w),
    ];
    (0..g).map(|k| gradients.each_ref().map(|all| all.get(k))).collect()
}
