//! Networks and optimisers by name. In: an engine's tensors; out: plain memory, and back.

use tch::{Kind, Tensor};

use super::{Core, level::Level};
use crate::{
    algorithm::{layout::Layout, settings::LevelKind},
    checkpoint::{Array, Data, Tensors},
    engine::{
        Error,
        stored::{self, UPDATES},
    },
};

/// The online networks in f32: what is broadcast. Without `critics` only those that rollouts need.
pub fn online(core: &Core, critics: bool) -> Tensors {
    let mut out = Tensors::new();
    for (kind, level) in core.levels() {
        for role in stored::online(kind, &core.settings().model, critics) {
            let network = &level.trained(role).network;
            let prefix = format!("{}/{}", kind.name(), role.name());
            put(&mut out, &prefix, network.layout(), &network.parameters().flat().to_kind(Kind::Float));
        }
    }
    out
}

/// A flat vector, its names and its prefix: everything of one level that is not a count.
fn vectors(level: &Level, kind: LevelKind) -> Vec<(String, Layout, Tensor)> {
    let mut out = Vec::new();
    for (network, trained, target) in level.networks() {
        let [mean, square] = trained.adam.moments();
        let flats = [trained.network.parameters().flat(), target.parameters().flat(), mean, square];
        for (prefix, flat) in stored::vectors(kind, network).into_iter().zip(flats) {
            out.push((prefix, trained.network.layout().clone(), flat.shallow_clone()));
        }
    }
    out
}

/// Everything that an update depends on, in the kind of the engine.
pub fn save(core: &Core) -> Tensors {
    let mut out = Tensors::new();
    out.insert(UPDATES.into(), Array::counts(vec![core.updates() as i64]));
    for (kind, level) in core.levels() {
        for (prefix, layout, flat) in vectors(level, kind) {
            put(&mut out, &prefix, &layout, &flat);
        }
        for (network, trained, _) in level.networks() {
            out.insert(stored::steps(kind, network), Array::counts(trained.adam.steps()));
        }
    }
    out
}

/// Takes over what [`save`] gave, of either kind; checks all of it before it changes anything.
pub fn load(core: &mut Core, state: &Tensors) -> Result<(), Error> {
    let mut n_known = 1;
    let updates = stored::counts(state, UPDATES, 1)?[0];
    let mut vectors_of = Vec::new();
    let mut steps_of = Vec::new();
    for (kind, level) in core.levels() {
        for (prefix, layout, flat) in vectors(level, kind) {
            let named = layout.named();
            n_known += named.len();
            vectors_of.push((flat, stored::take(state, &prefix, &named)?));
        }
        let mut steps = Vec::new();
        for (network, trained, _) in level.networks() {
            n_known += 1;
            let expected = trained.adam.steps().len();
            steps.push(stored::counts(state, &stored::steps(kind, network), expected)?);
        }
        steps_of.push((kind, steps));
    }
    stored::check_unknown(state, n_known, || save(core))?;
    for (mut flat, values) in vectors_of {
        flat.copy_(&Tensor::from_slice(&values));
    }
    for (kind, steps) in steps_of {
        let optimisers = core.restore(kind, updates as u64).optimisers();
        optimisers.into_iter().zip(steps).for_each(|(adam, steps)| adam.set_steps(steps));
    }
    Ok(())
}

/// Writes every parameter of a flat vector under its name.
fn put(out: &mut Tensors, prefix: &str, layout: &Layout, flat: &Tensor) {
    let flat = flat.to_device(tch::Device::Cpu).contiguous();
    if flat.kind() == Kind::Float {
        let values: Vec<f32> = Vec::try_from(flat).expect("a flat tensor of f32 is a vector");
        stored::put(out, prefix, layout, |named| Data::F32(values[named.range.clone()].to_vec()));
    } else {
        let values: Vec<f64> = Vec::try_from(flat).expect("a flat tensor of f64 is a vector");
        stored::put(out, prefix, layout, |named| Data::F64(values[named.range.clone()].to_vec()));
    }
}
