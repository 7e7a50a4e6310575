//! The action mapping for targets (Eq 9, `target_action = mapped`). In: virtual actions `[B, n]`; out: embeddings of items
//! `[B, n]`.
//!
//! The session's own recall set and what it had shown are not stored with a transition, so a target is mapped into the
//! whole catalogue or into one set given for all (D9). Rollouts map with the crate `agent`.

use tch::Tensor;

use super::assert_shape;

/// The items that targets are mapped to.
#[derive(Debug)]
pub struct Mapping {
    /// `[K, n]` embeddings.
    embeddings: Tensor,
    /// `[n, K]` their directions.
    directions: Tensor,
}

impl Mapping {
    /// A mapping to `embeddings` `[K, n]`, none of them zero.
    pub fn new(embeddings: &Tensor) -> Self {
        assert_shape("embeddings", embeddings, &[-1, -1]);
        let length = embeddings.norm_scalaropt_dim(2, [1_i64].as_slice(), true);
        Self { embeddings: embeddings.shallow_clone(), directions: (embeddings / length).tr().contiguous() }
    }

    /// Cosines `[B, K]` of actions `[B, n]`, none of them zero, with all items.
    pub fn cosines(&self, action: &Tensor) -> Tensor {
        assert_shape("action", action, &[-1, self.directions.size()[0]]);
        (action / action.norm_scalaropt_dim(2, [1_i64].as_slice(), true)).mm(&self.directions)
    }

    /// The embedding of the item nearest in direction; ties go to the first item.
    pub fn map(&self, action: &Tensor) -> Tensor {
        assert_shape("action", action, &[-1, self.directions.size()[0]]);
        // Eq 9: argmax cos(a^, a_i); the length of a^ changes no order within a row.
        let nearest = action.mm(&self.directions).argmax(1, false);
        self.embeddings.index_select(0, &nearest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_becomes_the_item_of_the_nearest_direction() {
        let items = Tensor::from_slice(&[0.1_f64, 0.1, 1.0, 0.0, 0.0, 1.5]).view([3, 2]);
        let mapping = Mapping::new(&items);
        let actions = Tensor::from_slice(&[1.0_f64, 0.9, 1.9, 0.1, -0.1, 0.3]).view([3, 2]);
        assert_eq!(mapping.map(&actions), items);
    }

    #[test]
    fn ties_go_to_the_lowest_id() {
        let items = Tensor::from_slice(&[0.0_f64, 1.0, 2.0, 0.0, 1.0, 0.0, 0.5, 0.0]).view([4, 2]);
        let action = Tensor::from_slice(&[1.0_f64, 0.0]).view([1, 2]);
        assert_eq!(Mapping::new(&items).map(&action).double_value(&[0, 0]), 2.0);
    }

    #[test]
    fn something_is_chosen_when_every_cosine_is_negative() {
        let items = Tensor::from_slice(&[-1.0_f64, -1.0, -1.0, 0.0]).view([2, 2]);
        let action = Tensor::from_slice(&[0.1_f64, 1.0]).view([1, 2]);
        assert_eq!(Mapping::new(&items).map(&action), items.narrow(0, 1, 1));
    }
}
