//! A set of named f32 tensors. In: safetensors bytes (f32, or bf16 as sent to actors) or a seed; out: tensors checked
//! against the layout.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use common::{config::ModelConfig, seed::Streams};
use kernels::halves;
use rand::RngExt;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::{
    Error,
    layout::{Initial, Network},
};

/// Tensors by full name, e.g. `low/actor/heads.0.bias`. Those of a file in memory stay where they are, if they can.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights<'a> {
    tensors: BTreeMap<String, Tensor<'a>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Tensor<'a> {
    shape: Vec<usize>,
    data: Cow<'a, [f32]>,
}

impl<'a> Weights<'a> {
    /// The tensors of the four networks in a file; others (targets, optimisers) are passed over.
    pub fn from_safetensors(bytes: &'a [u8]) -> Result<Self, Error> {
        let file = SafeTensors::deserialize(bytes).map_err(|e| Error::File(e.to_string()))?;
        let mut weights = Self::default();
        for (name, tensor) in file.iter() {
            if !Network::ALL.iter().any(|network| name.starts_with(network.prefix())) {
                continue;
            }
            let data = match tensor.dtype() {
                // Where they do not lie at a multiple of 4 they are copied.
                Dtype::F32 => bytemuck::try_cast_slice(tensor.data())
                    .map_or_else(|_| bytemuck::pod_collect_to_vec(tensor.data()).into(), Cow::Borrowed),
                // The upper half of an f32.
                Dtype::BF16 => {
                    let value = |b: &[u8]| f32::from_le_bytes([0, 0, b[0], b[1]]);
                    tensor.data().chunks_exact(2).map(value).collect()
                }
                other => return Err(Error::Dtype { name: name.into(), found: format!("{other:?}") }),
            };
            weights.insert(name.to_owned(), tensor.shape().to_vec(), data);
        }
        Ok(weights)
    }

    /// PyTorch's default initialisation of the actors and critics of both levels.
    pub fn random(model: &ModelConfig, seed: u64) -> Self {
        let mut rng = Streams::new(seed, "agent/initialisation").sequential();
        let mut weights = Self::default();
        for network in Network::ALL {
            for parameter in network.parameters(model) {
                let len: usize = parameter.shape.iter().product();
                let data = match parameter.initial {
                    Initial::Uniform(bound) => (0..len).map(|_| rng.random_range(-bound..=bound)).collect(),
                    Initial::All(value) => vec![value; len],
                };
                let name = format!("{}{}", network.prefix(), parameter.name);
                weights.insert(name, parameter.shape, data);
            }
        }
        weights
    }

    /// Adds or replaces a tensor.
    ///
    /// # Panics
    /// If the shape does not describe the data.
    pub fn insert(&mut self, name: String, shape: Vec<usize>, data: impl Into<Cow<'a, [f32]>>) {
        let data = data.into();
        assert_eq!(shape.iter().product::<usize>(), data.len(), "tensor `{name}` of shape {shape:?}");
        self.tensors.insert(name, Tensor { shape, data });
    }

    /// Copies what still lies in a file's bytes.
    pub fn into_owned(self) -> Weights<'static> {
        let owned = |Tensor { shape, data }: Tensor<'a>| Tensor { shape, data: data.into_owned().into() };
        Weights { tensors: self.tensors.into_iter().map(|(name, tensor)| (name, owned(tensor))).collect() }
    }

    /// The values of a tensor, row-major.
    pub fn get(&self, name: &str) -> Option<&[f32]> {
        self.tensors.get(name).map(|tensor| &*tensor.data)
    }

    /// Removes a network, e.g. a critic before a broadcast to actors.
    pub fn remove(&mut self, network: Network) {
        self.tensors.retain(|name, _| !name.starts_with(network.prefix()));
    }

    /// Whether there is any tensor of a network.
    pub fn contains(&self, network: Network) -> bool {
        self.tensors.keys().any(|name| name.starts_with(network.prefix()))
    }

    /// The file form.
    pub fn to_safetensors(&self) -> Vec<u8> {
        let bytes: BTreeMap<&str, Vec<u8>> = self
            .tensors
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor.data.iter().flat_map(|x| x.to_le_bytes()).collect()))
            .collect();
        let views = self.tensors.iter().map(|(name, tensor)| {
            let view = TensorView::new(Dtype::F32, tensor.shape.clone(), &bytes[name.as_str()]);
            (name.as_str(), view.expect("`insert` has checked the shape"))
        });
        safetensors::serialize(views, None).expect("tensors in memory serialise")
    }

    /// The tensors of a network, all there, of the layout's shapes and finite, and no others.
    pub(crate) fn network(&self, network: Network, model: &ModelConfig) -> Result<NetworkWeights<'_>, Error> {
        let parameters = network.parameters(model);
        let full = |name: &str| format!("{}{name}", network.prefix());
        for parameter in &parameters {
            let name = full(&parameter.name);
            let Some(tensor) = self.tensors.get(&name) else {
                return Err(Error::Missing { name, expected: parameter.shape.clone() });
            };
            if tensor.shape != parameter.shape {
                return Err(Error::Shape {
                    name,
                    found: tensor.shape.clone(),
                    expected: parameter.shape.clone(),
                });
            }
            // Not `all`, which ends early: this way several numbers are looked at at once.
            let are_finite = tensor.data.iter().fold(true, |all, x| all & x.is_finite());
            let mut numbers = tensor.data.iter().enumerate();
            if !are_finite && let Some((index, &value)) = numbers.find(|(_, x)| !x.is_finite()) {
                return Err(Error::NotFinite { name, index, value });
            }
        }
        let known: BTreeSet<String> = parameters.iter().map(|p| full(&p.name)).collect();
        let of_network = |name: &&String| name.starts_with(network.prefix());
        match self.tensors.keys().filter(of_network).find(|name| !known.contains(*name)) {
            Some(name) => Err(Error::Unexpected { name: name.clone() }),
            None => Ok(NetworkWeights { weights: self, network }),
        }
    }
}

