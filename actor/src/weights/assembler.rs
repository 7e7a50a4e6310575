//! Puts the frames of a version together. In: frames in the order sent; out: whole versions with the right checksum.

use common::PolicyVersion;
use proto::v1::WeightsFrame;

use super::Error;

/// Largest version that is accepted, 1 GiB.
const MAX_VERSION_BYTES: u64 = 1 << 30;
/// Bytes that are reserved ahead of what has arrived, at most: a false `total_bytes` must not take memory.
const MAX_RESERVED_BYTES: u64 = 16 << 20;

/// One version as it was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its number, from 1.
    pub version: PolicyVersion,
    /// Learner updates done when it was made.
    pub learner_step: u64,
    /// One safetensors file.
    pub data: Vec<u8>,
}

/// The frames of one version so far.
#[derive(Debug, Default)]
pub struct Assembler {
    partial: Option<Version>,
    /// The newest whole version, 0 before the first.
    newest: PolicyVersion,
}

impl Assembler {
    /// Takes the next frame; the version when it was its last. After an error the stream is to be opened again.
    pub fn push(&mut self, frame: &WeightsFrame) -> Result<Option<Version>, Error> {
        let version = frame.version;
        let frame_error = |field, found, expected| Error::Frame { version, field, found, expected };
        let partial = match &mut self.partial {
            Some(partial) if partial.version != version => {
                return Err(frame_error("version", version, partial.version));
            }
            Some(partial) => partial,
            None => {
                if version <= self.newest {
                    return Err(frame_error("version", version, self.newest + 1));
                }
                if frame.total_bytes == 0 || frame.total_bytes > MAX_VERSION_BYTES {
                    return Err(frame_error("total_bytes", frame.total_bytes, MAX_VERSION_BYTES));
                }
                let data = Vec::with_capacity(frame.total_bytes.min(MAX_RESERVED_BYTES) as usize);
                self.partial.insert(Version { version, learner_step: frame.learner_step, data })
            }
        };
        let received = partial.data.len() as u64;
        if frame.offset != received {
            return Err(frame_error("offset", frame.offset, received));
        }
        let end = received + frame.data.len() as u64;
        if frame.data.is_empty() || end > frame.total_bytes {
            return Err(frame_error("end", end, frame.total_bytes));
        }
        partial.data.extend_from_slice(&frame.data);
        if end < frame.total_bytes {
            return Ok(None);
        }
        let found = crc32c::crc32c(&partial.data);
        if found != frame.crc32c {
            return Err(Error::Checksum { version, found, expected: frame.crc32c });
        }
        self.newest = version;
        Ok(self.partial.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(version: u64, data: &'static [u8], size: usize) -> Vec<WeightsFrame> {
        let frame = |(k, part): (usize, &'static [u8])| WeightsFrame {
            run: None,
            version,
            learner_step: 10 * version,
            total_bytes: data.len() as u64,
            offset: (k * size) as u64,
            data: part.into(),
            crc32c: crc32c::crc32c(data),
            fence: 0,
        };
        data.chunks(size).enumerate().map(frame).collect()
    }

    #[test]
    fn frames_of_any_size_give_the_version_back() {
        for size in 1..=9 {
            let mut assembler = Assembler::default();
            let mut whole: Vec<_> =
                frames(3, b"mahrl 01", size).iter().filter_map(|f| assembler.push(f).unwrap()).collect();
            let version = whole.pop().unwrap();
            assert!(whole.is_empty());
            assert_eq!((version.version, version.learner_step, version.data), (3, 30, b"mahrl 01".to_vec()));
        }
    }

    #[test]
    fn a_gap_a_repeat_a_mixture_and_a_flipped_bit_are_named() {
        let good = frames(2, b"abcdef", 2);
        let push_all = |frames: &[WeightsFrame]| {
            let mut assembler = Assembler::default();
            frames.iter().try_for_each(|f| assembler.push(f).map(|_| ())).unwrap_err().to_string()
        };
        assert!(push_all(&[good[0].clone(), good[2].clone()]).contains("offset is 4, expected 2"));
        assert!(push_all(&[good[0].clone(), good[0].clone()]).contains("offset is 0, expected 2"));
        assert!(push_all(&[good[0].clone(), frames(3, b"abcdef", 2)[1].clone()]).contains("version is 3"));
        let mut flipped = good.clone();
        flipped[1].data = b"cD".as_slice().into();
        assert!(push_all(&flipped).contains("damaged"));
        assert!(push_all(&[&good[..], &good[..1]].concat()).contains("version is 2, expected 3"));
        let mut huge = good[0].clone();
        huge.total_bytes = u64::MAX;
        assert!(push_all(&[huge]).contains("total_bytes"));
    }
}
