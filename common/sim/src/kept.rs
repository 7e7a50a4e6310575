//! What a policy keeps of the sessions it plays, where that is the same at every step. In: a world, a slot; out: what was made of
//! its session before, or made now.
//!
//! It is used only from one step of a session to the next, one item further: a policy that is asked about other sessions, or the
//! same one again, begins anew, and chooses what it would have chosen without.

use common::SessionId;

use crate::{Environment, Error};

/// `[E]` what is kept of each slot's session.
#[derive(Clone, Debug)]
pub(crate) struct Kept<T>(Vec<Option<Of<T>>>);

#[derive(Clone, Debug)]
struct Of<T> {
    session: SessionId,
    /// Its last step.
    step: u64,
    n_candidates: usize,
    n_left: usize,
    what: T,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Default> Kept<T> {
    /// What is kept of the session in a slot; `make` makes it, in place of what is given.
    pub(crate) fn of(
        &mut self,
        environment: &dyn Environment,
        slot: usize,
        make: impl FnOnce(&mut T) -> Result<(), Error>,
    ) -> Result<&mut T, Error> {
        let (session, step) = (environment.session(slot), environment.step_number(slot));
        let recall = &environment.recall()[slot];
        let (n_candidates, n_left) = (recall.candidates().len(), recall.n_left());
        self.0.resize_with(environment.n_slots().max(self.0.len()), || None);
        let before = self.0[slot].take();
        let goes_on = before.as_ref().is_some_and(|of| {
            (of.session, of.step + 1) == (session, step)
                && (of.n_candidates, of.n_left) == (n_candidates, n_left + 1)
        });
        let mut what = before.map_or_else(T::default, |of| of.what);
        if !goes_on {
            make(&mut what)?;
        }
        Ok(&mut self.0[slot].insert(Of { session, step, n_candidates, n_left, what }).what)
    }
}
