//! Tables: who is drawn, who gives way, what comes back.

use common::{codec, seed::Streams};

use super::*;

#[test]
fn the_oldest_gives_way_in_order() {
    let mut table = Table::new(3, Sampling::Uniform);
    let evicted: Vec<_> = (0..8).filter_map(|slot| table.insert(Row { slot, position: 0 })).collect();
    assert_eq!(evicted.iter().map(|row| row.slot).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    let mut held: Vec<_> = table.held().map(|row| row.slot).collect();
    held.sort_unstable();
    assert_eq!(held, [5, 6, 7]);
    assert_eq!(table.counts(), Counts { inserted: 8, sampled: 0, evicted: 5 });
}

#[test]
fn names_of_rows_that_were_replaced_name_nothing_and_count_as_in_older_journals() {
    let mut table = Table::new(1, Sampling::Prioritised { exponent: 1.0 });
    let mut rng = Streams::new(1, "test").sequential();
    let mut name = |table: &mut Table| table.sample(1, &mut rng).unwrap()[0].name;
    let mut names = Vec::new();
    for slot in 0..3 {
        table.insert(Row { slot, position: 0 });
        names.push(name(&mut table));
    }
    assert_eq!(names, [1 << 32, 3 << 32, 5 << 32]);
    assert!(!table.set_priority(names[0], 9.0) && !table.set_priority(names[1], 9.0));
    assert!(table.set_priority(names[2], 9.0));
}

#[test]
fn a_table_that_shrank_and_grew_again_fills_its_free_keys_before_it_replaces() {
    for sampling in [Sampling::Uniform, Sampling::Fifo, Sampling::Prioritised { exponent: 0.5 }] {
        let mut table = Table::new(6, sampling);
        let put = |table: &mut Table, slot| table.insert(Row { slot, position: 0 }).map(|row| row.slot);
        assert_eq!((0..8).filter_map(|slot| put(&mut table, slot)).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(table.resize(3).iter().map(|row| row.slot).collect::<Vec<_>>(), [2, 3, 4]);
        assert_eq!(put(&mut table, 8), Some(5));
        assert!(table.resize(5).is_empty());
        let gone: Vec<_> = (9..14).map(|slot| put(&mut table, slot)).collect();
        assert_eq!(gone, [None, None, Some(6), Some(7), Some(8)]);
        let held: Vec<_> = table.to_deal().map(|dealt| dealt.row.slot).collect();
        assert_eq!(held, [9, 10, 11, 12, 13]);
        let restored = Table::restore(table.save(), 5).unwrap();
        assert_eq!(restored.save(), table.save());
    }
}

#[test]
fn a_restored_table_draws_and_evicts_the_same() {
    let mut table = Table::new(5, Sampling::Uniform);
    for slot in 0..13 {
        table.insert(Row { slot, position: 0 });
    }
    let mut other = Table::restore(table.save(), 5).unwrap();
    assert_eq!(other.save(), table.save());
    let streams = Streams::new(1, "test");
    for k in 0..20 {
        assert_eq!(table.sample(3, &mut streams.at(0, k)), other.sample(3, &mut streams.at(0, k)));
        let row = Row { slot: 100 + k as u32, position: 1 };
        assert_eq!(table.insert(row), other.insert(row));
    }
}

#[test]
fn the_parts_of_a_large_table_are_its_state() {
    for sampling in [Sampling::Uniform, Sampling::Fifo, Sampling::Prioritised { exponent: 0.5 }] {
        let mut table = Table::new(140_000, sampling);
        for slot in 0..150_000 {
            let _evicted = table.insert(Row { slot, position: slot as u8 % 10 });
        }
        let mut rng = Streams::new(1, "test").sequential();
        let drawn = table.sample(50, &mut rng).unwrap();
        drawn
            .iter()
            .zip(1..)
            .for_each(|(row, k)| assert!(table.set_priority(row.name, k.into()) || row.name == 0));
        assert_eq!(table.resize(139_990).len(), 10);
        let (head, parts) = table.save().into_parts();
        let parts: Vec<Vec<u8>> = parts.map(|part| codec::encode(&part).unwrap()).collect();
        assert_eq!(parts.len(), 3);
        let most = parts.iter().map(Vec::len).max().unwrap();
        assert!(codec::encode(&head).unwrap().len() < 100 && most < 2 << 20, "{most}");
        let read = |parts: &[Vec<u8>]| {
            head.clone().with_parts(parts.iter().map(|part| codec::decode(part).unwrap()).collect())
        };
        assert!(read(&parts).unwrap() == table.save());
        assert!(Table::restore(read(&parts[1..]).unwrap(), 139_990).is_err());
    }
}

#[test]
fn a_state_that_is_no_table_is_refused() {
    let mut table = Table::new(5, Sampling::Uniform);
    (0..4).for_each(|slot| assert!(table.insert(Row { slot, position: 0 }).is_none()));
    let shared = "do not share out the rows";
    for (change, problem) in [
        ((|state| state.rows.push(Row { slot: 0, position: 0 })) as fn(&mut TableState), shared),
        (|state| state.capacity = 6, "capacity 6"),
        (|state| state.free.push(3), shared),
        (|state| state.free.push(4), "key 4 is there twice or is not below 4"),
        (
            |state| {
                state.rows.push(Row { slot: 0, position: 0 });
                state.free.extend([4, 4]);
            },
            "key 4 is there twice or is not below 5",
        ),
        (|state| state.remover = SelectorState::Fifo { keys: vec![0, 1, 2, 4] }, "key 4"),
        (
            |state| {
                state.rows.push(Row { slot: 0, position: 0 });
                state.remover = SelectorState::Fifo { keys: vec![0, 1, 2, 4] };
                state.free.push(3);
            },
            shared,
        ),
        (|state| state.sampler = SelectorState::Uniform { keys: vec![0, 1, 2, 9] }, "key 9"),
        (|state| state.sampler = SelectorState::Uniform { keys: vec![0, 1, 2, 2] }, "key 2"),
        (|state| state.remover = SelectorState::Fifo { keys: vec![0, 1, 2] }, shared),
    ] {
        let mut state = table.save();
        // Counts that would do for fewer rows, too: it is not they that are wrong.
        state.counts.evicted = 10;
        assert!(Table::restore(state.clone(), 5).is_ok());
        change(&mut state);
        let error = Table::restore(state, 5).err().unwrap_or_default();
        assert!(error.contains(problem), "`{error}` is not about `{problem}`");
    }
}

/// Keys and priorities in the order in which they are drawn, and all of the state.
fn draws(selector: &mut dyn Selector) -> (Vec<Option<Selected>>, SelectorState) {
    let mut rng = Streams::new(3, "test").sequential();
    ((0..20).map(|_| selector.select(&mut rng)).collect(), selector.save())
}

proptest::proptest! {
    #[test]
    fn a_key_that_is_renewed_is_one_that_was_removed_and_inserted(
        n in 1_u32..9,
        drawn in 0_usize..12,
        priorities in proptest::collection::vec(0.1_f64..4.0, 9),
        keys in proptest::collection::vec(0_u32..9, 1..9),
    ) {
        let new: [fn() -> Box<dyn Selector>; 3] = [
            || Box::<Fifo>::default(),
            || Box::<Cycle>::default(),
            || Box::new(Prioritised::new(0.7)),
        ];
        for new in new {
            let [mut renewed, mut again] = [new(), new()];
            for selector in [&mut renewed, &mut again] {
                let mut rng = Streams::new(1, "test").sequential();
                (0..n).for_each(|key| selector.insert(key));
                (0..n).zip(&priorities).for_each(|(key, &priority)| selector.set_priority(key, priority));
                (0..drawn).for_each(|_| assert!(selector.select(&mut rng).is_some()));
            }
            for key in keys.iter().map(|key| key % n) {
                renewed.renew(key);
                again.remove(key);
                again.insert(key);
            }
            proptest::prop_assert_eq!(draws(&mut *renewed), draws(&mut *again));
        }
    }
}
