//! A GRU over a packed window, forward and backward. In: `[P, n]` item vectors; out: the last hidden state `[B, w]`.
//!
//! Gate order reset, update, new, as in PyTorch's GRUCell:
//! `r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)`, `z` alike, `n = tanh(W_in x + b_in + r (W_hn h + b_hn))`,
//! `h' = (1 - z) n + z h`. A row whose window has not begun has h = 0 and is not computed at all, which is the neutral
//! padding `h_t = m_t GRU(x_t, h_{t-1}) + (1 - m_t) h_{t-1}` with the padding on the left.
//!
//! Written by hand because autograd over 10 steps costs several times the arithmetic: here a forward step is six
//! operations and a backward step three. A test holds it against autograd. Rows are in the window's sorted order.

use tch::Tensor;

use super::{assert_shape, window::PackedWindow};

/// The parameters of one GRU, as views into a network's flat vector.
#[derive(Clone, Copy, Debug)]
pub struct Gru<'a> {
    /// `[3w, n]`.
    pub weight_ih: &'a Tensor,
    /// `[3w, w]`.
    pub weight_hh: &'a Tensor,
    /// `[3w]`.
    pub bias_ih: &'a Tensor,
    /// `[3w]`.
    pub bias_hh: &'a Tensor,
}

/// What the backward pass needs from the forward pass. P pairs, step after step.
#[derive(Debug)]
pub struct Tape {
    /// `[P, 3w]` r, z, n.
    gates: Tensor,
    /// `[P, w]` W_hn h + b_hn.
    recurrent: Tensor,
    /// `[P + B, w]` the hidden state before each step; behind them the last ones, `[B, w]`.
    hidden: Tensor,
}

impl Tape {
    /// The last hidden state `[B, w]` in sorted order; 0 for a row without items.
    pub fn last(&self, window: &PackedWindow) -> Tensor {
        self.hidden.narrow(0, window.n_pairs(), window.n_rows())
    }
}

impl Gru<'_> {
    fn width(&self) -> i64 {
        self.weight_hh.size()[1]
    }

    /// Runs over a window.
    pub fn forward(&self, window: &PackedWindow) -> Tape {
        let w = self.width();
        let (n_pairs, n_rows) = (window.n_pairs(), window.n_rows());
        assert_shape("window", &window.x, &[n_pairs, self.weight_ih.size()[1]]);
        let options = (window.x.kind(), window.x.device());
        // Zeros, not uninitialised: rows that begin at a step start from h = 0 there.
        let hidden = Tensor::zeros([n_pairs + n_rows, w], options);
        let recurrent = Tensor::empty([n_pairs, w], options);
        // The input's share of all gates of all steps at once. b_hr and b_hz only add to b_ir and b_iz.
        let bias = self.bias_ih.copy();
        let _ = bias.narrow(0, 0, 2 * w).g_add_(&self.bias_hh.narrow(0, 0, 2 * w));
        let gates = bias.addmm(&window.x, &self.weight_ih.tr());
        let by_gate = self.weight_hh.tr();
        let (w_rz, w_n) = (by_gate.narrow(1, 0, 2 * w), by_gate.narrow(1, 2 * w, w));
        let bias_n = self.bias_hh.narrow(0, 2 * w, w);
        let mut start = 0;
        for &rows in &window.counts {
            let h = hidden.narrow(0, start, rows);
            let step = gates.narrow(0, start, rows);
            let mut rz = step.narrow(1, 0, 2 * w);
            let _ = rz.addmm_(&h, &w_rz);
            let _ = rz.sigmoid_();
            let in_new = bias_n.addmm_out(&recurrent.narrow(0, start, rows), &h, &w_n);
            let mut new = step.narrow(1, 2 * w, w);
            let _ = new.addcmul_(&rz.narrow(1, 0, w), &in_new);
            let _ = new.tanh_();
            // h' = n + z (h - n), written where the next step looks for it: its first `rows` rows are these.
            let _ = new.lerp_tensor_out(&hidden.narrow(0, start + rows, rows), &h, &rz.narrow(1, w, w));
            start += rows;
        }
        Tape { gates, recurrent, hidden }
    }

    /// Gradients of the four parameters (in the order of the fields), given that of the last hidden state, `[B, w]` in
    /// sorted order.
    pub fn backward(&self, window: &PackedWindow, tape: &Tape, d_last: &Tensor) -> [Tensor; 4] {
        let w = self.width();
        let n_pairs = window.n_pairs();
        assert_shape("d_last", d_last, &[window.n_rows(), w]);
        if n_pairs == 0 {
            return [self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh].map(Tensor::zeros_like);
        }
        let h = tape.hidden.narrow(0, 0, n_pairs);
        let d = factors(&tape.gates, &tape.recurrent, &h);
        let z = tape.gates.narrow(1, w, w);
        let by_column = d.view([n_pairs, 4, w]);
        let d_hidden = d.narrow(1, 0, 3 * w);
        let mut end = n_pairs;
        let mut dh = d_last.narrow(0, 0, window.counts.last().copied().unwrap_or(0));
        for (step, &rows) in window.counts.iter().enumerate().rev() {
            let start = end - rows;
            let _ = by_column.narrow(0, start, rows).g_mul_(&dh.unsqueeze(1));
            if step > 0 {
                // Rows that begin at this step have no step before it.
                let earlier = window.counts[step - 1];
                dh = (dh.narrow(0, 0, earlier) * z.narrow(0, start, earlier))
                    .addmm(&d_hidden.narrow(0, start, earlier), self.weight_hh);
            }
            end = start;
        }
        let (d_rz, d_n) = (d.narrow(1, 0, 2 * w), d.narrow(1, 3 * w, w));
        let sums = d.sum_dim_intlist([0_i64].as_slice(), false, None);
        [
            Tensor::cat(&[d_rz.tr().mm(&window.x), d_n.tr().mm(&window.x)], 0),
            d_hidden.tr().mm(&h),
            Tensor::cat(&[sums.narrow(0, 0, 2 * w), sums.narrow(0, 3 * w, w)], 0),
            sums.narrow(0, 0, 3 * w),
        ]
    }
}

/// What a step's gradient of h' is multiplied by for those of what is before the nonlinearities, `[.., 4w]`: r, z,
/// (W_hn h + b_hn), n. From `[.., 3w]` gates, `[.., w]` W_hn h + b_hn and `[.., w]` h before the step.
pub(super) fn factors(gates: &Tensor, recurrent: &Tensor, hidden: &Tensor) -> Tensor {
    let w = recurrent.size().last().copied().unwrap_or(0);
    let gate = |i: i64| gates.narrow(-1, i * w, w);
    let (r, z, n) = (gate(0), gate(1), gate(2));
    let to_n = Tensor::tanh_backward(&(1.0 - &z), &n);
    let to_z = Tensor::sigmoid_backward(&(hidden - &n), &z);
    let to_r = Tensor::sigmoid_backward(&(&to_n * recurrent), &r);
    Tensor::cat(&[&to_r, &to_z, &(&to_n * &r), &to_n], -1)
}
