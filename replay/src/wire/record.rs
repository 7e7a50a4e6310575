//! The two packed records of an appended batch; their layout is in `mahrl/v1/replay.proto`.
//!
//! In: bytes; out: borrowed records, no copy. A wrong byte is an error naming the field, never a panic.

use common::{
    Feedback, ItemId,
    history::N_WINDOWS,
    transition::{Ending, PeriodStart, Shape, Step},
};

use crate::Error;

/// Bytes of a step.
pub const STEP_BYTES: usize = 8;
/// Bytes of a period start before its windows.
pub const PERIOD_HEADER_BYTES: usize = 24;
/// First byte of a period start.
const PERIOD_KIND: u8 = 0x80;

/// Bytes of a period start.
pub fn period_bytes(shape: &Shape) -> usize {
    PERIOD_HEADER_BYTES + 4 * (N_WINDOWS * shape.window + shape.n_goals * shape.n_dims)
}

/// The start of a period on a lane, borrowed from a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeriodRecord<'a> {
    pub(crate) lane: u16,
    pub(crate) period: u32,
    pub(crate) session: u64,
    pub(crate) policy_version: u64,
    /// `[3, N]` u32.
    pub(crate) windows: &'a [u8],
    /// `[M, n]` f32.
    pub(crate) goals: &'a [u8],
}

/// A step on a lane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepRecord {
    pub(crate) lane: u16,
    /// Position in the period, `0..c`.
    pub(crate) position: u8,
    pub(crate) step: Step,
}

/// Records of a batch that stand one after the other: a period start, or steps.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Run<'a> {
    Period(PeriodRecord<'a>),
    Steps(Steps<'a>),
}

/// Steps as they are packed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steps<'a>(&'a [[u8; STEP_BYTES]]);

impl<'a> Steps<'a> {
    pub(crate) fn len(self) -> usize {
        self.0.len()
    }

    /// Of a batch that was checked.
    pub(crate) fn iter(self) -> impl Iterator<Item = StepRecord> + use<'a> {
        self.0.iter().map(step)
    }

    /// Says what is wrong with the first step that has a code that is none, or an item beyond `n_items`.
    pub(super) fn check(self, n_items: usize) -> Result<(), Error> {
        let is_wrong = |bytes: &[u8; STEP_BYTES]| {
            (bytes[0] & 3 == 3) | (bytes[0] >> 2 > 2) | (item(bytes).row() >= n_items)
        };
        // All of them: without a branch a step they are looked at several at once.
        if !self.0.iter().fold(false, |any, step| any | is_wrong(step)) {
            return Ok(());
        }
        let wrong = self.0.iter().find(|step| is_wrong(step)).expect("one of them is");
        step_of_code(wrong[0], ItemId::PADDING)?;
        Err(unknown_item("item", item(wrong), n_items))
    }
}

/// An item outside the catalogue.
pub(super) fn unknown_item(field: &'static str, item: ItemId, n_items: usize) -> Error {
    Error::invalid(field, format!("item {item} is outside the catalogue of {n_items}"))
}

/// The feedback and ending of a step in one byte: feedback | ending << 2.
pub(crate) fn step_code(step: Step) -> u8 {
    step.feedback.code() | (step.ending as u8) << 2
}

/// The feedback in a code that [`step_code`] gave.
#[inline]
pub(crate) fn feedback_of_code(code: u8) -> Feedback {
    Feedback::ALL[usize::from(code & 3)]
}

/// The inverse of [`step_code`]; an error for any other byte.
pub(crate) fn step_of_code(code: u8, item: ItemId) -> Result<Step, Error> {
    let feedback = Feedback::from_code(code & 3).ok_or_else(|| {
        Error::invalid("feedback", format!("code {} is none of 0 skip, 1 click, 2 order", code & 3))
    })?;
    let ending = match code >> 2 {
        0 => Ending::None,
        1 => Ending::Terminated,
        2 => Ending::Truncated,
        other => {
            let problem = format!("code {other} is none of 0 none, 1 terminated, 2 truncated");
            return Err(Error::invalid("ending", problem));
        }
    };
    Ok(Step { item, feedback, ending })
}

/// Appends a period start. The lengths of windows and goals must have been checked.
pub(crate) fn put_period(out: &mut Vec<u8>, lane: u16, start: &PeriodStart) {
    out.extend_from_slice(&[PERIOD_KIND, 0]);
    out.extend_from_slice(&lane.to_le_bytes());
    out.extend_from_slice(&start.period.to_le_bytes());
    out.extend_from_slice(&start.session.to_le_bytes());
    out.extend_from_slice(&start.policy_version.to_le_bytes());
    out.extend_from_slice(bytemuck::cast_slice(&start.windows));
    out.extend_from_slice(bytemuck::cast_slice(&start.goals));
}

/// Appends a step.
pub(crate) fn put_step(out: &mut Vec<u8>, record: StepRecord) {
    let mut bytes = [step_code(record.step), record.position, 0, 0, 0, 0, 0, 0];
    bytes[2..4].copy_from_slice(&record.lane.to_le_bytes());
    bytes[4..].copy_from_slice(&record.step.item.0.to_le_bytes());
    out.extend_from_slice(&bytes);
}

