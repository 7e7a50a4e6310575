//! A part of a shard that an image can share with it.
//!
//! In: a value; out: the same, changed in place while nobody shares it. Whoever changes a part that is shared takes it back
//! first, by a copy if the image still has it. `Arc::make_mut` would do the same, but with two atomic operations for every
//! change, of which a stored row makes a dozen.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// See the module.
#[derive(Clone, Debug)]
pub(crate) enum Piece<T> {
    /// Nobody else has it.
    Own(T),
    /// An image may have it.
    Shared(Arc<T>),
}

impl<T> Piece<T> {
    /// The value.
    #[inline]
    pub(crate) fn get(&self) -> &T {
        match self {
            Self::Own(value) => value,
            Self::Shared(value) => value,
        }
    }
}

impl<T: Clone + Default> Piece<T> {
    /// The value, to be changed.
    #[inline]
    pub(crate) fn get_mut(&mut self) -> &mut T {
        if matches!(self, Self::Shared(_)) {
            self.take_back();
        }
        match self {
            Self::Own(value) => value,
            Self::Shared(_) => unreachable!("it was just taken back"),
        }
    }

    #[cold]
    fn take_back(&mut self) {
        if let Self::Shared(value) = self {
            *self = Self::Own(Arc::unwrap_or_clone(std::mem::take(value)));
        }
    }

    /// The value as it is now, in constant time.
    pub(crate) fn share(&mut self) -> Self {
        if let Self::Own(value) = self {
            *self = Self::Shared(Arc::new(std::mem::take(value)));
        }
        self.clone()
    }
}

impl<T: PartialEq> PartialEq for Piece<T> {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl<T: Serialize> Serialize for Piece<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.get().serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Piece<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::Own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_shared_stays_as_it_was_and_is_copied_only_while_somebody_has_it() {
        let mut piece = Piece::Own(vec![1, 2]);
        let place = piece.get().as_ptr();
        let kept = piece.share();
        piece.get_mut().push(3);
        assert_eq!((kept.get(), piece.get()), (&vec![1, 2], &vec![1, 2, 3]));
        assert_eq!(kept.get().as_ptr(), place);
        let place = piece.get().as_ptr();
        drop(piece.share());
        piece.get_mut()[0] = 9;
        assert_eq!((piece.get(), piece.get().as_ptr()), (&vec![9, 2, 3], place));
    }
}
