//! Columns of numbers in a record as the bytes that they are in memory, little-endian.
//!
//! In: a column; out: one field of a record, and back. serde takes a vector number by number, each as 1 to 9 bytes: a start would
//! spend a quarter of its time on that.

use std::{fmt, marker::PhantomData, ops::Deref};

use bytemuck::{AnyBitPattern, NoUninit};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

/// A column, `&[T]` or `Vec<T>`.
#[derive(Debug)]
pub(crate) struct Packed<C>(pub(crate) C);

impl<T: NoUninit, C: Deref<Target = [T]>> Serialize for Packed<C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytemuck::cast_slice(&self.0))
    }
}

impl<'de, T: AnyBitPattern + NoUninit> Deserialize<'de> for Packed<Vec<T>> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(Bytes(PhantomData)).map(Self)
    }
}

struct Bytes<T>(PhantomData<T>);

impl<T: AnyBitPattern + NoUninit> Visitor<'_> for Bytes<T> {
    type Value = Vec<T>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "bytes of numbers of {} bytes", size_of::<T>())
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<T>, E> {
        if bytes.len().is_multiple_of(size_of::<T>()) {
            // Wherever they lie in the record, and without memory that is cleared first.
            Ok(bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect())
        } else {
            Err(E::invalid_length(bytes.len(), &self))
        }
    }
}

#[cfg(test)]
mod tests {
    use common::codec;

    use super::*;

    proptest::proptest! {
        #[test]
        fn a_column_comes_back_and_bytes_that_are_no_whole_number_of_values_are_refused(values: Vec<u32>, flags: Vec<u8>) {
            // Whatever comes before it in the record: values need not be aligned there.
            let bytes = codec::encode(&(Packed(&flags[..]), Packed(&values[..]))).unwrap();
            let (first, second): (Packed<Vec<u8>>, Packed<Vec<u32>>) = codec::decode(&bytes).unwrap();
            proptest::prop_assert_eq!((first.0, second.0), (flags.clone(), values));
            let read: Result<Packed<Vec<u64>>, _> = codec::decode(&codec::encode(&Packed(&flags[..])).unwrap());
            proptest::prop_assert_eq!(read.is_ok(), flags.len() % 8 == 0);
        }
    }
}
