//! One checkpoint as a file. In: a [`Checkpoint`]; out: safetensors, readable by any tool.
//!
//! Tensors `tensors/NAME` are the engine's, `extra/NAME` are byte strings. The metadata's one entry `checkpoint` is a JSON
//! object (several entries would be written in no fixed order) of `format`, `step`, `updates`, `config` and `sha256`, the
//! checksum of all of these in the order of their names: safetensors has none of its own. Equal checkpoints are equal
//! files.
//! Written beside the final name, synced, renamed, and the folder synced: a crash leaves the old file or the new one.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    io::ErrorKind,
    path::Path,
};

use common::files;
use safetensors::{Dtype, SafeTensors, View};
use sha2::{Digest, Sha256};

use super::{Array, Checkpoint, Error};

/// Name of the one entry of the metadata.
const METADATA: &str = "checkpoint";
/// Version of this layout.
pub const FORMAT: u32 = 1;

/// What stands in a file under one name.
enum Entry<'a> {
    Tensor(&'a Array),
    Bytes(&'a [u8], [usize; 1]),
}

impl<'a> Entry<'a> {
    fn parts(&self) -> (Dtype, &[usize], &'a [u8]) {
        match *self {
            Entry::Tensor(array) => (array.dtype(), &array.shape, array.bytes()),
            Entry::Bytes(bytes, ref shape) => (Dtype::U8, shape, bytes),
        }
    }
}

impl View for &Entry<'_> {
    fn dtype(&self) -> Dtype {
        self.parts().0
    }

    fn shape(&self) -> &[usize] {
        self.parts().1
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.parts().2)
    }

    fn data_len(&self) -> usize {
        self.parts().2.len()
    }
}

