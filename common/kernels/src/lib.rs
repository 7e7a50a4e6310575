//! f32 linear algebra for inference and training on CPUs. In: slices with asserted lengths; out: slices the caller owns.
//!
//! | module | what it holds |
//! |---|---|
//! | [`level`] | which instructions to use: AVX-512, AVX2 with FMA, or portable code; picked once at run time |
//! | [`gemm`](mod@gemm) | C = init + A B, or + A B + A' B', for any sizes |
//! | [`halves`] | the same of numbers rounded to 16 bits (bf16), summed in f32 |
//! | [`math`] | sigmoid, tanh and decaying exponentials with bounded error |
//! | [`gru`] | a GRU layer over ragged sequences of table rows |
//! | [`gru::training`] | its step for training, forward and backward |
//! | [`critic`] | the last layer of a critic's head, forward and backward |
//! | [`reduce`] | sums over rows, of squares; the transpose; the way back through tanh |
//! | [`adam`](mod@adam) | Adam and the soft update behind it, in one pass |
//! | [`search`] | dot products with chosen rows of a table, argmax over what is not masked |
//! | [`coded`] | which rows can have the largest product at all, from 8-bit codes |
//! | [`product_codes`] | estimates of many products, from 4-bit codes |
//! | [`inverted_file`] | the nearest rows of a large table without reading all of them |
//!
//! Every kernel is written once, generic over the vector type (`simd`), and compiled once a level (`dispatch`).
//! Invariants: a row's result has the same bits whatever else is in the batch; nothing here allocates except
//! constructors and scratch space that grows; no threads.

// Register tiles are arrays indexed alike by constants; iterators over them would hide that.
#![allow(clippy::needless_range_loop)]

pub mod adam;
pub mod coded;
pub mod critic;
mod dispatch;
pub mod gemm;
pub mod gru;
pub mod halves;
pub mod inverted_file;
pub mod level;
pub mod math;
pub mod product_codes;
pub mod reduce;
pub mod search;
mod simd;

pub use adam::{AdamState, AdamStep, adam};
pub use coded::{CodedScratch, CodedTable};
pub use gemm::{Init, RowMajor, RowMajorMut, Strided, Term, gemm, gemm_of_two, row_stride};
pub use gru::{Gru, GruParameters, GruScratch, Inputs, Sequences};
pub use halves::{Pair, Pairs};
pub use inverted_file::{Found, InvertedFile};
pub use level::Level;
pub use reduce::transpose;
pub use simd::prefetch;
