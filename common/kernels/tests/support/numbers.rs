//! Numbers that depend on a seed only.

/// A number in (-1, 1) that depends on its index only.
fn number(seed: u64, index: usize) -> f32 {
    let mut x = (index as u64)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add(seed.wrapping_mul(0xD1B5_4A32_D192_ED03));
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((x >> 40) as f32 / (1u64 << 23) as f32) - 1.0
}

/// So many of them.
pub(crate) fn numbers(seed: u64, len: usize) -> Vec<f32> {
    (0..len).map(|i| number(seed, i)).collect()
}
