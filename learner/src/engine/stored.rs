//! States by name, whichever engine keeps them. In: named tensors; out: flat vectors in the order of a layout, and back.
//!
//! `{high,low}/NETWORK/...`, `{high,low}/target_NETWORK/...`, `adam/{high,low}/NETWORK/{mean,square}/...` and
//! `adam/{high,low}/NETWORK/steps`, where NETWORK is `actor`, `critic` or `critic_2`; and `updates`.

use common::config::ModelConfig;

use super::Error;
use crate::{
    algorithm::{
        layout::{Layout, Named, Role},
        settings::LevelKind,
    },
    checkpoint::{Array, Data, Tensors},
};

/// The number of updates.
pub const UPDATES: &str = "updates";

/// Names of the four vectors of a network: online, target, mean, square.
pub fn vectors(level: LevelKind, network: &str) -> [String; 4] {
    let level = level.name();
    [
        format!("{level}/{network}"),
        format!("{level}/target_{network}"),
        format!("adam/{level}/{network}/mean"),
        format!("adam/{level}/{network}/square"),
    ]
}

/// Name of the step counts of a network's optimiser.
pub fn steps(level: LevelKind, network: &str) -> String {
    format!("adam/{}/{network}/steps", level.name())
}

/// The networks of a level that are broadcast: the actor, and the critic if it is wanted or rollouts need it.
pub fn online(level: LevelKind, model: &ModelConfig, critics: bool) -> impl Iterator<Item = Role> {
    // Rollouts ask the low-level critic which of the nearest items to show (D23).
    let asked = level == LevelKind::Low && model.rescored_items > 1;
    [Role::Actor, Role::Critic].into_iter().take(1 + usize::from(critics || asked))
}

fn shape(named: &Named) -> Vec<usize> {
    named.shape.iter().map(|&x| x as usize).collect()
}

/// Writes every parameter of a flat vector under its name.
pub fn put(out: &mut Tensors, prefix: &str, layout: &Layout, data: impl Fn(&Named) -> Data) {
    for named in layout.named() {
        let array = Array { shape: shape(&named), data: data(&named) };
        out.insert(format!("{prefix}/{}", named.name), array);
    }
}

/// The flat vector of parameters stored by name.
pub fn take(state: &Tensors, prefix: &str, layout: &[Named]) -> Result<Vec<f64>, Error> {
    let mut flat = Vec::with_capacity(layout.last().map_or(0, |named| named.range.end));
    for named in layout {
        let (name, expected) = (format!("{prefix}/{}", named.name), shape(named));
        let array = state.get(&name).ok_or_else(|| Error::MissingTensor { name: name.clone() })?;
        if array.shape != expected || array.len() != named.range.len() {
            return Err(Error::Shape { name, found: array.shape.clone(), expected });
        }
        match &array.data {
            Data::F32(values) => flat.extend(values.iter().map(|&x| f64::from(x))),
            Data::F64(values) => flat.extend(values),
            Data::I64(_) => {
                return Err(Error::Kind { name, found: "whole numbers", expected: "real ones" });
            }
        }
    }
    Ok(flat)
}

/// Counts stored under a name.
pub fn counts<'a>(state: &'a Tensors, name: &str, expected: usize) -> Result<&'a [i64], Error> {
    let array = state.get(name).ok_or_else(|| Error::MissingTensor { name: name.to_owned() })?;
    let Data::I64(values) = &array.data else {
        let (found, expected) = ("real numbers", "whole ones");
        return Err(Error::Kind { name: name.to_owned(), found, expected });
    };
    if array.shape == [expected] {
        Ok(values)
    } else {
        let (found, expected) = (array.shape.clone(), vec![expected]);
        Err(Error::Shape { name: name.to_owned(), found, expected })
    }
}

/// The tensor of a state that `known` does not have, if it holds more than that.
pub fn check_unknown(state: &Tensors, n_known: usize, known: impl FnOnce() -> Tensors) -> Result<(), Error> {
    if state.len() == n_known {
        return Ok(());
    }
    let known = known();
    let name = state.keys().find(|name| !known.contains_key(*name)).cloned().unwrap_or_default();
    Err(Error::UnknownTensor { name })
}
