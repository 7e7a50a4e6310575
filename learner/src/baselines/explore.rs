//! Random items in place of a policy's own, for methods that act while they learn.
//!
//! In: a world, a share; out: actions. The draw comes from the stream (session, step), like everything in the world.

use common::{ItemId, SessionId, seed::Streams};
use rand::RngExt;
use sim::Environment;

/// Puts a random candidate in place of a slot's action, with probability `epsilon`.
///
/// # Errors
/// The session, if it has shown all its candidates.
pub(super) fn explore(
    world: &dyn Environment,
    streams: &Streams,
    (slot, epsilon): (usize, f32),
    action: &mut ItemId,
) -> Result<(), SessionId> {
    let session = world.session(slot);
    let mut rng = streams.at(session, world.step_number(slot));
    if rng.random::<f32>() >= epsilon {
        return Ok(());
    }
    let recall = &world.recall()[slot];
    if recall.n_left() == 0 {
        return Err(session);
    }
    let position = recall.nth_left(rng.random_range(0..recall.n_left()));
    *action = recall.candidates()[position.expect("fewer than are left")];
    Ok(())
}
