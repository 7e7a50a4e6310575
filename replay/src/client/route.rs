//! Which shard a session writes to.

/// Rendezvous hashing: of the shards of these names, that with the highest hash of (session, name), so that a shard
/// that joins or leaves moves only the sessions that must move. `None` of no shards.
pub fn shard_of(session: u64, uids: impl IntoIterator<Item = u64>) -> Option<u64> {
    uids.into_iter().max_by_key(|uid| mix(session ^ mix(*uid)))
}

/// [`shard_of`] where shards have no names but positions `0..n_shards`, as within a process: their names are 1, 2, ...
/// `n_shards` is at least 1.
pub fn shard_at(session: u64, n_shards: usize) -> usize {
    shard_of(session, (0..n_shards as u64).map(|k| k + 1)).map_or(0, |uid| uid as usize - 1)
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
            let (before, after) = (shard_at(session, 4), shard_at(session, 5));
            counts[before] += 1;
            moved += u32::from(before != after);
            assert!(before == after || after == 4);
        }
        // 10,000 expected each, standard deviation 87; 8,000 should move, standard deviation 80.
        assert!(counts.iter().all(|count| (9_600..10_400).contains(count)), "{counts:?}");
        assert!((7_600..8_400).contains(&moved), "{moved}");
    }

    #[test]
    fn the_order_of_the_shards_does_not_matter_and_only_the_sessions_of_one_that_left_move() {
        let uids = [7_u64, 1 << 60, 12_345, 99];
        for session in 0..1_000 {
            let shard = shard_of(session, uids).unwrap();
            assert_eq!(shard_of(session, uids.into_iter().rev()), Some(shard));
            let left = shard_of(session, uids.into_iter().filter(|uid| *uid != 99)).unwrap();
            assert!(left == shard || shard == 99);
        }
        assert_eq!(shard_of(1, []), None);
    }
}
