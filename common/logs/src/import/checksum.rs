//! Which bytes a log is from.

use std::{fmt::Write, fs::File, io::Read, path::PathBuf};

use sha2::{Digest, Sha256};

use super::Progress;
use crate::{Error, canonical::InputFile};

/// Size and SHA-256 of each file.
pub(super) fn inputs(paths: &[PathBuf], progress: &mut dyn FnMut(Progress)) -> Result<Vec<InputFile>, Error> {
    let mut of = 0;
    for path in paths {
        of += std::fs::metadata(path).map_err(Error::file("read", path))?.len();
    }
    let mut done = 0;
    let mut buffer = vec![0; 1 << 20];
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let mut file = File::open(path).map_err(Error::file("open", path))?;
        let mut hash = Sha256::new();
        let mut bytes = 0;
        loop {
            let read = file.read(&mut buffer).map_err(Error::file("read", path))?;
            if read == 0 {
                break;
            }
            hash.update(&buffer[..read]);
            bytes += read as u64;
            done += read as u64;
            progress(Progress::Checksum { bytes: done, of });
        }
        let sha256 = hash.finalize().iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a string takes all");
            text
        });
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push(InputFile { name, bytes, sha256 });
    }
    Ok(files)
}
