//! Random streams. All randomness of the project comes from here.
//!
//! A stream is keyed by (seed, purpose) and addressed by (session, step), counter-based: what it yields at an
//! address does not depend on what was drawn before, on batch size, thread or process, so that policies can be
//! compared under common random numbers.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use sha2::{Digest, Sha256};

/// The generator behind every stream.
pub type Rng = ChaCha8Rng;

/// Words of a session's stream set aside for one step: 4,096 draws of 32 bits.
const WORDS_PER_STEP: u128 = 4096;

/// A family of random streams for one purpose, e.g. `"shopworld/user"`.
#[derive(Clone, Debug)]
pub struct Streams {
    root: Rng,
}

impl Streams {
    /// The streams of `purpose` under a run's seed. Different purposes are independent.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(seed.to_le_bytes());
        hash.update(purpose.as_bytes());
        Self { root: Rng::from_seed(hash.finalize().into()) }
    }

    /// The stream of a session, positioned at `step`. Room for 4,096 words before it meets the next step's.
    pub fn at(&self, session: u64, step: u64) -> Rng {
        let mut rng = self.root.clone();
        rng.set_stream(session);
        rng.set_word_pos(u128::from(step) * WORDS_PER_STEP);
        rng
    }

    /// A stream of its own for what is addressed by two numbers and draws any number of words: a shuffle draws one an element.
    pub fn long(&self, first: u64, second: u64) -> Rng {
        let mut hash = Sha256::new();
        hash.update(self.root.get_seed());
        hash.update(first.to_le_bytes());
        hash.update(second.to_le_bytes());
        Rng::from_seed(hash.finalize().into())
    }

    /// A plain sequential generator of this purpose.
    pub fn sequential(&self) -> Rng {
        self.at(0, 0)
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    #[test]
    fn a_stream_depends_on_its_address_only() {
        let streams = Streams::new(7, "test");
        let mut used = streams.at(3, 0);
        let _: [u64; 100] = std::array::from_fn(|_| used.random());
        let draw = |session, step| streams.at(session, step).random::<u64>();
        assert_eq!(draw(3, 1), draw(3, 1));
        assert_ne!(draw(3, 1), draw(3, 2));
        assert_ne!(draw(3, 1), draw(4, 1));
        assert_ne!(draw(3, 1), Streams::new(7, "other").at(3, 1).random::<u64>());
        assert_ne!(draw(3, 1), Streams::new(8, "test").at(3, 1).random::<u64>());
    }

    #[test]
    fn long_streams_do_not_run_into_each_other() {
        let streams = Streams::new(7, "test");
        let draws = |mut rng: Rng| -> Vec<u32> { (0..8192).map(|_| rng.random()).collect() };
        let of = |second| draws(streams.long(3, second));
        assert_eq!(of(0), of(0));
        assert_eq!(draws(streams.at(3, 0))[4096..], draws(streams.at(3, 1))[..4096], "short ones do");
        assert_ne!(of(0)[4096..], of(1)[..4096]);
        assert_ne!(of(1), draws(streams.long(1, 3)));
        assert_ne!(of(1), draws(Streams::new(8, "test").long(3, 1)));
    }
}