fn f32s(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

/// A file of f32 tensors with every number rounded to the nearest bfloat16, ties to even: half the bytes. Tensors of
/// other types stay as they are.
pub fn to_bf16(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| Error::File(e.to_string()))?;
    let mut rounded = BTreeMap::new();
    for (name, tensor) in file.iter() {
        let (dtype, data) = match tensor.dtype() {
            Dtype::F32 => {
                (Dtype::BF16, f32s(tensor.data()).flat_map(|x| halves::rounded(x).to_le_bytes()).collect())
            }
            other => (other, tensor.data().to_vec()),
        };
        rounded.insert(name.to_owned(), (dtype, tensor.shape().to_vec(), data));
    }
    let rounded: BTreeMap<&String, &(Dtype, Vec<usize>, Vec<u8>)> = rounded.iter().collect();
    let views = rounded.iter().map(|(name, (dtype, shape, data))| {
        (name, TensorView::new(*dtype, shape.clone(), data).expect("as many numbers as before"))
    });
    safetensors::serialize(views, None).map_err(|e| Error::File(e.to_string()))
}

/// The tensors of one network, checked.
#[derive(Clone, Copy)]
pub(crate) struct NetworkWeights<'a> {
    weights: &'a Weights<'a>,
    network: Network,
}

impl<'a> NetworkWeights<'a> {
    /// A tensor of the layout, row-major.
    pub(crate) fn get(&self, name: &str) -> &'a [f32] {
        let full = format!("{}{name}", self.network.prefix());
        self.weights.get(&full).expect("the layout was checked and names this tensor")
    }
}

#[cfg(test)]
mod tests {
    use common::config::{Config, Preset};

    use super::*;

    fn model() -> ModelConfig {
        ModelConfig { n_dims: 3, encoder_width: 4, head_width: 5, ..Config::preset(Preset::Paper).model }
    }

    #[test]
    fn random_weights_survive_the_file_and_fit_the_layout() {
        let weights = Weights::random(&model(), 3);
        let file = weights.to_safetensors();
        let read = Weights::from_safetensors(&file).unwrap();
        assert_eq!(read, weights);
        for network in Network::ALL {
            read.network(network, &model()).unwrap();
        }
        assert_ne!(weights, Weights::random(&model(), 4));
        assert_eq!(weights.get("high/critic/heads.1.out.bias"), Some([1.0].as_slice()));
    }

    #[test]
    fn bad_tensors_are_named_with_what_was_found_and_expected() {
        let message = |change: fn(&mut Weights<'_>)| {
            let mut weights = Weights::random(&model(), 3);
            change(&mut weights);
            weights.network(Network::LowActor, &model()).map(|_| ()).unwrap_err().to_string()
        };
        let name = "low/actor/heads.0.bias";
        assert_eq!(
            message(|w| w.remove(Network::LowActor)),
            "tensor `low/actor/encoder.first.cell.weight_ih` is missing, expected shape [12, 3]"
        );
        assert_eq!(
            message(|w| w.insert("low/actor/heads.0.bias".into(), vec![2], vec![0.0; 2])),
            format!("tensor `{name}` has shape [2], expected [3]")
        );
        assert_eq!(
            message(|w| w.insert("low/actor/heads.0.bias".into(), vec![3], vec![0.0, f32::NAN, 0.0])),
            format!("tensor `{name}`, element 1: NaN is not a finite number")
        );
        assert_eq!(
            message(|w| w.insert("low/actor/heads.1.bias".into(), vec![3], vec![0.0; 3])),
            "tensor `low/actor/heads.1.bias` does not belong to a model of these settings"
        );
    }

    #[test]
    fn bytes_that_are_no_weights_are_refused() {
        assert!(matches!(Weights::from_safetensors(b"nonsense"), Err(Error::File(_))));
        let bytes = Weights::random(&model(), 3).to_safetensors();
        assert!(matches!(Weights::from_safetensors(&bytes[..bytes.len() - 1]), Err(Error::File(_))));
        let half = TensorView::new(Dtype::F16, vec![1], &[0, 0]).unwrap();
        let bytes = safetensors::serialize([("low/actor/heads.0.bias", half)], None).unwrap();
        let error = Weights::from_safetensors(&bytes).unwrap_err().to_string();
        assert_eq!(error, "tensor `low/actor/heads.0.bias` holds F16, expected F32");
    }

    #[test]
    fn rounded_weights_are_half_as_large_and_within_a_256th() {
        let weights = Weights::random(&model(), 4);
        let (whole, half) = (weights.to_safetensors(), to_bf16(&weights.to_safetensors()).unwrap());
        let back = Weights::from_safetensors(&half).unwrap();
        assert!(half.len() < whole.len());
        for (name, tensor) in &weights.tensors {
            for (x, y) in tensor.data.iter().zip(back.get(name).unwrap()) {
                assert!((x - y).abs() <= x.abs() / 256.0, "{name}: {x} became {y}");
            }
        }
    }
}
