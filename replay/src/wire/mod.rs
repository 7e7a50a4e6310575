//! Packed bytes on the wire, their limits, and the one place where input is validated by itself.
//!
//! In: the `bytes` fields of `mahrl.v1`; out: checked records ([`Batch`]) and minibatches ([`columns`]). What a record
//! must be in the context of its writer is checked where that context lives, in [`crate::shard`].

mod batch;
pub(crate) mod columns;
#[cfg(test)]
mod fuzz_tests;
mod record;

use common::transition::Shape;
use proto::{SCHEMA_VERSION, v1};

pub(crate) use batch::Batch;
pub use record::{PERIOD_HEADER_BYTES, STEP_BYTES, period_bytes};
pub(crate) use record::{
    PeriodRecord, Run, StepRecord, feedback_of_code, put_period, put_step, step_code, step_of_code,
};

use crate::Error;

#[cfg(target_endian = "big")]
compile_error!("columns are copied between memory and the wire, which is little-endian");

/// Most bytes of records in one appended batch.
pub const MAX_BATCH_BYTES: usize = 1 << 20;
/// Most steps in one appended batch.
pub const MAX_BATCH_STEPS: usize = MAX_BATCH_BYTES / STEP_BYTES;
/// Most rows of one sample request; the client splits larger minibatches.
pub const MAX_SAMPLE_ROWS: usize = 8_192;
/// Most bytes of a sampled minibatch.
pub const MAX_SAMPLE_BYTES: usize = 64 << 20;
/// Most bytes of a snapshot.
pub const MAX_SNAPSHOT_BYTES: usize = 1 << 30;
/// Bytes of one frame of a snapshot.
pub const SNAPSHOT_FRAME_BYTES: usize = 256 << 10;
/// Most bytes of one message to the service: any of the above with its frame.
pub const MAX_MESSAGE_BYTES: usize = 4 << 20;

/// Refuses an empty or overlong name.
pub(crate) fn check_run_id(run_id: &str) -> Result<(), Error> {
    if (1..=128).contains(&run_id.len()) {
        return Ok(());
    }
    Err(Error::invalid("run.run_id", format!("{} bytes are outside 1 to 128", run_id.len())))
}

/// Refuses another schema version or another run.
pub(crate) fn check_run(run: Option<&v1::RunHeader>, run_id: &str) -> Result<(), Error> {
    let run = run.ok_or_else(|| Error::invalid("run", "is missing"))?;
    if run.schema_version != SCHEMA_VERSION {
        let problem = format!("{} is not {SCHEMA_VERSION}, the version of this build", run.schema_version);
        return Err(Error::invalid("run.schema_version", problem));
    }
    check_run_id(&run.run_id)?;
    if run.run_id != run_id {
        return Err(Error::invalid("run.run_id", format!("`{}` is not `{run_id}`", run.run_id)));
    }
    Ok(())
}

/// Refuses sizes outside the limits of `mahrl.v1.Shape`, and periods that do not fit a batch.
pub(crate) fn check_shape(shape: &Shape) -> Result<(), Error> {
    for (field, value, least, most) in [
        ("shape.window", shape.window, 1, 1_024),
        ("shape.n_steps", shape.n_steps, 1, 255),
        ("shape.n_goals", shape.n_goals, 0, shape.n_steps),
        ("shape.n_dims", shape.n_dims, 1, 4_096),
    ] {
        if !(least..=most).contains(&value) {
            return Err(Error::invalid(field, format!("{value} is outside {least} to {most}")));
        }
    }
    if period_bytes(shape) > MAX_BATCH_BYTES {
        let problem = format!("a period of {} bytes is over the limit of a batch", period_bytes(shape));
        return Err(Error::invalid("shape", problem));
    }
    Ok(())
}

/// The message form of a shape.
pub(crate) fn shape_message(shape: &Shape) -> v1::Shape {
    v1::Shape {
        window: shape.window as u32,
        n_steps: shape.n_steps as u32,
        n_goals: shape.n_goals as u32,
        n_dims: shape.n_dims as u32,
    }
}
