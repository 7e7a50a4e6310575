//! The ensemble: tensors checked and laid out to run.
//!
//! In: the catalogue and the tensors of [`super`]'s table; out: members that predict.

use std::sync::Arc;

use common::{ItemTable, history::N_WINDOWS};
use kernels::{Gru, GruParameters, Level};

use super::Tensors;
use crate::Error;

/// Classes of the softmax: skip, click, order.
pub(crate) const N_CLASSES: usize = 3;
/// Names of the encoders, in the order of the windows.
const ENCODERS: [&str; N_WINDOWS] = ["skipped", "clicked", "ordered"];

/// Sizes of the networks. All members have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Item embedding, n.
    pub n_dims: usize,
    /// Item features, F.
    pub n_features: usize,
    /// Category embedding, D.
    pub category_dims: usize,
    /// Width of the encoders, W.
    pub encoder_width: usize,
    /// Hidden width, H.
    pub hidden_width: usize,
}

impl Sizes {
    /// Length of an item's input u.
    pub(crate) fn n_inputs(&self) -> usize {
        self.n_dims + self.n_features + self.category_dims
    }
}

/// K networks over one catalogue.
#[derive(Clone, Debug)]
pub struct LearnedModel {
    pub(super) level: Level,
    items: Arc<ItemTable>,
    sizes: Sizes,
    /// `[n_items, F]`
    features: Vec<f32>,
    pub(super) members: Vec<Member>,
    digest: [u8; 32],
}

/// One network; weights transposed, so that a product reads rows.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) encoders: [Gru; N_WINDOWS],
    /// `[3 W, H]`
    pub(super) state_weight: Vec<f32>,
    /// `[H]`
    pub(super) state_bias: Vec<f32>,
    /// `[n + F + D, H]`
    pub(super) item_weight: Vec<f32>,
    /// `[H, 3]`
    pub(super) output_weight: Vec<f32>,
    /// `[3]`
    pub(super) output_bias: Vec<f32>,
    /// `[n_categories, D]`
    categories: Vec<f32>,
}

impl LearnedModel {
    /// A model of the tensors named in the module's table. An error names the tensor that is missing, left over, of
    /// another shape or not finite.
    pub fn new(items: Arc<ItemTable>, tensors: &Tensors) -> Result<Self, Error> {
        let sizes = sizes(&items, tensors)?;
        let features = match sizes.n_features {
            0 => Vec::new(),
            n_features => tensors.floats("features", &[items.n_items(), n_features])?.to_vec(),
        };
        let mut members = Vec::new();
        while members.is_empty() || tensors.get(&format!("member.{}.state.weight", members.len())).is_some() {
            members.push(Member::new(members.len(), &sizes, &items, tensors)?);
        }
        let per_member = 4 * N_WINDOWS + 5 + usize::from(sizes.category_dims > 0);
        let known = members.len() * per_member + usize::from(sizes.n_features > 0);
        if tensors.names().count() != known {
            let names: Vec<_> = tensors.names().filter(|name| !is_known(name, members.len())).collect();
            return Err(Error::Build(format!("tensors that belong to no member: {}", names.join(", "))));
        }
        Ok(Self { level: Level::best(), items, sizes, features, members, digest: tensors.digest() })
    }

    /// The catalogue.
    pub fn items(&self) -> &Arc<ItemTable> {
        &self.items
    }

    /// The networks' sizes.
    pub fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// Number of members, K.
    pub fn n_members(&self) -> usize {
        self.members.len()
    }

    /// SHA-256 of the tensors.
    pub(super) fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Appends u = [e ; f ; v] of an item, as a member sees it.
    pub(super) fn push_input(&self, member: &Member, item: common::ItemId, inputs: &mut Vec<f32>) {
        let (features, categories) = (self.sizes.n_features, self.sizes.category_dims);
        let category = self.items.categories()[item.row()] as usize;
        inputs.extend_from_slice(self.items.embedding(item));
        inputs.extend_from_slice(&self.features[item.row() * features..][..features]);
        inputs.extend_from_slice(
            member.categories.get(category * categories..).map_or(&[], |rest| &rest[..categories]),
        );
    }
}

