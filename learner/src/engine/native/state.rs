//! Networks and optimisers by name. In: an engine's levels; out: plain memory, and back.

use super::level::Level;
use crate::{
    algorithm::{
        layout::Named,
        settings::{LevelKind, Settings},
    },
    checkpoint::{Array, Data, Tensors},
    engine::{
        Error,
        stored::{self, UPDATES},
    },
};

/// A slice of a flat vector.
fn f32s(values: &[f32]) -> impl Fn(&Named) -> Data {
    |named| Data::F32(values[named.range.clone()].to_vec())
}

/// The online networks: what is broadcast. Without `critics` only those that rollouts need.
pub fn online<'a>(
    levels: impl Iterator<Item = (LevelKind, &'a Level)>,
    settings: &Settings,
    critics: bool,
) -> Tensors {
    let mut out = Tensors::new();
    for (kind, level) in levels {
        for role in stored::online(kind, &settings.model, critics) {
            let network = level.trained(role).network();
            let prefix = format!("{}/{}", kind.name(), role.name());
            stored::put(&mut out, &prefix, network.layout(), f32s(&network.values()));
        }
    }
    out
}

/// Everything that an update depends on.
pub fn save<'a>(levels: impl Iterator<Item = (LevelKind, &'a Level)>, updates: u64) -> Tensors {
    let mut out = Tensors::new();
    out.insert(UPDATES.into(), Array::counts(vec![updates as i64]));
    for (kind, level) in levels {
        for (network, trained) in level.networks() {
            for (prefix, flat) in stored::vectors(kind, network).iter().zip(trained.vectors()) {
                stored::put(&mut out, prefix, trained.network().layout(), f32s(&flat));
            }
            out.insert(stored::steps(kind, network), Array::counts(trained.steps().to_vec()));
        }
    }
    out
}

/// What [`save`] gave of one level's networks, in their order: four vectors in the layout's form, and the step counts.
pub type Restored = Vec<([Vec<f64>; 4], Vec<i64>)>;

/// Reads what [`save`] gave of a level, of this engine or another; and how many tensors that was.
pub fn read(state: &Tensors, kind: LevelKind, level: &Level) -> Result<(Restored, usize), Error> {
    let (mut restored, mut n_known) = (Vec::new(), 0);
    for (network, trained) in level.networks() {
        let named = trained.network().layout().named();
        let [online, target, mean, square] = stored::vectors(kind, network);
        let take = |prefix: &str| stored::take(state, prefix, &named);
        let vectors = [take(&online)?, take(&target)?, take(&mean)?, take(&square)?];
        let steps = stored::counts(state, &stored::steps(kind, network), trained.steps().len())?;
        restored.push((vectors, steps.to_vec()));
        n_known += 4 * named.len() + 1;
    }
    Ok((restored, n_known))
}

/// Takes over what [`read`] gave.
pub fn restore(level: &mut Level, restored: &Restored) {
    for (trained, (vectors, steps)) in level.networks_mut().zip(restored) {
        trained.restore(vectors, steps);
    }
}
