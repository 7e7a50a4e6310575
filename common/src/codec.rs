//! Records on disk: bincode with a length limit. The only file that names bincode, so that it can be replaced.

use serde::{Serialize, de::DeserializeOwned};

/// Largest record that is written or read: 1 GiB. A length prefix beyond it is refused before memory is taken.
const MAX_RECORD_BYTES: usize = 1 << 30;

/// A record that could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The value does not fit the format.
    #[error("cannot encode the record")]
    Encode(#[source] Box<bincode::error::EncodeError>),
    /// More bytes than are read back.
    #[error("the record has {0} bytes, more than 1 GiB")]
    TooLarge(usize),
    /// The bytes are no such record.
    #[error("cannot decode the record")]
    Decode(#[source] Box<bincode::error::DecodeError>),
    /// Bytes are left over behind the record.
    #[error("{0} bytes are left over behind the record")]
    Trailing(usize),
}

fn format() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<MAX_RECORD_BYTES>()
}

/// The bytes of a record.
pub fn encode(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    append(&mut bytes, value)?;
    Ok(bytes)
}

/// Appends the bytes of a record. After an error some of them may be there.
pub fn append(out: &mut Vec<u8>, value: &impl Serialize) -> Result<(), Error> {
    // bincode's own limit holds for reading only.
    let written = bincode::serde::encode_into_std_write(value, out, format());
    let length = written.map_err(|e| Error::Encode(Box::new(e)))?;
    if length > MAX_RECORD_BYTES { Err(Error::TooLarge(length)) } else { Ok(()) }
}

/// The record that fills `bytes` to the last one.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let (value, read) =
        bincode::serde::decode_from_slice(bytes, format()).map_err(|e| Error::Decode(Box::new(e)))?;
    if read < bytes.len() { Err(Error::Trailing(bytes.len() - read)) } else { Ok(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn records_round_trip(value: (u64, Vec<f32>, Option<String>)) {
            let bytes = encode(&value).unwrap();
            let back: (u64, Vec<f32>, Option<String>) = decode(&bytes).unwrap();
            proptest::prop_assert_eq!(value.0, back.0);
            proptest::prop_assert_eq!(value.2, back.2);
            proptest::prop_assert_eq!(value.1.len(), back.1.len());
        }
    }

    #[test]
    fn a_cut_or_lengthened_record_is_refused() {
        let mut bytes = encode(&vec![1_u32, 2, 3]).unwrap();
        assert!(decode::<Vec<u32>>(&bytes[..bytes.len() - 1]).is_err());
        bytes.push(0);
        assert!(matches!(decode::<Vec<u32>>(&bytes), Err(Error::Trailing(1))));
    }
}
