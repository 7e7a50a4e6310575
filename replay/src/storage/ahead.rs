//! Chunks made before they are needed, on a thread of their own. In: a shape; out: chunks whose pages are there.
//!
//! A shard that is filled as fast as its files are read waits a third of its time for fresh pages, while the thread that reads is
//! mostly idle.

use std::{hint::black_box, thread};

use common::transition::Shape;
use crossbeam::channel::{Receiver, bounded};

use super::Chunk;

/// Chunks that wait: some megabytes beyond `replay.memory_mib`, until the files are read.
const AHEAD: usize = 16;
/// Numbers of 4 bytes on a page.
const PAGE: usize = 1_024;

/// Where chunks come from; `None`: they are made when they are needed. No part of what periods are.
#[derive(Debug, Default)]
pub(super) struct ChunksAhead(Option<Receiver<Chunk>>);

impl ChunksAhead {
    /// Begins to make chunks; without a thread they are made when they are needed.
    pub(super) fn start(shape: Shape) -> Self {
        let (sender, chunks) = bounded(AHEAD);
        let maker = thread::Builder::new().name("chunks-ahead".into());
        let made = maker.spawn(move || while sender.send(touched(Chunk::new(&shape))).is_ok() {});
        Self(made.is_ok().then_some(chunks))
    }

    /// A chunk, if one is ready.
    pub(super) fn next(&self) -> Option<Chunk> {
        self.0.as_ref()?.try_recv().ok()
    }
}

/// All are equal: periods are by what they hold.
impl PartialEq for ChunksAhead {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Writes to every page of the largest column of zeros, which the system would otherwise give when they are first used; windows and items
/// are written when they are made.
fn touched(mut chunk: Chunk) -> Chunk {
    chunk.goals.chunks_mut(PAGE).for_each(|page| page[0] = black_box(0.0));
    chunk
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::testing::SHAPE;

    #[test]
    fn chunks_made_ahead_are_those_made_when_needed() {
        let ahead = ChunksAhead::start(SHAPE);
        let until = Instant::now() + Duration::from_secs(60);
        for _ in 0..2 * AHEAD {
            let made = std::iter::repeat_with(|| ahead.next())
                .take_while(|_| Instant::now() < until)
                .flatten()
                .next();
            assert_eq!(made.expect("the thread makes chunks"), Chunk::new(&SHAPE));
        }
        assert!(ChunksAhead::default().next().is_none());
    }
}
