//! Frames: how records lie in files, so that a torn or damaged one is noticed.
//!
//! Layout: [`MARK`], length u32, CRC-32C of the payload u32, payload (one record of [`common::codec`]); numbers
//! little-endian. In: records; out: bytes. In: the bytes of a file, which may end anywhere; out: payloads, and what stands behind the last
//! whole one.

use common::codec;
use serde::Serialize;

/// Bytes before a payload.
pub(crate) const HEADER: usize = 12;
/// What a frame begins with. Behind a damaged frame the next one is searched for by it: by lengths and checksums alone
/// that would take minutes, as every small number could be a length.
const MARK: [u8; 4] = [0xfb, b'j', 0xf1, b'n'];

/// What stands before a payload.
pub(crate) fn header(payload: &[u8]) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&MARK);
    header[4..8].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    header[8..].copy_from_slice(&crc32c::crc32c(payload).to_le_bytes());
    header
}

/// Appends a frame; its length. After an error nothing is appended.
pub(crate) fn put(out: &mut Vec<u8>, record: &impl Serialize) -> Result<usize, codec::Error> {
    let begin = out.len();
    out.extend_from_slice(&[0; HEADER]);
    codec::append(out, record).inspect_err(|_| out.truncate(begin))?;
    let (place, payload) = out[begin..].split_at_mut(HEADER);
    place.copy_from_slice(&header(payload));
    Ok(out.len() - begin)
}

/// What stands at an offset of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// A whole frame, with its payload and where the next begins.
    Frame { payload: &'a [u8], next: usize },
    /// The file ends here.
    End,
    /// Something else: a frame that was not written in full, or damage.
    Damaged,
}

/// Looks at one offset.
pub(crate) fn at(bytes: &[u8], offset: usize) -> Found<'_> {
    let rest = &bytes[offset..];
    if rest.is_empty() {
        return Found::End;
    }
    let Some((header, rest)) = rest.split_first_chunk::<HEADER>() else { return Found::Damaged };
    let number = |k: usize| u32::from_le_bytes([header[k], header[k + 1], header[k + 2], header[k + 3]]);
    if header[..4] != MARK {
        return Found::Damaged;
    }
    let (length, crc) = (number(4) as usize, number(8));
    match rest.get(..length) {
        // No record is empty; a page of zeros is none.
        Some(payload) if length > 0 && crc32c::crc32c(payload) == crc => {
            Found::Frame { payload, next: offset + HEADER + length }
        }
        _ => Found::Damaged,
    }
}

/// How many bytes the frame lacks that these are the beginning of; `None`: more of them would not make it whole.
pub(crate) fn missing(bytes: &[u8]) -> Option<usize> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else { return Some(HEADER - bytes.len()) };
    let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
    let is_whole = header[..4] != MARK || length <= rest.len();
    (!is_whole).then(|| length - rest.len())
}

/// Whether a whole frame begins anywhere behind an offset: then what stands at it was damaged, not just not written.
pub(crate) fn is_followed(bytes: &[u8], offset: usize) -> bool {
    let behind = offset + 1;
    let marked = bytes.get(behind..).unwrap_or_default().windows(MARK.len()).enumerate();
    let mut begins = marked.filter(|(_, bytes)| *bytes == MARK).map(|(k, _)| behind + k);
    begins.any(|begin| matches!(at(bytes, begin), Found::Frame { .. }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(values: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for value in values {
            put(&mut bytes, value).unwrap();
        }
        bytes
    }

    fn read(bytes: &[u8]) -> (Vec<Vec<u8>>, usize, bool) {
        let (mut values, mut offset) = (Vec::new(), 0);
        loop {
            match at(bytes, offset) {
                Found::Frame { payload, next } => {
                    values.push(codec::decode(payload).unwrap());
                    offset = next;
                }
                end => return (values, offset, end == Found::End),
            }
        }
    }

    #[test]
    fn what_cannot_be_encoded_leaves_nothing_behind() {
        struct Never;

        impl Serialize for Never {
            fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("never"))
            }
        }

        let mut bytes = frames(&[vec![1, 2]]);
        let before = bytes.clone();
        assert!(put(&mut bytes, &(7_u64, Never)).is_err());
        assert_eq!(bytes, before);
    }

    #[test]
    fn what_a_frame_lacks_is_known_from_its_header_on() {
        let frame = frames(&[vec![7; 20]]);
        for n in 0..frame.len() {
            let expected = if n < HEADER { HEADER - n } else { frame.len() - n };
            assert_eq!(missing(&frame[..n]), Some(expected), "{n} bytes");
        }
        assert_eq!(missing(&frame), None);
        assert_eq!(missing(&[0; 30]), None);
    }

    proptest! {
        #[test]
        fn frames_round_trip_and_a_cut_at_any_byte_leaves_the_whole_ones(
            values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            cut: prop::sample::Index,
        ) {
            let bytes = frames(&values);
            prop_assert_eq!(read(&bytes), (values.clone(), bytes.len(), true));
            let cut = cut.index(bytes.len() + 1);
            let (kept, end, whole) = read(&bytes[..cut]);
            prop_assert_eq!(&kept[..], &values[..kept.len()]);
            prop_assert!(end <= cut && (whole == (end == cut)));
        }

        #[test]
        fn a_flipped_bit_is_noticed(
            values in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 1..8),
            at_: prop::sample::Index,
            bit in 0_u8..8,
        ) {
            let mut bytes = frames(&values);
            let at_ = at_.index(bytes.len());
            bytes[at_] ^= 1 << bit;
            let (kept, _, whole) = read(&bytes);
            prop_assert!(!whole && kept.len() < values.len());
            prop_assert_eq!(&kept[..], &values[..kept.len()]);
        }

        #[test]
        fn a_frame_behind_damage_is_found_and_behind_a_torn_one_there_is_none(
            values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 2..8),
            at_: prop::sample::Index,
        ) {
            let whole = frames(&values);
            let first = frames(&values[..1]).len();
            let mut bytes = whole.clone();
            bytes[at_.index(first)] ^= 1;
            prop_assert!(is_followed(&bytes, 0));
            prop_assert!(!is_followed(&whole[..first - 1 - at_.index(first - 1)], 0));
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut offset = 0;
            while let Found::Frame { next, .. } = at(&bytes, offset) {
                offset = next;
            }
            is_followed(&bytes, offset.min(bytes.len()));
        }
    }
}
