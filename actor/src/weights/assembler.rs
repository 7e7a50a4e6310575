//! Puts the frames of a version together. In: frames in the order sent; out: whole versions with the right checksum, and
//! signs of life between them.

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

/// What a frame came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// A piece of a version that is not whole yet.
    Piece,
    /// The last piece of a version.
    Whole(Version),
    /// A sign of life: the learner's newest version.
    Alive {
        /// Its number; 0: none yet.
        newest: PolicyVersion,
        /// No other will follow: the run is over.
        finished: bool,
    },
}

/// The frames of one version so far.
#[derive(Debug, Default)]
pub struct Assembler {
    partial: Option<Version>,
    /// The newest whole version, 0 before the first.
    newest: PolicyVersion,
    /// Highest fencing token seen.
    fence: u64,
}

impl Assembler {
    /// A new stream begins: what the last one left half-sent will not be finished.
    pub fn begin_stream(&mut self) {
        self.partial = None;
    }

    /// The newest whole version, 0 before the first.
    pub fn newest(&self) -> PolicyVersion {
        self.newest
    }

    /// Takes the next frame. After an error the stream is to be opened again.
    pub fn push(&mut self, frame: &WeightsFrame) -> Result<Frame, Error> {
        let version = frame.version;
        if frame.fence < self.fence {
            return Err(Error::Fenced { found: frame.fence, seen: self.fence });
        }
        self.fence = frame.fence;
        let frame_error = |field, found, expected| Error::Frame { version, field, found, expected };
        let partial = match &mut self.partial {
            Some(partial) if partial.version != version => {
                return Err(frame_error("version", version, partial.version));
            }
            Some(partial) => partial,
            None if frame.total_bytes == 0 => {
                return Ok(Frame::Alive { newest: version, finished: frame.finished });
            }
            None => {
                if version <= self.newest {
                    return Err(frame_error("version", version, self.newest + 1));
                }
                if frame.total_bytes > MAX_VERSION_BYTES {
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
            return Ok(Frame::Piece);
        }
        let found = crc32c::crc32c(&partial.data);
        if found != frame.crc32c {
            return Err(Error::Checksum { version, found, expected: frame.crc32c });
        }
        self.newest = version;
        Ok(self.partial.take().map_or(Frame::Piece, Frame::Whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(version: u64, data: &'static [u8], size: usize) -> Vec<WeightsFrame> {
        let frame = |(k, part): (usize, &'static [u8])| WeightsFrame {
            version,
            learner_step: 10 * version,
            total_bytes: data.len() as u64,
            offset: (k * size) as u64,
            data: part.into(),
            crc32c: crc32c::crc32c(data),
            fence: 3,
            ..WeightsFrame::default()
        };
        data.chunks(size).enumerate().map(frame).collect()
    }

    #[test]
    fn frames_of_any_size_give_the_version_back() {
        for size in 1..=9 {
            let mut assembler = Assembler::default();
            let mut whole = Vec::new();
            for frame in frames(3, b"mahrl 01", size) {
                if let Frame::Whole(version) = assembler.push(&frame).unwrap() {
                    whole.push(version);
                }
            }
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

    #[test]
    fn a_sign_of_life_between_versions_names_the_newest_and_one_within_a_version_is_refused() {
        let mut assembler = Assembler::default();
        let good = frames(2, b"abcdef", 3);
        let alive = WeightsFrame { total_bytes: 0, data: Vec::new().into(), ..good[0].clone() };
        assert_eq!(assembler.push(&alive).unwrap(), Frame::Alive { newest: 2, finished: false });
        assert_eq!(assembler.push(&good[0]).unwrap(), Frame::Piece);
        assert!(assembler.push(&alive).is_err());
        assembler.begin_stream();
        assert_eq!(assembler.push(&good[0]).unwrap(), Frame::Piece);
        assert!(matches!(assembler.push(&good[1]).unwrap(), Frame::Whole(_)));
    }

    #[test]
    fn a_learner_that_was_replaced_is_refused() {
        let mut assembler = Assembler::default();
        let mut frames = [frames(1, b"ab", 2), frames(2, b"ab", 2)].concat();
        frames[0].fence = 4;
        assert!(assembler.push(&frames[0]).is_ok());
        let message = assembler.push(&frames[1]).unwrap_err().to_string();
        assert!(message.contains("fencing token 3") && message.contains('4'), "{message}");
    }

    #[test]
    fn fuzz_frames_of_weights() {
        use prost::Message;
        let versions = [frames(1, b"mahrl 01", 3), frames(2, b"a second version", 5)].concat();
        let alive = WeightsFrame { total_bytes: 0, data: Vec::new().into(), ..versions[0].clone() };
        let mut examples: Vec<Vec<u8>> = versions.iter().map(WeightsFrame::encode_to_vec).collect();
        examples.push(alive.encode_to_vec());
        let (mut assembler, mut whole, mut refused) = (Assembler::default(), 0, 0);
        crate::fuzz::fuzz("weights", &examples, |bytes| {
            let Ok(frame) = WeightsFrame::decode(bytes) else { return };
            let newest = assembler.newest();
            match assembler.push(&frame) {
                Ok(Frame::Whole(version)) => {
                    assert!(version.version > newest);
                    assert_eq!(crc32c::crc32c(&version.data), frame.crc32c);
                    whole += 1;
                    // From the start: a version of 2^64 - 1 would be the last.
                    assembler = Assembler::default();
                }
                Ok(_) => {}
                Err(_) => {
                    refused += 1;
                    match refused % 2 {
                        0 => assembler.begin_stream(),
                        _ => assembler = Assembler::default(),
                    }
                    // As a reader does: a right beginning behind the error.
                    let _piece = assembler.push(&versions[0]);
                    let _piece = assembler.push(&versions[1]);
                }
            }
        });
        assert!(whole > 0 && refused > 0, "{whole} versions, {refused} frames refused");
    }
}
