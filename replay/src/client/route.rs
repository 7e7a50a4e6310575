//! Which shard a session writes to.

/// Rendezvous hashing: the shard with the highest hash of (session, shard), so that a change of the number of shards
/// moves only the sessions that must move. `n_shards` is at least 1.
pub fn shard_of(session: u64, n_shards: usize) -> usize {
    let hash = |shard: &usize| mix(session ^ mix(*shard as u64 + 1));
    (0..n_shards).max_by_key(hash).unwrap_or(0)
}

/// The finaliser of SplitMix64: a bijection in which every bit depends on every bit.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_spread_evenly_and_few_move_when_a_shard_joins() {
        let mut counts = [0_u32; 4];
        let mut moved = 0;
        for session in 0..40_000 {
            let (before, after) = (shard_of(session, 4), shard_of(session, 5));
            counts[before] += 1;
            moved += u32::from(before != after);
            assert!(before == after || after == 4);
        }
        // 10,000 expected each, standard deviation 87; 8,000 should move, standard deviation 80.
        assert!(counts.iter().all(|count| (9_600..10_400).contains(count)), "{counts:?}");
        assert!((7_600..8_400).contains(&moved), "{moved}");
    }
}
