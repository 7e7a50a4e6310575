//! A trained policy on disk: safetensors, one tensor a parameter, written whole.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use common::{ItemTable, config::ItemSearch, files};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::{
    Error, HistoryGreedy, Tower,
    tower::{MIX_BIAS, NAMES, shapes},
};

/// Names the kind of file in its metadata, with the version of the layout.
const FORMAT: &str = "mahrl/history-greedy/1";

impl HistoryGreedy {
    /// Writes the parameters to `path`, atomically.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let tower = self.tower();
        let shapes = shapes(tower.n_dims, tower.width);
        let views: BTreeMap<_, _> = NAMES
            .iter()
            .zip(shapes)
            .zip(&tower.tensors)
            .map(|((&name, shape), values)| {
                let view = TensorView::new(Dtype::F32, shape, bytemuck::cast_slice(values))
                    .expect("a tower's tensors have the shapes of its layout");
                (name, view)
            })
            .collect();
        // One entry: their order in the file would be any.
        let metadata = [("format".to_owned(), FORMAT.to_owned())].into();
        let name = path.display().to_string();
        let bytes = safetensors::serialize(views, Some(metadata))
            .map_err(|e| Error::Format { path: name.clone(), problem: e.to_string() })?;
        let file_error = |source| Error::File { path: name.clone(), source };
        files::write_whole(path, &bytes).map_err(file_error)
    }

    /// Reads what [`Self::save`] wrote, for a catalogue of the same embedding size in which items are looked for in this way.
    pub fn load(path: &Path, items: Arc<ItemTable>, search: ItemSearch) -> Result<Self, Error> {
        let name = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|source| Error::File { path: name.clone(), source })?;
        let format = |problem: String| Error::Format { path: name.clone(), problem };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| format(e.to_string()))?;
        let entry = |key: &str| header.metadata().as_ref().and_then(|m| m.get(key)).cloned();
        if entry("format").as_deref() != Some(FORMAT) {
            return Err(format(format!("metadata `format` is {:?}, expected {FORMAT}", entry("format"))));
        }
        let tensors = SafeTensors::deserialize(&bytes).map_err(|e| format(e.to_string()))?;
        let tensor = |name: &str| tensors.tensor(name).map_err(|e| format(format!("tensor `{name}`: {e}")));
        let width = tensor(NAMES[MIX_BIAS])?.shape().iter().product();
        if width == 0 {
            return Err(format(format!("tensor `{}` is empty", NAMES[MIX_BIAS])));
        }
        let mut values: [Vec<f32>; NAMES.len()] = Default::default();
        for ((name, shape), values) in NAMES.iter().zip(shapes(items.n_dims(), width)).zip(&mut values) {
            let tensor = tensor(name)?;
            if tensor.dtype() != Dtype::F32 || tensor.shape() != shape {
                return Err(format(format!(
                    "tensor `{name}` is {:?} {:?}, expected F32 {shape:?}",
                    tensor.dtype(),
                    tensor.shape()
                )));
            }
            *values = bytemuck::pod_collect_to_vec(tensor.data());
            if values.iter().any(|x| !x.is_finite()) {
                return Err(format(format!("tensor `{name}` holds a number that is not finite")));
            }
        }
        Ok(Self::new(Tower { n_dims: items.n_dims(), width, tensors: values }, items, search))
    }
}

#[cfg(test)]
mod tests {
    use common::seed::Streams;

    use super::*;

    const AUTO: ItemSearch = ItemSearch::Auto;

    fn catalogue(n_dims: usize) -> Arc<ItemTable> {
        Arc::new(ItemTable::new(n_dims, 1.94, vec![1.0; 2 * n_dims], vec![0; 2], vec![0.0; 2]).unwrap())
    }

    #[test]
    fn a_saved_policy_loads_equal_and_another_catalogue_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history-greedy.safetensors");
        let policy = HistoryGreedy::new(Tower::new(4, 6, &Streams::new(0, "test"), 0), catalogue(4), AUTO);
        policy.save(&path).unwrap();
        assert_eq!(HistoryGreedy::load(&path, catalogue(4), AUTO).unwrap().tower(), policy.tower());
        let error = HistoryGreedy::load(&path, catalogue(5), AUTO).unwrap_err().to_string();
        assert!(error.contains("`skipped.weight` is F32 [4, 6], expected F32 [5, 6]"), "{error}");
    }

    #[test]
    fn a_file_of_another_kind_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("items.safetensors");
        catalogue(3).save(&path).unwrap();
        let error = HistoryGreedy::load(&path, catalogue(3), AUTO).unwrap_err().to_string();
        assert!(error.contains("items.safetensors") && error.contains("`format` is None"), "{error}");
    }
}
