//! Named tensors and their files.
//!
//! In: names, shapes, values; out: a safetensors file whose metadata says what it is. Writing the same tensors twice
//! gives the same bytes.

use std::{collections::BTreeMap, path::Path};

use common::files;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use sha2::{Digest, Sha256};

use crate::Error;

/// The values of a tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// Ids and codes.
    U32(Vec<u32>),
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::U32(values) => values.len(),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::F32(values) => bytemuck::cast_slice(values),
            Self::U32(values) => bytemuck::cast_slice(values),
        }
    }

    fn dtype(&self) -> Dtype {
        match self {
            Self::F32(_) => Dtype::F32,
            Self::U32(_) => Dtype::U32,
        }
    }
}

/// One tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    values: Values,
}

impl Tensor {
    /// Length of each axis.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Its values.
    pub fn values(&self) -> &Values {
        &self.values
    }
}

/// Tensors by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tensors {
    tensors: BTreeMap<String, Tensor>,
}

impl Tensors {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tensor, in place of one of the same name; an error if shape and values do not agree.
    pub fn insert(&mut self, name: &str, shape: &[usize], values: Values) -> Result<(), Error> {
        if shape.iter().product::<usize>() != values.len() {
            return Err(Error::Build(format!("tensor `{name}` {shape:?} is given {} values", values.len())));
        }
        self.tensors.insert(name.to_owned(), Tensor { shape: shape.to_vec(), values });
        Ok(())
    }