/// Reads the sizes off the first member's shapes.
fn sizes(items: &ItemTable, tensors: &Tensors) -> Result<Sizes, Error> {
    let [hidden_width, encoded] = tensors.axes("member.0.state.weight")?;
    let [_, encoder_width] = tensors.axes("member.0.encoder.skipped.weight_hh")?;
    let optional = |name: &str| match tensors.get(name) {
        Some(_) => tensors.axes(name).map(|[_, columns]: [usize; 2]| columns),
        None => Ok(0),
    };
    let sizes = Sizes {
        n_dims: items.n_dims(),
        n_features: optional("features")?,
        category_dims: optional("member.0.category.weight")?,
        encoder_width,
        hidden_width,
    };
    if encoded != N_WINDOWS * encoder_width || hidden_width == 0 || encoder_width == 0 {
        return Err(Error::Build(format!(
            "tensor `member.0.state.weight` has shape [{hidden_width}, {encoded}], expected [H, {N_WINDOWS} W] with \
             W = {encoder_width} and neither 0"
        )));
    }
    Ok(sizes)
}

/// Whether a name can belong to one of `n_members` members or to all.
fn is_known(name: &str, n_members: usize) -> bool {
    name == "features"
        || name
            .strip_prefix("member.")
            .and_then(|rest| rest.split('.').next())
            .and_then(|member| member.parse::<usize>().ok())
            .is_some_and(|member| member < n_members)
}

impl Member {
    fn new(number: usize, sizes: &Sizes, items: &ItemTable, tensors: &Tensors) -> Result<Self, Error> {
        let Sizes { n_dims, category_dims, encoder_width: w, hidden_width: h, .. } = *sizes;
        let floats = |name: &str, shape: &[usize]| tensors.floats(&format!("member.{number}.{name}"), shape);
        let encoder = |kind: &str| -> Result<Gru, Error> {
            let part = |part: &str, shape: &[usize]| floats(&format!("encoder.{kind}.{part}"), shape);
            let parameters = GruParameters {
                weight_ih: part("weight_ih", &[3 * w, n_dims])?,
                weight_hh: part("weight_hh", &[3 * w, w])?,
                bias_ih: part("bias_ih", &[3 * w])?,
                bias_hh: part("bias_hh", &[3 * w])?,
            };
            Ok(Gru::new(n_dims, w, parameters))
        };
        let [skipped, clicked, ordered] = ENCODERS.map(encoder);
        let categories = match category_dims {
            0 => Vec::new(),
            dims => {
                let name = format!("member.{number}.category.weight");
                let [n_categories, _]: [usize; 2] = tensors.axes(&name)?;
                if let Some(code) = items.categories().iter().find(|&&code| code as usize >= n_categories) {
                    return Err(Error::Build(format!(
                        "tensor `{name}` has {n_categories} rows, but an item is of category {code}"
                    )));
                }
                tensors.floats(&name, &[n_categories, dims])?.to_vec()
            }
        };
        let n_inputs = sizes.n_inputs();
        Ok(Self {
            encoders: [skipped?, clicked?, ordered?],
            state_weight: transposed(floats("state.weight", &[h, N_WINDOWS * w])?, N_WINDOWS * w),
            state_bias: floats("state.bias", &[h])?.to_vec(),
            item_weight: transposed(floats("item.weight", &[h, n_inputs])?, n_inputs),
            output_weight: transposed(floats("output.weight", &[N_CLASSES, h])?, h),
            output_bias: floats("output.bias", &[N_CLASSES])?.to_vec(),
            categories,
        })
    }
}

/// `[rows, columns]` to `[columns, rows]`.
fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    let rows = values.len() / columns;
    (0..values.len()).map(|k| values[k % rows * columns + k / rows]).collect()
}
