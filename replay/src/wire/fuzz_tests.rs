//! What comes over the wire, as bytes that nobody wrote: refused or taken, never a panic.

use common::transition::{HighBatch, LowBatch};
use prost::Message;
use proto::v1;

use super::{Batch, Run, columns};
use crate::{
    fuzz::fuzz,
    shard::{Opened, Shard},
    table::Level,
    testing::{SHAPE, arbitrary_records, settings},
};

#[test]
fn fuzz_a_batch() {
    let mut shard = Shard::new(&settings(), 0, 1);
    let Opened { generation, .. } = shard.open(1).unwrap();
    let mut sequence = 0;
    fuzz("batch", &[arbitrary_records()], |bytes| {
        let Ok(batch) = Batch::check(bytes.to_vec().into(), &SHAPE, 100, 1_000) else { return };
        let steps = |run| if let Run::Steps(steps) = run { steps.len() } else { 0 };
        let steps: usize = batch.runs().map(steps).sum();
        assert_eq!(steps, batch.n_steps());
        if matches!(shard.look(1, generation, sequence + 1, &batch), Some(Ok(_))) {
            let before = shard.totals()[0].inserted;
            assert!(shard.store(1, generation, sequence + 1, &batch));
            assert_eq!(shard.totals()[0].inserted, before + steps as u64);
            sequence += 1;
            shard.sample(Level::Low, 3, sequence, false);
        }
    });
    assert!(sequence > 0, "no case was right: this has tested nothing");
}

#[test]
fn fuzz_a_minibatch_and_priorities() {
    let mut shard = Shard::new(&settings(), 0, 1);
    let Opened { generation, .. } = shard.open(1).unwrap();
    let batch = Batch::check(arbitrary_records().into(), &SHAPE, 100, 1_000).unwrap();
    assert!(shard.store(1, generation, 1, &batch));
    let [low, high] = [Level::Low, Level::High].map(|level| shard.sample(level, 3, 7, false).unwrap());
    let update = v1::UpdatePrioritiesRequest {
        keys: [7_u64, 1, u64::MAX].map(u64::to_le_bytes).concat().into(),
        priorities: [1.0_f64, 0.0, 2.5].map(f64::to_le_bytes).concat().into(),
        ..v1::UpdatePrioritiesRequest::default()
    };
    let examples = [low.encode_to_vec(), high.encode_to_vec(), update.encode_to_vec()];
    let (mut rows, mut priorities) = (0, 0);
    fuzz("minibatch", &examples, |bytes| {
        if let Ok(part) = v1::SampleResponse::decode(bytes) {
            let mut low = LowBatch::default();
            if columns::extend_low(&mut low, &part, &SHAPE).is_ok() {
                assert_eq!(low.len(), part.rows as usize);
                rows += low.len();
            }
            let _refused = columns::extend_high(&mut HighBatch::default(), &part, &SHAPE);
            let _refused = columns::column::<u64>("keys", &part.keys, part.rows as usize);
        }
        if let Ok(update) = v1::UpdatePrioritiesRequest::decode(bytes)
            && let Ok((keys, values)) = columns::priorities(&update.keys, &update.priorities)
        {
            assert_eq!(keys.len(), values.len());
            priorities += keys.len();
        }
    });
    assert!(rows > 0 && priorities > 0, "{rows} rows and {priorities} priorities were right");
}