    /// A tensor, if it is there.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// All names, ascending.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The finite floats of a tensor that must be there, of the given shape.
    pub(crate) fn floats(&self, name: &str, shape: &[usize]) -> Result<&[f32], Error> {
        let Values::F32(values) = &self.expect(name, shape)?.values else {
            return Err(Error::Build(format!("tensor `{name}` holds integers, expected F32")));
        };
        match values.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(Error::Build(format!("tensor `{name}` holds {value}, not a finite number"))),
            None => Ok(values),
        }
    }

    /// The integers of a tensor that must be there, of the given shape.
    pub(crate) fn integers(&self, name: &str, shape: &[usize]) -> Result<&[u32], Error> {
        match &self.expect(name, shape)?.values {
            Values::U32(values) => Ok(values),
            Values::F32(_) => Err(Error::Build(format!("tensor `{name}` holds floats, expected U32"))),
        }
    }

    /// The shape of a tensor that must be there, with so many axes.
    pub(crate) fn axes<const N_AXES: usize>(&self, name: &str) -> Result<[usize; N_AXES], Error> {
        let shape = &self.named(name)?.shape;
        shape
            .as_slice()
            .try_into()
            .map_err(|_| Error::Build(format!("tensor `{name}` has shape {shape:?}, expected {N_AXES} axes")))
    }

    fn named(&self, name: &str) -> Result<&Tensor, Error> {
        self.get(name).ok_or_else(|| Error::Build(format!("tensor `{name}` is missing")))
    }

    fn expect(&self, name: &str, shape: &[usize]) -> Result<&Tensor, Error> {
        let tensor = self.named(name)?;
        if tensor.shape != shape {
            let found = &tensor.shape;
            return Err(Error::Build(format!("tensor `{name}` has shape {found:?}, expected {shape:?}")));
        }
        Ok(tensor)
    }

    /// SHA-256 of names, shapes and values.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for (name, tensor) in &self.tensors {
            hash.update(format!("{name} {:?} {:?}\n", tensor.values.dtype(), tensor.shape));
            hash.update(tensor.values.bytes());
        }
        hash.finalize().into()
    }

    /// Writes a file of the given format: beside it, synced, renamed.
    pub(crate) fn write(&self, path: &Path, format: &str) -> Result<(), Error> {
        let views = self.tensors.iter().map(|(name, tensor)| {
            let view = TensorView::new(tensor.values.dtype(), tensor.shape.clone(), tensor.values.bytes());
            (name, view.expect("shape and values agree since they were inserted"))
        });
        // One key only: the order of several would be that of a hash map, and differ from file to file.
        let metadata = [("format".to_owned(), format.to_owned())].into();
        let bytes = safetensors::serialize(views, Some(metadata))
            .map_err(|error| Error::Build(format!("{}: {error}", path.display())))?;
        files::write_whole(path, &bytes)
            .map_err(|source| Error::File { path: path.display().to_string(), source })
    }

    /// Reads a file of the given format.
    pub(crate) fn read(path: &Path, format: &str) -> Result<Self, Error> {
        let bytes =
            std::fs::read(path).map_err(|source| Error::File { path: path.display().to_string(), source })?;
        let refuse = |problem: String| Error::Build(format!("{}: {problem}", path.display()));
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| refuse(error.to_string()))?;
        let found = header.metadata().as_ref().and_then(|metadata| metadata.get("format"));
        if found.is_none_or(|found| found != format) {
            let found = found.map_or("none", String::as_str);
            return Err(refuse(format!("format is `{found}`, expected `{format}`")));
        }
        let views = SafeTensors::deserialize(&bytes).map_err(|error| refuse(error.to_string()))?;
        let mut tensors = Self::new();
        for (name, view) in views.iter() {
            let values = match view.dtype() {
                Dtype::F32 => Values::F32(bytemuck::pod_collect_to_vec(view.data())),
                Dtype::U32 => Values::U32(bytemuck::pod_collect_to_vec(view.data())),
                other => return Err(refuse(format!("tensor `{name}` is {other:?}, expected F32 or U32"))),
            };
            tensors.insert(name, view.shape(), values)?;
        }
        Ok(tensors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Tensors {
        let mut tensors = Tensors::new();
        tensors.insert("b", &[2, 1], Values::F32(vec![1.5, -2.0])).unwrap();
        tensors.insert("a", &[3], Values::U32(vec![1, 2, u32::MAX])).unwrap();
        tensors
    }

    #[test]
    fn a_file_round_trips_with_equal_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("1.safetensors"), folder.path().join("2.safetensors"));
        some().write(&first, "test.1").unwrap();
        let back = Tensors::read(&first, "test.1").unwrap();
        assert_eq!(back, some());
        assert_eq!(back.digest(), some().digest());
        back.write(&second, "test.1").unwrap();
        assert_eq!(std::fs::read(first).unwrap(), std::fs::read(second).unwrap());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let mut tensors = some();
        let error = tensors.insert("c", &[2, 2], Values::F32(vec![0.0; 3])).unwrap_err();
        assert_eq!(error.to_string(), "tensor `c` [2, 2] is given 3 values");
        let message = |error: Error| error.to_string();
        assert_eq!(message(tensors.floats("c", &[1]).unwrap_err()), "tensor `c` is missing");
        assert_eq!(
            message(tensors.floats("b", &[2]).unwrap_err()),
            "tensor `b` has shape [2, 1], expected [2]"
        );
        assert_eq!(
            message(tensors.floats("a", &[3]).unwrap_err()),
            "tensor `a` holds integers, expected F32"
        );
        assert_eq!(message(tensors.axes::<2>("a").unwrap_err()), "tensor `a` has shape [3], expected 2 axes");
        tensors.insert("n", &[1], Values::F32(vec![f32::NAN])).unwrap();
        assert!(message(tensors.floats("n", &[1]).unwrap_err()).contains("`n` holds NaN"));
    }

    #[test]
    fn another_format_and_a_damaged_file_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        some().write(&path, "test.1").unwrap();
        let error = Tensors::read(&path, "test.2").unwrap_err().to_string();
        assert!(error.ends_with("x.safetensors: format is `test.1`, expected `test.2`"), "{error}");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(matches!(Tensors::read(&path, "test.1"), Err(Error::Build(_))));
        let absent = folder.path().join("absent");
        assert!(matches!(Tensors::read(&absent, "test.1"), Err(Error::File { .. })));
    }
}