/// Splits the first run off `bytes`; `None` where nothing is left. Codes, items and goals are not looked at.
#[inline]
pub(super) fn take<'a>(bytes: &mut &'a [u8], shape: &Shape) -> Result<Option<Run<'a>>, Error> {
    let Some(&kind) = bytes.first() else { return Ok(None) };
    if kind == PERIOD_KIND {
        let size = period_bytes(shape);
        let (record, rest) = bytes.split_at_checked(size).ok_or_else(|| cut(bytes, "period start", size))?;
        if record[1] != 0 {
            let problem = format!("byte 1 of a period start is {}, not 0", record[1]);
            return Err(Error::invalid("records", problem));
        }
        *bytes = rest;
        return Ok(Some(Run::Period(period(record, shape))));
    }
    let (steps, _) = bytes.as_chunks();
    let n = steps.iter().position(|step| step[0] == PERIOD_KIND).unwrap_or(steps.len());
    if n == 0 {
        return Err(cut(bytes, "step", STEP_BYTES));
    }
    *bytes = &bytes[n * STEP_BYTES..];
    Ok(Some(Run::Steps(Steps(&steps[..n]))))
}

#[cold]
fn cut(bytes: &[u8], what: &str, size: usize) -> Error {
    Error::invalid("records", format!("{} bytes are left of a {what} of {size}", bytes.len()))
}

/// Runs of bytes in which [`take`] has found nothing wrong, in order.
#[inline]
pub(super) fn runs<'a>(bytes: &'a [u8], shape: &'a Shape) -> impl Iterator<Item = Run<'a>> {
    let mut rest = bytes;
    std::iter::from_fn(move || take(&mut rest, shape).expect("the batch was checked"))
}

fn period<'a>(record: &'a [u8], shape: &Shape) -> PeriodRecord<'a> {
    let (windows, goals) = record[PERIOD_HEADER_BYTES..].split_at(4 * N_WINDOWS * shape.window);
    PeriodRecord {
        lane: u16::from_le_bytes([record[2], record[3]]),
        period: u32_at(record, 4),
        session: u64_at(record, 8),
        policy_version: u64_at(record, 16),
        windows,
        goals,
    }
}

#[inline]
fn step(record: &[u8; STEP_BYTES]) -> StepRecord {
    let feedback = feedback_of_code(record[0]);
    let ending = [Ending::None, Ending::Terminated, Ending::Truncated][usize::from(record[0] >> 2)];
    let step = Step { item: item(record), feedback, ending };
    StepRecord { lane: u16::from_le_bytes([record[2], record[3]]), position: record[1], step }
}

#[inline]
fn item(record: &[u8; STEP_BYTES]) -> ItemId {
    let [.., a, b, c, d] = *record;
    ItemId(u32::from_le_bytes([a, b, c, d]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("the slice is 4 bytes long"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("the slice is 8 bytes long"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{SHAPE, period_start, step};

    #[test]
    fn records_round_trip() {
        let (start, step) = (period_start(7, 3), step(5, Feedback::Order, Ending::Truncated));
        let mut bytes = Vec::new();
        put_period(&mut bytes, 513, &start);
        put_step(&mut bytes, StepRecord { lane: 2, position: 9, step });
        assert_eq!(bytes.len(), period_bytes(&SHAPE) + STEP_BYTES);
        let mut rest = &bytes[..];
        let Some(Run::Period(period)) = take(&mut rest, &SHAPE).unwrap() else { panic!("not a period") };
        assert_eq!((period.lane, period.period, period.session), (513, 3, 7));
        assert_eq!(period.policy_version, start.policy_version);
        assert_eq!(period.windows, bytemuck::cast_slice::<_, u8>(&start.windows));
        assert_eq!(period.goals, bytemuck::cast_slice::<_, u8>(&start.goals));
        let Some(Run::Steps(steps)) = take(&mut rest, &SHAPE).unwrap() else { panic!("no steps") };
        let back: Vec<_> = steps.iter().map(|back| (back.lane, back.position, back.step)).collect();
        assert_eq!(back, [(2, 9, step)]);
        assert!(take(&mut rest, &SHAPE).unwrap().is_none());
    }

    #[test]
    fn the_first_wrong_step_of_a_run_is_named_its_code_before_its_item() {
        let mut right = Vec::new();
        let step = |item| StepRecord { lane: 0, position: 0, step: step(item, Feedback::Skip, Ending::None) };
        (0..40).for_each(|item| put_step(&mut right, step(item)));
        let problem = |wrong: &[(usize, usize, u8)]| {
            let mut bytes = right.clone();
            wrong.iter().for_each(|&(step, byte, value)| bytes[step * STEP_BYTES + byte] = value);
            let mut rest = &bytes[..];
            let Some(Run::Steps(steps)) = take(&mut rest, &SHAPE).unwrap() else { panic!("no steps") };
            steps.check(50).err().map(|error| error.to_string())
        };
        assert_eq!(problem(&[]), None);
        let begins = |wrong: &[(usize, usize, u8)], field: &str| {
            let text = problem(wrong).unwrap();
            assert!(text.starts_with(field), "{text}");
        };
        begins(&[(39, 4, 50)], "item");
        begins(&[(39, 4, 50), (20, 0, 3)], "feedback");
        begins(&[(39, 0, 3), (20, 4, 77)], "item");
        begins(&[(20, 0, 12), (20, 4, 77)], "ending");
    }

    #[test]
    fn every_code_is_a_step_or_refused_by_name() {
        let steps = (0..=u8::MAX).filter_map(|code| step_of_code(code, ItemId(1)).ok().map(|s| (code, s)));
        let codes: Vec<_> = steps.inspect(|&(code, step)| assert_eq!(step_code(step), code)).collect();
        assert_eq!(codes.len(), 9);
        assert!(step_of_code(3, ItemId(1)).unwrap_err().to_string().starts_with("feedback"));
        assert!(step_of_code(12, ItemId(1)).unwrap_err().to_string().starts_with("ending"));
    }
}
