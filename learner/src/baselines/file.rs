//! Fitted methods on disk: safetensors, named tensors and a few texts, written whole.

use std::{collections::BTreeMap, fmt::Display, path::Path, str::FromStr};

use bytemuck::Pod;
use common::files;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::Error;

/// Version of the layout of these files.
const FORMAT: &str = "mahrl/method/1";
/// The one key of the metadata, which holds all texts as JSON: safetensors writes keys in an order that changes from run to
/// run, and equal fits must give equal files.
const METADATA: &str = "mahrl";

/// A number that a tensor may hold.
pub(super) trait Element: Pod {
    /// Its name in the file.
    const DTYPE: Dtype;
    /// Whether it may stand in a file.
    fn is_sound(&self) -> bool {
        true
    }
}

impl Element for f32 {
    const DTYPE: Dtype = Dtype::F32;
    fn is_sound(&self) -> bool {
        self.is_finite()
    }
}

impl Element for u32 {
    const DTYPE: Dtype = Dtype::U32;
}

impl Element for u64 {
    const DTYPE: Dtype = Dtype::U64;
}

struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// The contents of a file.
pub(super) struct MethodFile {
    method: &'static str,
    /// Where it was read from, for errors.
    path: String,
    texts: BTreeMap<String, String>,
    tensors: BTreeMap<String, Stored>,
}

impl MethodFile {
    /// An empty one.
    pub(super) fn new(method: &'static str) -> Self {
        Self { method, path: String::new(), texts: BTreeMap::new(), tensors: BTreeMap::new() }
    }

    /// Adds a number or a name.
    pub(super) fn text(mut self, key: &str, value: impl Display) -> Self {
        self.texts.insert(key.to_owned(), value.to_string());
        self
    }

    /// Adds a tensor, row-major.
    pub(super) fn tensor<T: Element>(mut self, name: &str, shape: &[usize], values: &[T]) -> Self {
        assert_eq!(values.len(), shape.iter().product::<usize>(), "tensor `{name}` is {shape:?}");
        let bytes = bytemuck::cast_slice(values).to_vec();
        self.tensors.insert(name.to_owned(), Stored { dtype: T::DTYPE, shape: shape.to_vec(), bytes });
        self
    }

    /// Writes all of it, atomically.
    pub(super) fn save(self, path: &Path) -> Result<(), Error> {
        let views: BTreeMap<&String, TensorView<'_>> = self
            .tensors
            .iter()
            .map(|(name, stored)| {
                let view = TensorView::new(stored.dtype, stored.shape.clone(), &stored.bytes)
                    .expect("the shape was checked when the tensor was added");
                (name, view)
            })
            .collect();
        let mut texts = self.texts.clone();
        texts.insert("format".into(), FORMAT.into());
        texts.insert("method".into(), self.method.into());
        let texts = serde_json::to_string(&texts).expect("texts are plain strings");
        let metadata = [(METADATA.to_owned(), texts)].into();
        let name = path.display().to_string();
        let bytes = safetensors::serialize(views, Some(metadata)).map_err(|e| Error::Format {
            path: name.clone(),
            method: self.method,
            problem: e.to_string(),
        })?;
        let file_error = |source| Error::File { path: name.clone(), source };
        files::write_whole(path, &bytes).map_err(file_error)
    }

    /// Reads a file of `method`.
    pub(super) fn load(path: &Path, method: &'static str) -> Result<Self, Error> {
        let name = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|source| Error::File { path: name.clone(), source })?;
        let mut file = Self { path: name, ..Self::new(method) };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| file.refuse(e))?;
        let texts = header.metadata().as_ref().and_then(|metadata| metadata.get(METADATA));
        let texts = texts.ok_or_else(|| file.refuse(format!("metadata `{METADATA}` is missing")))?;
        file.texts = serde_json::from_str(texts).map_err(|e| file.refuse(e))?;
        for (key, expected) in [("format", FORMAT), ("method", method)] {
            let found = file.texts.get(key).map(String::as_str);
            if found != Some(expected) {
                return Err(file.refuse(format!("metadata `{key}` is {found:?}, expected {expected}")));
            }
        }
        let tensors = SafeTensors::deserialize(&bytes).map_err(|e| file.refuse(e))?;
        for (name, view) in tensors.iter() {
            let stored =
                Stored { dtype: view.dtype(), shape: view.shape().to_vec(), bytes: view.data().to_vec() };
            file.tensors.insert(name.to_owned(), stored);
        }
        Ok(file)
    }

    /// A number or a name.
    pub(super) fn read_text<T: FromStr>(&self, key: &str) -> Result<T, Error> {
        self.texts
            .get(key)
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| self.refuse(format!("metadata `{key}` is missing or no such value")))
    }

    /// A tensor of this shape.
    pub(super) fn read<T: Element>(&self, name: &str, shape: &[usize]) -> Result<Vec<T>, Error> {
        let (values, found) = self.read_any(name)?;
        if found != shape {
            return Err(self.refuse(format!("tensor `{name}` is {found:?}, expected {shape:?}")));
        }
        Ok(values)
    }

    /// A tensor `[n]`, whatever n is.
    pub(super) fn read_list<T: Element>(&self, name: &str) -> Result<Vec<T>, Error> {
        Ok(self.read_any(name)?.0)
    }

    fn read_any<T: Element>(&self, name: &str) -> Result<(Vec<T>, &[usize]), Error> {
        let stored =
            self.tensors.get(name).ok_or_else(|| self.refuse(format!("tensor `{name}` is missing")))?;
        if stored.dtype != T::DTYPE {
            let (found, expected) = (stored.dtype, T::DTYPE);
            return Err(self.refuse(format!("tensor `{name}` is {found:?}, expected {expected:?}")));
        }
        let values: Vec<T> = bytemuck::pod_collect_to_vec(&stored.bytes);
        if !values.iter().all(T::is_sound) {
            return Err(self.refuse(format!("tensor `{name}` holds a number that is not finite")));
        }
        Ok((values, &stored.shape))
    }

    /// Why this file is not what was expected.
    pub(super) fn refuse(&self, problem: impl Display) -> Error {
        Error::Format { path: self.path.clone(), method: self.method, problem: problem.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reads_as_written_and_another_method_or_shape_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        MethodFile::new("fm")
            .text("width", 16)
            .tensor("weights", &[2, 1], &[1.5_f32, -2.0])
            .tensor("users", &[1], &[u64::MAX])
            .save(&path)
            .unwrap();
        let file = MethodFile::load(&path, "fm").unwrap();
        assert_eq!(file.read_text::<usize>("width").unwrap(), 16);
        assert_eq!(file.read::<f32>("weights", &[2, 1]).unwrap(), [1.5, -2.0]);
        assert_eq!(file.read_list::<u64>("users").unwrap(), [u64::MAX]);
        let refused = [
            file.read::<f32>("weights", &[1, 2]).unwrap_err(),
            file.read::<u32>("weights", &[2, 1]).unwrap_err(),
            file.read_list::<f32>("bias").unwrap_err(),
            MethodFile::load(&path, "gru").err().unwrap(),
        ];
        let expected =
            ["is [2, 1], expected [1, 2]", "is F32, expected U32", "`bias` is missing", "expected gru"];
        for (error, expected) in refused.iter().zip(expected) {
            assert!(error.to_string().ends_with(expected), "{error}");
        }
    }
}
