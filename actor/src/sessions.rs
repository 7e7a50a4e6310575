//! Which sessions an actor plays. In: its number a of A actors and the first session f; out: f + a, f + a + A,
//! f + a + 2A, ... The union over the actors is f, f + 1, f + 2, ... whatever their number, and no session is played
//! twice.

use common::SessionId;
use serde::{Deserialize, Serialize};

/// The sessions of one actor, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionNumbers {
    next: SessionId,
    n_actors: u64,
}

impl SessionNumbers {
    /// Those of actor `actor` (`0..n_actors`), from session `first` on.
    pub fn new(first: SessionId, actor: u64, n_actors: u64) -> Self {
        assert!(actor < n_actors, "actor {actor} of {n_actors}");
        Self { next: first + actor, n_actors }
    }

    /// Whether both hand out sessions of the same actor among as many.
    pub fn is_of_same_actor(&self, other: &Self) -> bool {
        self.n_actors == other.n_actors && self.next % self.n_actors == other.next % other.n_actors
    }

    /// The next one.
    pub fn draw(&mut self) -> SessionId {
        let session = self.next;
        self.next += self.n_actors;
        session
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_union_over_the_actors_is_every_session_once() {
        for (first, n_actors) in [(0, 1), (0, 2), (1 << 28, 5)] {
            let mut drawn: Vec<_> = (0..n_actors)
                .flat_map(|actor| {
                    let mut numbers = SessionNumbers::new(first, actor, n_actors);
                    (0..20 / n_actors).map(move |_| numbers.draw())
                })
                .collect();
            drawn.sort_unstable();
            assert_eq!(drawn, (first..first + 20).collect::<Vec<_>>());
        }
    }
}
