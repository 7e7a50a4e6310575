//! A vector that is shared at the cost of next to nothing: what an image of a table is made of while the table goes on.
//!
//! In: values by index; out: the same. Values lie in chunks, each a [`Piece`].

use std::ops::{Index, IndexMut};

use crate::piece::Piece;

/// Values of a chunk.
const CHUNK: usize = 4_096;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Column<T> {
    /// All but the last are full.
    chunks: Vec<Piece<Vec<T>>>,
    len: usize,
}

impl<T> Default for Column<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), len: 0 }
    }
}

impl<T: Copy> Column<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        self.chunks.get(at / CHUNK)?.get().get(at % CHUNK)
    }

    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        // Not shared because of an index that it does not have.
        (at < self.len).then(|| &mut self[at])
    }

    pub(crate) fn push(&mut self, value: T) {
        if self.len == self.chunks.len() * CHUNK {
            self.chunks.push(Piece::Own(Vec::with_capacity(CHUNK)));
        }
        self.chunks.last_mut().expect("one was pushed").get_mut().push(value);
        self.len += 1;
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let last = self.chunks.last_mut()?.get_mut();
        let value = last.pop();
        if last.is_empty() {
            self.chunks.pop();
        }
        self.len -= usize::from(value.is_some());
        value
    }

    /// Takes a value out, the last takes its place.
    pub(crate) fn swap_remove(&mut self, at: usize) {
        let last = self.pop();
        if let (Some(place), Some(last)) = (self.get_mut(at), last) {
            *place = last;
        }
    }

    /// So many times the same value.
    pub(crate) fn filled(len: usize, value: T) -> Self {
        let mut column = Self::default();
        column.resize(len, value);
        column
    }

    /// Fills up with `value`, or drops what is too much.
    pub(crate) fn resize(&mut self, len: usize, value: T) {
        while self.len > len {
            self.pop();
        }
        while self.len < len {
            // The rest of a chunk at once.
            self.push(value);
            let more = (len - self.len).min(self.chunks.len() * CHUNK - self.len);
            let last = self.chunks.last_mut().expect("one was pushed").get_mut();
            last.resize(last.len() + more, value);
            self.len += more;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.get().iter())
    }

    pub(crate) fn to_vec(&self) -> Vec<T> {
        let mut values = Vec::with_capacity(self.len);
        self.chunks.iter().for_each(|chunk| values.extend_from_slice(chunk.get()));
        values
    }

    /// The vector as it is now, in microseconds.
    pub(crate) fn share(&mut self) -> Self {
        Self { chunks: self.chunks.iter_mut().map(Piece::share).collect(), len: self.len }
    }
}

impl<T: Copy> From<Vec<T>> for Column<T> {
    fn from(values: Vec<T>) -> Self {
        let chunk = |values: &[T]| {
            let mut chunk = Vec::with_capacity(CHUNK);
            chunk.extend_from_slice(values);
            Piece::Own(chunk)
        };
        Self { chunks: values.chunks(CHUNK).map(chunk).collect(), len: values.len() }
    }
}

impl<T> Index<usize> for Column<T> {
    type Output = T;

    fn index(&self, at: usize) -> &T {
        &self.chunks[at / CHUNK].get()[at % CHUNK]
    }
}

impl<T: Copy> IndexMut<usize> for Column<T> {
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.chunks[at / CHUNK].get_mut()[at % CHUNK]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_vector_and_a_clone_stays_as_it_was(
            begin in 0_usize..2 * CHUNK + 9,
            steps in prop::collection::vec((0_u8..4, any::<prop::sample::Index>(), any::<u32>()), 0..200),
        ) {
            let mut vector: Vec<u32> = (0..begin as u32).collect();
            let mut column = Column::from(vector.clone());
            let (kept, before) = (column.share(), vector.clone());
            for (what, at, value) in steps {
                match what {
                    0 => {
                        vector.push(value);
                        column.push(value);
                    }
                    1 => prop_assert_eq!(column.pop(), vector.pop()),
                    _ if vector.is_empty() => {}
                    2 => {
                        let at = at.index(vector.len());
                        vector.swap_remove(at);
                        column.swap_remove(at);
                    }
                    _ => {
                        let at = at.index(vector.len());
                        vector[at] = value;
                        column[at] = value;
                    }
                }
                prop_assert_eq!(column.len(), vector.len());
            }
            prop_assert_eq!(column.to_vec(), vector.clone());
            prop_assert!(column.iter().eq(&vector) && column.get(vector.len()).is_none());
            prop_assert_eq!(kept.to_vec(), before);
        }
    }
}
