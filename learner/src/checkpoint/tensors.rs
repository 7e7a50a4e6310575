//! Tensors without libtorch: what crosses the engine's seam. In: numbers and a shape; out: safetensors.

use std::{borrow::Cow, collections::BTreeMap};

use safetensors::{Dtype, SafeTensors, View};

/// Named tensors, in the order of their names.
pub type Tensors = BTreeMap<String, Array>;

/// The numbers of a tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision.
    F64(Vec<f64>),
    /// Counts.
    I64(Vec<i64>),
}

/// A tensor in plain memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Sizes of the axes.
    pub shape: Vec<usize>,
    /// As many numbers as the shape says.
    pub data: Data,
}

impl Array {
    /// A vector of counts.
    pub fn counts(values: Vec<i64>) -> Self {
        Self { shape: vec![values.len()], data: Data::I64(values) }
    }

    /// Numbers in it.
    pub fn len(&self) -> usize {
        match &self.data {
            Data::F32(values) => values.len(),
            Data::F64(values) => values.len(),
            Data::I64(values) => values.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The numbers as they lie in memory.
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.data {
            Data::F32(values) => bytemuck::cast_slice(values),
            Data::F64(values) => bytemuck::cast_slice(values),
            Data::I64(values) => bytemuck::cast_slice(values),
        }
    }

    /// The array of a safetensors view; `None` for a type that is none of ours.
    pub(crate) fn read(view: &safetensors::tensor::TensorView<'_>) -> Option<Self> {
        let bytes = view.data();
        let data = match view.dtype() {
            Dtype::F32 => Data::F32(bytemuck::pod_collect_to_vec(bytes)),
            Dtype::F64 => Data::F64(bytemuck::pod_collect_to_vec(bytes)),
            Dtype::I64 => Data::I64(bytemuck::pod_collect_to_vec(bytes)),
            _ => return None,
        };
        Some(Self { shape: view.shape().to_vec(), data })
    }
}

impl View for &Array {
    fn dtype(&self) -> Dtype {
        match self.data {
            Data::F32(_) => Dtype::F32,
            Data::F64(_) => Dtype::F64,
            Data::I64(_) => Dtype::I64,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.bytes())
    }

    fn data_len(&self) -> usize {
        self.bytes().len()
    }
}

/// The safetensors form; equal tensors give equal bytes.
pub fn to_bytes(tensors: &Tensors) -> Vec<u8> {
    safetensors::serialize(tensors.iter(), None).expect("arrays hold as many numbers as their shape says")
}

/// Reads what [`to_bytes`] wrote; the error says what is wrong with the bytes.
pub fn from_bytes(bytes: &[u8]) -> Result<Tensors, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
    file.tensors()
        .into_iter()
        .map(|(name, view)| match Array::read(&view) {
            Some(array) => Ok((name, array)),
            None => Err(format!("tensor `{name}` holds {:?}, expected F32, F64 or I64", view.dtype())),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_round_trip() {
        let tensors = Tensors::from([
            ("a".to_owned(), Array { shape: vec![1, 2], data: Data::F32(vec![0.5, -1.0]) }),
            ("b".to_owned(), Array { shape: vec![1], data: Data::F64(vec![0.1]) }),
            ("c".to_owned(), Array::counts(vec![7, 8, 9])),
        ]);
        assert_eq!(from_bytes(&to_bytes(&tensors)).unwrap(), tensors);
        assert!(from_bytes(&to_bytes(&tensors)[..20]).is_err());
    }
}
