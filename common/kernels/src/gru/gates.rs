//! The gates of a GRU step. In: W_i x + b_i and W_h h + b_h of each row, `[active, 3w]` in the order reset, update,
//! new; hidden states `[active, w]` in and out.

use crate::{
    dispatch::Kernel,
    math::{tanh_v, two_sigmoids},
    simd::{Simd, load, store},
};

/// Where W_i x + b_i of row i stands.
#[derive(Clone, Copy)]
pub(super) enum FromInput<'a> {
    /// Row `items[i]` of `[V, 3w]`.
    Table { table: &'a [f32], items: &'a [u32] },
    /// Row i of `[active, 3w]`.
    Rows(&'a [f32]),
}

/// Row i of W_h h + b_h stands at `i * stride`.
pub(super) struct FromHidden<'a> {
    pub(super) data: &'a [f32],
    pub(super) stride: usize,
}

/// The gates: hidden states `[active, w]` in and out.
pub(super) struct Gates<'a> {
    pub(super) width: usize,
    pub(super) active: usize,
    pub(super) from_input: FromInput<'a>,
    pub(super) from_hidden: FromHidden<'a>,
    pub(super) hidden: &'a mut [f32],
}

impl Kernel for Gates<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let w = self.width;
        // SAFETY: each row reads `3w` floats of its two sources and `w` of the hidden state; full vectors end at or
        // before w, the masked one covers exactly the rest.
        unsafe {
            let tail = S::mask(w % S::LANES);
            for row in 0..self.active {
                let x = match self.from_input {
                    FromInput::Table { table, items } => {
                        table.as_ptr().add(*items.get_unchecked(row) as usize * 3 * w)
                    }
                    FromInput::Rows(rows) => rows.as_ptr().add(row * 3 * w),
                };
                let u = self.from_hidden.data.as_ptr().add(row * self.from_hidden.stride);
                let h = self.hidden.as_mut_ptr().add(row * w);
                let mut j = 0;
                while j + S::LANES <= w {
                    gates::<S, false>(
                        [x.add(j), x.add(w + j), x.add(2 * w + j)],
                        u.add(j),
                        w,
                        h.add(j),
                        tail,
                    );
                    j += S::LANES;
                }
                if j < w {
                    gates::<S, true>([x.add(j), x.add(w + j), x.add(2 * w + j)], u.add(j), w, h.add(j), tail);
                }
            }
        }
    }
}

/// A vector of hidden units. `x` and `u` hold the reset, update and new parts `w` apart.
#[inline(always)]
unsafe fn gates<S: Simd, const MASKED: bool>(
    x: [*const f32; 3],
    u: *const f32,
    w: usize,
    h: *mut f32,
    tail: S::Mask,
) {
    // SAFETY: the caller gives pointers valid for a vector, or for its masked lanes.
    unsafe {
        let x_r = load::<S, MASKED>(x[0], tail);
        let x_z = load::<S, MASKED>(x[1], tail);
        let x_n = load::<S, MASKED>(x[2], tail);
        let u_r = load::<S, MASKED>(u, tail);
        let u_z = load::<S, MASKED>(u.add(w), tail);
        let u_n = load::<S, MASKED>(u.add(2 * w), tail);
        let before = load::<S, MASKED>(h, tail);
        let [reset, update] = two_sigmoids::<S>([S::add(x_r, u_r), S::add(x_z, u_z)]);
        let new = tanh_v::<S>(S::mul_add(reset, u_n, x_n));
        // (1 - z) n + z h
        let after = S::mul_add(update, S::sub(before, new), new);
        store::<S, MASKED>(h, after, tail);
    }
}
