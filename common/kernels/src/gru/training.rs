//! A GRU step for training: what its backward pass needs stays, and is turned into gradients in place.
//!
//! A row of `gates` holds four parts of w numbers each: reset, update, hidden (W_hn h + b_hn), new. The products that
//! fill them, and those that the gradients go into, are the caller's.

use crate::{
    dispatch::{Kernel, dispatch},
    gemm::{RowMajorMut, assert_fits},
    level::Level,
    math::{tanh_v, two_sigmoids},
    simd::{Simd, load, store},
};

/// Parts of a row of gates.
const PARTS: usize = 4;

/// A step forward for `n_rows` rows of width w.
///
/// In: `gates` `[rows, 4w]` before their nonlinearities, `hidden` `[rows, w]` before the step. Out: r, z, the hidden part
/// as it was, and n in `gates`; the state after the step in `hidden`, the one before it in `before` if it is kept.
///
/// # Panics
/// If a slice is too short.
pub fn step_forward(
    level: Level,
    (n_rows, width): (usize, usize),
    gates: RowMajorMut<'_>,
    hidden: &mut [f32],
    before: Option<&mut [f32]>,
) {
    check((n_rows, width), &gates, hidden.len());
    if let Some(before) = &before {
        assert_fits("before: ", (n_rows, width), (before.len(), width));
    }
    let (stride, gates) = (gates.stride, gates.data.as_mut_ptr());
    let hidden = hidden.as_mut_ptr();
    let before = before.map(<[f32]>::as_mut_ptr);
    // SAFETY: checked above.
    unsafe { dispatch(level, Rows { n_rows, width, gates, stride, step: Forward { width, hidden, before } }) }
}

/// The way back through a step.
///
/// In: `gates` and `before` as [`step_forward`] left them, `d_hidden` `[rows, w]` the gradient of the state after the step.
/// Out: in `gates` the gradients of its four parts before their nonlinearities; in `d_hidden` what goes past them to the
/// state before the step (that of the products W_h h comes on top).
///
/// # Panics
/// If a slice is too short.
pub fn step_backward(
    level: Level,
    (n_rows, width): (usize, usize),
    gates: RowMajorMut<'_>,
    before: &[f32],
    d_hidden: &mut [f32],
) {
    check((n_rows, width), &gates, d_hidden.len());
    assert_fits("before: ", (n_rows, width), (before.len(), width));
    let (stride, gates) = (gates.stride, gates.data.as_mut_ptr());
    let (before, d_hidden) = (before.as_ptr(), d_hidden.as_mut_ptr());
    // SAFETY: checked above.
    unsafe {
        dispatch(level, Rows { n_rows, width, gates, stride, step: Backward { width, before, d_hidden } })
    }
}

fn check((n_rows, width): (usize, usize), gates: &RowMajorMut<'_>, hidden: usize) {
    let columns = PARTS.checked_mul(width).expect("a row of gates can be addressed");
    assert_fits("gates: ", (n_rows, columns), (gates.data.len(), gates.stride));
    assert_fits("hidden: ", (n_rows, width), (hidden, width));
}

/// What a step does to one vector of the units of a row.
trait Step {
    /// `gates` and `at` are the places of the vector's units in a row of gates and in the `[rows, w]` of hidden states.
    ///
    /// # Safety
    /// The CPU has the instructions of `S`; a vector, or the lanes of `tail` where masked, lies within the slices there.
    unsafe fn units<S: Simd, const MASKED: bool>(&self, gates: *mut f32, at: usize, tail: S::Mask);
}

/// A step over all units of all rows.
struct Rows<T> {
    n_rows: usize,
    width: usize,
    gates: *mut f32,
    stride: usize,
    step: T,
}

impl<T: Step> Kernel for Rows<T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let w = self.width;
        // SAFETY: full vectors end at or before w, the masked one covers exactly the rest.
        unsafe {
            let tail = S::mask(w % S::LANES);
            for row in 0..self.n_rows {
                let gates = self.gates.add(row * self.stride);
                let mut j = 0;
                while j + S::LANES <= w {
                    self.step.units::<S, false>(gates.add(j), row * w + j, tail);
                    j += S::LANES;
                }
                if j < w {
                    self.step.units::<S, true>(gates.add(j), row * w + j, tail);
                }
            }
        }
    }
}

struct Forward {
    width: usize,
    hidden: *mut f32,
    before: Option<*mut f32>,
}

impl Step for Forward {
    #[inline(always)]
    unsafe fn units<S: Simd, const MASKED: bool>(&self, gates: *mut f32, at: usize, tail: S::Mask) {
        let w = self.width;
        // SAFETY: the caller gives places of a vector, or of its masked lanes.
        unsafe {
            let before_sigmoid = [load::<S, MASKED>(gates, tail), load::<S, MASKED>(gates.add(w), tail)];
            let [reset, update] = two_sigmoids::<S>(before_sigmoid);
            let from_hidden = load::<S, MASKED>(gates.add(2 * w), tail);
            let from_input = load::<S, MASKED>(gates.add(3 * w), tail);
            let new = tanh_v::<S>(S::mul_add(reset, from_hidden, from_input));
            let h = load::<S, MASKED>(self.hidden.add(at), tail);
            store::<S, MASKED>(gates, reset, tail);
            store::<S, MASKED>(gates.add(w), update, tail);
            store::<S, MASKED>(gates.add(3 * w), new, tail);
            if let Some(before) = self.before {
                store::<S, MASKED>(before.add(at), h, tail);
            }
            // (1 - z) n + z h
            store::<S, MASKED>(self.hidden.add(at), S::mul_add(update, S::sub(h, new), new), tail);
        }
    }
}

struct Backward {
    width: usize,
    before: *const f32,
    d_hidden: *mut f32,
}

impl Step for Backward {
    #[inline(always)]
    unsafe fn units<S: Simd, const MASKED: bool>(&self, gates: *mut f32, at: usize, tail: S::Mask) {
        let w = self.width;
        // SAFETY: the caller gives places of a vector, or of its masked lanes.
        unsafe {
            let one = S::splat(1.0);
            let reset = load::<S, MASKED>(gates, tail);
            let update = load::<S, MASKED>(gates.add(w), tail);
            let from_hidden = load::<S, MASKED>(gates.add(2 * w), tail);
            let new = load::<S, MASKED>(gates.add(3 * w), tail);
            let h = load::<S, MASKED>(self.before.add(at), tail);
            let d = load::<S, MASKED>(self.d_hidden.add(at), tail);
            let not_update = S::sub(one, update);
            // h' = (1 - z) n + z h, n = tanh(.. + r (W_hn h + b_hn))
            let d_new = S::mul(S::mul(d, not_update), S::neg_mul_add(new, new, one));
            let d_update = S::mul(S::mul(d, S::sub(h, new)), S::mul(update, not_update));
            let d_reset = S::mul(S::mul(d_new, from_hidden), S::neg_mul_add(reset, reset, reset));
            store::<S, MASKED>(gates, d_reset, tail);
            store::<S, MASKED>(gates.add(w), d_update, tail);
            store::<S, MASKED>(gates.add(2 * w), S::mul(d_new, reset), tail);
            store::<S, MASKED>(gates.add(3 * w), d_new, tail);
            store::<S, MASKED>(self.d_hidden.add(at), S::mul(d, update), tail);
        }
    }
}
