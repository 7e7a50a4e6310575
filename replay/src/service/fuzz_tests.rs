//! What opens a writer's stream, as bytes that nobody wrote, through the service: an answer, never a panic.

use prost::Message;
use proto::v1;
use tonic::Code;

use super::{
    paced_tests::serve_shard,
    tests::{append, batch, open, opening},
};
use crate::{
    ShardServer,
    fuzz::fuzz,
    testing::{arbitrary_records, settings},
};

#[test]
fn fuzz_what_opens_a_stream() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let served = runtime.block_on(async { serve_shard(ShardServer::in_memory(&settings(), 0, 1).unwrap()) });
    let first = [opening(open(1)), batch(1, arbitrary_records())];
    let examples = first.map(|request| request.encode_to_vec());
    let (mut opened, mut refused) = (0, 0);
    fuzz("opening", &examples, |bytes| {
        let Ok(request) = v1::AppendRequest::decode(bytes) else { return };
        match runtime.block_on(append(&served.shards, vec![request])) {
            Ok(_) => opened += 1,
            Err(status) => {
                assert_eq!(status.code(), Code::InvalidArgument, "{status}");
                refused += 1;
            }
        }
    });
    assert!(opened > 0 && refused > 0, "{opened} opened, {refused} refused");
    assert!(!served.server.service().is_damaged());
}
