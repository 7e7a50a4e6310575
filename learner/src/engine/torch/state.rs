//! Networks and optimisers by name. In: an engine's tensors; out: plain memory, and back.

use tch::{Kind, Tensor};

use super::{Core, level::Level};
use crate::{
    algorithm::{
        layout::{Layout, Named, Role},
        settings::LevelKind,
    },
    checkpoint::{Array, Data, Tensors},
    engine::Error,
};

const UPDATES: &str = "updates";

/// The online networks in f32: what is broadcast. Without `critics` only those that rollouts need.
pub fn online(core: &Core, critics: bool) -> Tensors {
    let mut out = Tensors::new();
    for (kind, level) in core.levels() {
        // Rollouts ask the low-level critic which of the nearest items to show (D23).
        let asked = kind == LevelKind::Low && core.settings().model.rescored_items > 1;
        for role in [Role::Actor, Role::Critic].into_iter().take(1 + usize::from(critics || asked)) {
            let network = &level.trained(role).network;
            let prefix = format!("{}/{}", kind.name(), role.name());
            let flat = network.parameters().flat().to_kind(Kind::Float);
            put(&mut out, &prefix, network.layout(), &flat);
        }
    }
    out
}

/// A flat vector, its names and its prefix: everything of one level that is not a count.
fn vectors(level: &Level, name: &str) -> Vec<(String, Layout, Tensor)> {
    let mut out = Vec::new();
    for (network, trained, target) in level.networks() {
        let [mean, square] = trained.adam.moments();
        let adam = format!("adam/{name}/{network}");
        for (prefix, flat) in [
            (format!("{name}/{network}"), trained.network.parameters().flat()),
            (format!("{name}/target_{network}"), target.parameters().flat()),
            (format!("{adam}/mean"), mean),
            (format!("{adam}/square"), square),
        ] {
            out.push((prefix, trained.network.layout().clone(), flat.shallow_clone()));
        }
    }
    out
}

fn steps_name(level: LevelKind, network: &str) -> String {
    format!("adam/{}/{network}/steps", level.name())
}

/// Everything that an update depends on, in the kind of the engine.
pub fn save(core: &Core) -> Tensors {
    let mut out = Tensors::new();
    out.insert(UPDATES.into(), Array::counts(vec![core.updates() as i64]));
    for (kind, level) in core.levels() {
        for (prefix, layout, flat) in vectors(level, kind.name()) {
            put(&mut out, &prefix, &layout, &flat);
        }
        for (network, trained, _) in level.networks() {
            out.insert(steps_name(kind, network), Array::counts(trained.adam.steps()));
        }
    }
    out
}

/// Takes over what [`save`] gave, of either kind; checks all of it before it changes anything.
pub fn load(core: &mut Core, state: &Tensors) -> Result<(), Error> {
    let mut n_known = 1;
    let updates = counts(state, UPDATES, 1)?[0];
    let mut vectors_of = Vec::new();
    let mut steps_of = Vec::new();
    for (kind, level) in core.levels() {
        for (prefix, layout, flat) in vectors(level, kind.name()) {
            let named = layout.named();
            n_known += named.len();
            vectors_of.push((flat, take(state, &prefix, &named)?));
        }
        let mut steps = Vec::new();
        for (network, trained, _) in level.networks() {
            n_known += 1;
            let expected = trained.adam.steps().len();
            steps.push(counts(state, &steps_name(kind, network), expected)?);
        }
        steps_of.push((kind, steps));
    }
    if state.len() != n_known {
        let known = save(core);
        let name = state.keys().find(|name| !known.contains_key(*name)).cloned().unwrap_or_default();
        return Err(Error::UnknownTensor { name });
    }
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
    let shape = |named: &Named| named.shape.iter().map(|&x| x as usize).collect();
    if flat.kind() == Kind::Float {
        let values: Vec<f32> = Vec::try_from(flat).expect("a flat tensor of f32 is a vector");
        for named in layout.named() {
            let data = Data::F32(values[named.range.clone()].to_vec());
            out.insert(format!("{prefix}/{}", named.name), Array { shape: shape(&named), data });
        }
    } else {
        let values: Vec<f64> = Vec::try_from(flat).expect("a flat tensor of f64 is a vector");
        for named in layout.named() {
            let data = Data::F64(values[named.range.clone()].to_vec());
            out.insert(format!("{prefix}/{}", named.name), Array { shape: shape(&named), data });
        }
    }
}

/// The flat vector of parameters stored by name.
fn take(state: &Tensors, prefix: &str, layout: &[Named]) -> Result<Vec<f64>, Error> {
    let mut flat = Vec::with_capacity(layout.last().map_or(0, |named| named.range.end));
    for named in layout {
        let name = format!("{prefix}/{}", named.name);
        let expected: Vec<usize> = named.shape.iter().map(|&x| x as usize).collect();
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
fn counts<'a>(state: &'a Tensors, name: &str, expected: usize) -> Result<&'a [i64], Error> {
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
