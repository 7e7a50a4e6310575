//! The worlds' own references (random, popularity, logging, oracles) as compared methods.

use common::{ItemId, SessionId};
use sim::{Environment, ReferencePolicy};

use super::{Error, EvaluatedPolicy};

impl EvaluatedPolicy for ReferencePolicy {
    fn name(&self) -> &str {
        self.reference().name()
    }

    fn begin(&mut self, _slot: usize, _session: SessionId) {}

    fn choose(&mut self, environment: &dyn Environment, actions: &mut [ItemId]) -> Result<(), Error> {
        Self::choose(self, environment, actions)
            .map_err(|source| Error::World { policy: self.name().to_owned(), source })
    }

    fn fork(&self) -> Box<dyn EvaluatedPolicy> {
        Box::new(self.clone())
    }
}
