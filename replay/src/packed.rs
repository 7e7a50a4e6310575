//! Columns of numbers in a record as the bytes that they are in memory, little-endian.
//!
//! In: a column; out: one field of a record, and back. serde takes a vector number by number, each as 1 to 9 bytes: a start would
//! spend a quarter of its time on that, and an append ten times as much under the shard's lock.

use std::{fmt, marker::PhantomData, ops::Deref};

use bytemuck::{AnyBitPattern, NoUninit};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

/// A column, `&[T]` or `Vec<T>`; of a field that is one anyway, `#[serde(with = "packed")]` says the same.
#[derive(Debug)]
pub(crate) struct Packed<C>(pub(crate) C);

impl<T: NoUninit, C: Deref<Target = [T]>> Serialize for Packed<C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(&self.0, serializer)
    }
}

impl<'de, T: AnyBitPattern + NoUninit> Deserialize<'de> for Packed<Vec<T>> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize(deserializer).map(Self)
    }
}

pub(crate) fn serialize<T: NoUninit, S: Serializer>(column: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytemuck::cast_slice(column))
}

pub(crate) fn deserialize<'de, T, C, D>(deserializer: D) -> Result<C, D::Error>
where
    T: AnyBitPattern + NoUninit,
    C: From<Vec<T>> + Deref<Target = [T]>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_bytes(Values(PhantomData)).map(C::from)
}

struct Values<T>(PhantomData<T>);

impl<T: AnyBitPattern + NoUninit> Visitor<'_> for Values<T> {
    type Value = Vec<T>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "bytes of numbers of {} bytes", size_of::<T>())
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<T>, E> {
        if !bytes.len().is_multiple_of(size_of::<T>()) {
            return Err(E::invalid_length(bytes.len(), &self));
        }
        // Not into memory that is cleared first. In a record they may lie anywhere.
        Ok(match bytemuck::try_cast_slice(bytes) {
            Ok(values) => values.to_vec(),
            Err(_) => bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect(),
        })
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
