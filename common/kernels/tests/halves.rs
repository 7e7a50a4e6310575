//! Products of 16 bits at every level of this CPU, by its own instructions where it has them, against plain f64 on rounded
//! numbers.

#[path = "support/product.rs"]
mod product;
mod support;

use kernels::{Init, Level, Pairs, RowMajor, RowMajorMut, halves};
use product::Product;
use proptest::prelude::*;

/// The nearer one of the two numbers of 16 bits around x, the even one of two as near.
fn rounded(x: f32) -> f64 {
    let below = f32::from_bits(x.to_bits() & !0xFFFF);
    let above = f32::from_bits(below.to_bits() + 0x1_0000);
    let (down, up) = (f64::from(x - below).abs(), f64::from(above - x).abs());
    let is_even = below.to_bits() >> 16 & 1 == 0;
    f64::from(if down < up || (down == up && is_even) { below } else { above })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn a_product_is_that_of_rounded_numbers(
        m in 0usize..20, n in 0usize..150, k in 0usize..80, gap in 0usize..3, transposed: bool, form in 0usize..3, seed: u64,
    ) {
        let product = Product::new((m, n, k), transposed, gap, form, seed);
        // What larger matrices left in the memory is not read.
        let (mut left, mut right) = (Pairs::default(), Pairs::default());
        for memory in [&mut left, &mut right] {
            memory.of_rows(Level::best(), (80, 160), RowMajor { data: &[f32::NAN; 80 * 160], stride: 160 });
        }
        for level in Level::available() {
            let a = if transposed {
                left.of_rows(level, (k, m), product.a()).transposed()
            } else {
                left.of_neighbours(level, (m, k), product.a()).strided()
            };
            let b = right.of_rows(level, (k, n), product.b());
            let c = product.of(|c, init| halves::gemm(level, (m, n, k.div_ceil(2)), a, b, c, init));
            product.check(level, &c, rounded);
        }
    }
}

#[test]
fn ties_go_to_the_even_number_and_what_is_not_finite_stays() {
    let bits = |bits: u32| f32::from_bits(bits);
    // 1 + 2^-8 lies between 1 (even) and 1 + 2^-7; 1 + 3 2^-8 between 1 + 2^-7 (odd) and 1 + 2^-6.
    let given = [
        bits(0x3F80_8000),
        bits(0x3F81_8000),
        -bits(0x3F80_8001),
        0.0,
        f32::MAX,
        f32::INFINITY,
        f32::NAN,
        bits(0x7F80_0001),
    ];
    let expected =
        [1.0, bits(0x3F82_0000), -bits(0x3F81_0000), 0.0, f32::INFINITY, f32::INFINITY, f32::NAN, f32::NAN];
    for level in Level::available() {
        let (mut ones, mut numbers) = (Pairs::default(), Pairs::default());
        let mut found = [[0.0; 8]; 2];
        // On the right: pairs of a row and of none.
        let left = ones.of_neighbours(level, (1, 1), RowMajor { data: &[1.0], stride: 1 });
        let right = numbers.of_rows(level, (1, 8), RowMajor { data: &given, stride: 8 });
        let out = RowMajorMut { data: &mut found[0], stride: 8 };
        halves::gemm(level, (1, 8, 1), left.strided(), right, out, Init::Zero);
        // On the left: each beside a 0.
        let left = numbers.of_neighbours(level, (8, 1), RowMajor { data: &given, stride: 1 });
        let right = ones.of_rows(level, (1, 1), RowMajor { data: &[1.0], stride: 1 });
        let out = RowMajorMut { data: &mut found[1], stride: 1 };
        halves::gemm(level, (8, 1, 1), left.strided(), right, out, Init::Zero);
        for (found, expected) in found.iter().flatten().zip(expected.iter().chain(&expected)) {
            assert!(
                found == expected || (found.is_nan() && expected.is_nan()),
                "{level}: {found} is not {expected}"
            );
        }
    }
}

#[test]
#[should_panic(expected = "does not fit")]
fn a_matrix_that_is_too_short_is_refused() {
    Pairs::default().of_rows(Level::best(), (3, 2), RowMajor { data: &[0.0; 5], stride: 2 });
}