/// The checksum of the metadata and of every tensor.
fn checksum<'a>(
    metadata: &BTreeMap<String, String>,
    tensors: impl Iterator<Item = (&'a str, (Dtype, &'a [usize], &'a [u8]))>,
) -> String {
    let mut hash = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    for (key, value) in metadata {
        field(key.as_bytes());
        field(value.as_bytes());
    }
    for (name, (dtype, shape, data)) in tensors {
        field(name.as_bytes());
        field(format!("{dtype:?} {shape:?}").as_bytes());
        field(data);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of a checkpoint. Equal checkpoints give equal bytes.
fn to_bytes(checkpoint: &Checkpoint) -> Result<Vec<u8>, String> {
    let mut entries = BTreeMap::new();
    for (name, array) in &checkpoint.tensors {
        entries.insert(format!("tensors/{name}"), Entry::Tensor(array));
    }
    for (name, bytes) in &checkpoint.extra {
        entries.insert(format!("extra/{name}"), Entry::Bytes(bytes, [bytes.len()]));
    }
    let mut metadata = BTreeMap::from([
        ("format".to_owned(), FORMAT.to_string()),
        ("step".to_owned(), checkpoint.step.to_string()),
        ("updates".to_owned(), checkpoint.updates.to_string()),
        ("config".to_owned(), checkpoint.config_toml.clone()),
    ]);
    let fields = entries.iter().map(|(name, entry)| (name.as_str(), entry.parts()));
    metadata.insert("sha256".to_owned(), checksum(&metadata, fields));
    let metadata = serde_json::to_string(&metadata).map_err(|e| e.to_string())?;
    let metadata = HashMap::from([(METADATA.to_owned(), metadata)]);
    safetensors::serialize(entries.iter(), Some(metadata)).map_err(|e| e.to_string())
}

/// Writes a checkpoint under `path`, whole or not at all; see [`files::write_whole_if`].
pub fn save(
    path: &Path,
    checkpoint: &Checkpoint,
    may: impl FnOnce() -> std::io::Result<()>,
) -> Result<(), Error> {
    let error = |action| move |source| Error::File { action, path: path.to_owned(), source };
    let bytes = to_bytes(checkpoint)
        .map_err(|problem| error("write")(std::io::Error::new(ErrorKind::InvalidData, problem)))?;
    files::write_whole_if(path, &bytes, may).map_err(error("write"))
}

/// Reads a checkpoint and checks every byte of it.
pub fn load(path: &Path) -> Result<Checkpoint, Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::File {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    let damaged = |problem: String| Error::Damaged { path: path.to_owned(), problem };
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| damaged(e.to_string()))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| damaged(e.to_string()))?;
    let metadata = header.metadata().as_ref().and_then(|metadata| metadata.get(METADATA));
    let mut metadata: BTreeMap<String, String> = match metadata {
        Some(json) => serde_json::from_str(json).map_err(|e| damaged(format!("its metadata: {e}")))?,
        None => BTreeMap::new(),
    };
    let foreign = |found| Error::Format { path: path.to_owned(), found, expected: FORMAT };
    if header.metadata().as_ref().is_none_or(|metadata| metadata.is_empty()) {
        return Err(foreign("none".into()));
    }
    let expected = metadata.remove("sha256").ok_or_else(|| damaged("it has no checksum".into()))?;
    let tensors: BTreeMap<String, _> = file.tensors().into_iter().collect();
    let fields = tensors.iter().map(|(name, t)| (name.as_str(), (t.dtype(), t.shape(), t.data())));
    if checksum(&metadata, fields) != expected {
        return Err(damaged("its checksum does not fit its contents".into()));
    }
    // Of a file that is whole: a flipped bit is no other format.
    match metadata.get("format") {
        Some(format) if *format == FORMAT.to_string() => {}
        format => return Err(foreign(format.cloned().unwrap_or_else(|| "none".into()))),
    }
    let number = |key: &str| {
        let value = metadata.get(key).and_then(|value| value.parse().ok());
        value.ok_or_else(|| damaged(format!("`{key}` is no number")))
    };
    let mut checkpoint = Checkpoint {
        step: number("step")?,
        updates: number("updates")?,
        config_toml: metadata.get("config").cloned().ok_or_else(|| damaged("no `config`".into()))?,
        ..Checkpoint::default()
    };
    for (name, tensor) in &tensors {
        if let Some(name) = name.strip_prefix("extra/") {
            checkpoint.extra.insert(name.to_owned(), tensor.data().to_vec());
        } else if let (Some(name), Some(array)) = (name.strip_prefix("tensors/"), Array::read(tensor)) {
            checkpoint.tensors.insert(name.to_owned(), array);
        } else {
            return Err(damaged(format!("tensor `{name}` does not belong here")));
        }
    }
    Ok(checkpoint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Data;

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            step: 512,
            updates: 7,
            config_toml: "seed = 3\n".into(),
            tensors: BTreeMap::from([
                ("a/b".into(), Array { shape: vec![2], data: Data::F32(vec![0.5, f32::MIN_POSITIVE]) }),
                ("c".into(), Array { shape: vec![1, 1], data: Data::F64(vec![0.1]) }),
                ("steps".into(), Array::counts(vec![3, -4])),
            ]),
            extra: BTreeMap::from([("replay".into(), vec![1, 2, 3]), ("empty".into(), vec![])]),
        }
    }

    #[test]
    fn a_checkpoint_round_trips_to_the_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        save(&path, &checkpoint(), || Ok(())).unwrap();
        assert_eq!(load(&path).unwrap(), checkpoint());
        let again = folder.path().join("x.safetensors");
        let first = std::fs::read(&path).unwrap();
        save(&again, &checkpoint(), || Ok(())).unwrap();
        assert_eq!(std::fs::read(&again).unwrap(), first, "equal checkpoints are equal files");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "the partial file is gone");
    }

    #[test]
    fn any_damaged_byte_and_any_cut_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        save(&path, &checkpoint(), || Ok(())).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for i in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[i] ^= 4;
            std::fs::write(&path, &bytes).unwrap();
            match load(&path) {
                Err(error) => {
                    let message = error.to_string();
                    assert!(message.contains("x.safetensors") && message.contains("is damaged"), "{message}");
                }
                // Only the space that aligns the header carries nothing.
                Ok(found) => assert_eq!(found, checkpoint(), "byte {i}"),
            }
        }
        for length in [0, 7, 100, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            let message = load(&path).unwrap_err().to_string();
            assert!(message.contains("is damaged"), "{message}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = load(Path::new("/nowhere/x.safetensors")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /nowhere/x.safetensors");
    }

    #[test]
    fn another_format_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let none: BTreeMap<String, &Array> = BTreeMap::new();
        std::fs::write(&path, safetensors::serialize(none, None).unwrap()).unwrap();
        let message = load(&path).unwrap_err().to_string();
        assert!(message.contains("has format none, this program reads format 1"), "{message}");
    }

    #[test]
    fn fuzz_a_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let examples = [to_bytes(&checkpoint()).unwrap(), to_bytes(&Checkpoint::default()).unwrap()];
        let mut read = 0;
        crate::fuzz::fuzz("checkpoint", &examples, |bytes| {
            std::fs::write(&path, bytes).unwrap();
            if let Ok(found) = load(&path) {
                // The checksum leaves nothing else.
                assert!(found == checkpoint() || found == Checkpoint::default(), "{found:?}");
                read += 1;
            }
        });
        assert!(read > 0, "no case was right");
    }
}
