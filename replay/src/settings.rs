//! What a replay service is set to. All sizes are over all shards; [`Settings::share`] divides them.

use common::{
    config::{Config, Mode, PartialPeriods, Sampling as SamplingConfig, TableConfig},
    history::N_WINDOWS,
    transition::Shape,
};

use serde::{Deserialize, Serialize};

use crate::{Error, wire};

/// How rows are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Sampling {
    /// All alike.
    #[default]
    Uniform,
    /// In proportion to priority^`exponent`; new rows have the highest priority seen.
    Prioritised {
        /// Finite, at least 0.
        exponent: f64,
    },
    /// The oldest first, again and again from the start.
    Fifo,
}

/// Settings of one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSettings {
    /// Transitions held over all shards; a shard holds `capacity / shards`, the first `capacity % shards` of them one
    /// more. At least one a shard.
    pub capacity: usize,
    /// Transitions over all shards before the first sample; at most `capacity`. 0 stands for 1 in the table itself,
    /// but lets the ratio of the low-level table begin without this one (a run that never samples it).
    pub min_size: usize,
}

/// Couples the low-level samples to the low-level inserts (the high-level table has no ratio of its own: two of them
/// could contradict each other and block for ever).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// Low-level rows sampled for each one inserted: updates a step x rows an update.
    pub samples_per_insert: f64,
    /// How far, in samples, either side may be ahead.
    pub error_window: f64,
    /// Most steps of one appended batch; larger ones are refused.
    pub largest_insert: usize,
    /// Most rows of one sample request; larger ones are refused. At most [`wire::MAX_SAMPLE_ROWS`].
    pub largest_sample: usize,
}

impl Ratio {
    /// The ratio of a learner that does `updates_per_step` updates of `rows` low-level rows an environment step, with
    /// a window of twice the larger of one append and one sample.
    pub fn for_updates(updates_per_step: f64, rows: usize, largest_insert: usize) -> Self {
        let samples_per_insert = updates_per_step * rows as f64;
        let largest_sample = rows.min(wire::MAX_SAMPLE_ROWS);
        let error_window = 2.0 * (samples_per_insert * largest_insert as f64).max(largest_sample as f64);
        Self { samples_per_insert, error_window, largest_insert, largest_sample }
    }

    fn validate(&self) -> Result<(), Error> {
        let Self { samples_per_insert: ratio, error_window: window, largest_insert, largest_sample } = *self;
        if !(ratio.is_finite() && ratio > 0.0) {
            return Err(Error::invalid("samples_per_insert", format!("{ratio} is not a positive number")));
        }
        if !window.is_finite() {
            return Err(Error::invalid("error_window", format!("{window} is not a finite number")));
        }
        if !(1..=wire::MAX_BATCH_STEPS).contains(&largest_insert) {
            let problem = format!("{largest_insert} steps are outside 1 to {}", wire::MAX_BATCH_STEPS);
            return Err(Error::invalid("largest_insert", problem));
        }
        if !(1..=wire::MAX_SAMPLE_ROWS).contains(&largest_sample) {
            let problem = format!("{largest_sample} rows are outside 1 to {}", wire::MAX_SAMPLE_ROWS);
            return Err(Error::invalid("largest_sample", problem));
        }
        if window < ratio * largest_insert as f64 {
            let problem = format!(
                "{window} would deadlock: a batch of {largest_insert} steps at {ratio} samples an insert moves the \
                 balance by {}, so it could wait for samples that wait for it",
                ratio * largest_insert as f64
            );
            return Err(Error::invalid("error_window", problem));
        }
        if window < largest_sample as f64 {
            let problem = format!(
                "{window} would deadlock: a sample of {largest_sample} rows could wait for inserts that wait for it"
            );
            return Err(Error::invalid("error_window", problem));
        }
        Ok(())
    }
}

/// Settings of a replay service, over all its shards.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The run; other runs are refused.
    pub run_id: String,
    /// Sizes of records and batches.
    pub shape: Shape,
    /// Size of the catalogue; item ids are `0..n_items`. 0, in a [`ShardServer`](crate::ShardServer) only: that of the
    /// first writer.
    pub n_items: usize,
    /// What becomes of a period whose session ended before its c steps.
    pub partial_periods: PartialPeriods,
    /// The low-level table.
    pub low: TableSettings,
    /// The high-level table.
    pub high: TableSettings,
    /// `None` (lockstep): only the least sizes hold.
    pub ratio: Option<Ratio>,
    /// How both tables are drawn from.
    pub sampling: Sampling,
    /// Bytes of records and tables in one shard, beyond which the oldest rows give way; 0: the capacities alone hold.
    pub memory_bytes: u64,
}

impl Settings {
    /// The replay service of a configuration. `async` couples samples to inserts; a batch given as a share counts with
    /// the rows of a full table. One append holds at most 1,024 steps then, and at most a quarter of the table, so
    /// that a small table is not overrun between two samples.
    pub fn from_config(config: &Config, run_id: &str, n_items: usize) -> Self {
        let table = |t: &TableConfig| TableSettings { capacity: t.capacity, min_size: t.min_size };
        let low = &config.replay.low;
        let ratio = (config.train.mode == Mode::Async).then(|| {
            let rows = low.batch.rows(low.capacity);
            Ratio::for_updates(config.train.updates_per_step, rows, (low.capacity / 4).clamp(1, 1_024))
        });
        let mut high = table(&config.replay.high);
        if !config.model.has_high_level() {
            // Nothing is ever stored in it: nobody may wait for it.
            high.min_size = 0;
        }
        Self {
            run_id: run_id.to_owned(),
            shape: config.shape(),
            n_items,
            partial_periods: config.algorithm.partial_periods,
            low: table(low),
            high,
            ratio,
            sampling: match config.replay.sampling {
                SamplingConfig::Uniform => Sampling::Uniform,
                SamplingConfig::Prioritised => {
                    Sampling::Prioritised { exponent: config.replay.priority_exponent }
                }
                SamplingConfig::Fifo => Sampling::Fifo,
            },
            memory_bytes: config.replay.memory_mib << 20,
        }
    }

    /// Refuses what cannot work, and what must block for ever, with the reason; for shards of one process, whose contents
    /// are checkpointed over the wire.
    pub fn validate(&self, n_shards: usize) -> Result<(), Error> {
        self.validate_shards(n_shards)?;
        if self.n_items == 0 {
            return Err(Error::invalid("n_items", "0 is outside 1 to 4294967294"));
        }
        let (bytes, most) = (self.snapshot_bytes(n_shards), wire::MAX_SNAPSHOT_BYTES as u64);
        if bytes > most {
            let problem = format!(
                "{} would make checkpoints of about {} MiB a shard, at most {} MiB can be restored: take more shards \
                 or a smaller capacity",
                self.low.capacity,
                bytes >> 20,
                most >> 20
            );
            return Err(Error::invalid("low.capacity", problem));
        }
        Ok(())
    }

    /// As [`Self::validate`] for shards that are processes of their own.
    pub(crate) fn validate_shards(&self, n_shards: usize) -> Result<(), Error> {
        wire::check_run_id(&self.run_id)?;
        wire::check_shape(&self.shape)?;
        if self.n_items >= u32::MAX as usize {
            return Err(Error::invalid("n_items", format!("{} is outside 1 to 4294967294", self.n_items)));
        }
        if n_shards == 0 {
            return Err(Error::invalid("shards", "at least one is needed"));
        }
        for (table, capacity, min_size) in
            [(self.low, "low.capacity", "low.min_size"), (self.high, "high.capacity", "high.min_size")]
        {
            if !(n_shards..=1 << 31).contains(&table.capacity) {
                let problem = format!("{} is outside {n_shards} (one a shard) to 2^31", table.capacity);
                return Err(Error::invalid(capacity, problem));
            }
            if table.min_size > table.capacity {
                let problem = format!(
                    "{} would deadlock: the table never holds more than its capacity, {}",
                    table.min_size, table.capacity
                );
                return Err(Error::invalid(min_size, problem));
            }
        }
        if let Sampling::Prioritised { exponent } = self.sampling
            && !(exponent.is_finite() && exponent >= 0.0)
        {
            return Err(Error::invalid(
                "sampling",
                format!("the exponent {exponent} is not a number from 0"),
            ));
        }
        self.ratio.map_or(Ok(()), |ratio| ratio.validate())
    }

    /// About how many bytes the snapshot of the largest shard has once the tables are full and sessions are longer than
    /// a period: a row refers to a period by number; integers take up to 5 bytes, goals 4 a component.
    fn snapshot_bytes(&self, n_shards: usize) -> u64 {
        let (low, high) = self.share(0, n_shards);
        let (shape, row) = (self.shape, 16);
        let period = 5 * (N_WINDOWS * shape.window + shape.n_steps)
            + 4 * shape.n_goals * shape.n_dims
            + shape.n_steps
            + 32;
        let periods = low / shape.n_steps.max(1) + high;
        periods as u64 * period as u64 + (low + high) as u64 * row
    }

    /// Most steps of one appended batch.
    pub fn largest_batch_steps(&self) -> usize {
        self.ratio.map_or(wire::MAX_BATCH_STEPS, |ratio| ratio.largest_insert)
    }

    /// Capacities (low, high) of one shard of `n_shards`.
    pub fn share(&self, shard: usize, n_shards: usize) -> (usize, usize) {
        let share = |capacity: usize| capacity / n_shards + usize::from(shard < capacity % n_shards);
        (share(self.low.capacity), share(self.high.capacity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::settings;

    #[test]
    fn without_a_high_level_nobody_waits_for_its_table() {
        let config = Config::preset(common::config::Preset::DdpgPlus);
        let settings = Settings::from_config(&config, "test", 100);
        settings.validate(1).unwrap();
        assert_eq!((settings.shape.n_goals, settings.high.min_size), (0, 0));
        let mut limiter = crate::table::limiter::Limiter::new(&settings);
        let rows = settings.low.min_size as u64;
        limiter.insert(crate::Level::Low, rows);
        limiter.resize(crate::Level::Low, 0, rows);
        assert_eq!(limiter.against_sample(crate::Level::Low, 1), None);
    }

    #[test]
    fn settings_that_must_deadlock_are_refused_with_the_reason() {
        let ratio = Ratio::for_updates(0.5, 64, 100);
        for (key, change) in [
            (
                "low.min_size",
                Box::new(|s: &mut Settings| s.low.min_size = s.low.capacity + 1) as Box<dyn Fn(&mut _)>,
            ),
            ("high.min_size", Box::new(|s: &mut Settings| s.high.min_size = s.high.capacity + 1)),
            (
                "error_window",
                Box::new(move |s: &mut Settings| s.ratio = Some(Ratio { error_window: 3_199.0, ..ratio })),
            ),
            (
                "error_window",
                Box::new(move |s: &mut Settings| {
                    s.ratio = Some(Ratio { samples_per_insert: 0.1, error_window: 63.0, ..ratio });
                }),
            ),
        ] {
            let mut settings = settings();
            change(&mut settings);
            let message = settings.validate(1).unwrap_err().to_string();
            assert!(message.starts_with(key) && message.contains("would deadlock"), "{message}");
        }
        Settings { ratio: Some(ratio), ..settings() }.validate(1).unwrap();
    }

    #[test]
    fn the_presets_make_valid_settings() {
        for preset in [common::config::Preset::Paper, common::config::Preset::Tuned] {
            let config = Config::preset(preset);
            let settings = Settings::from_config(&config, "run", 1_000);
            settings.validate(1).unwrap();
            assert_eq!(settings.ratio.is_some(), config.train.mode == Mode::Async);
        }
    }

    #[test]
    fn tables_too_large_to_restore_are_refused_before_they_are_filled() {
        let config = Config::preset(common::config::Preset::Tuned);
        let mut settings = Settings::from_config(&config, "run", 1_000);
        settings.low.capacity = 50_000_000;
        let message = settings.validate(1).unwrap_err().to_string();
        assert!(message.contains("low.capacity") && message.contains("more shards"), "{message}");
        settings.validate(8).unwrap();
    }

    #[test]
    fn shares_add_up_to_the_whole() {
        let settings = Settings { low: TableSettings { capacity: 11, min_size: 1 }, ..settings() };
        let shares: Vec<_> = (0..3).map(|shard| settings.share(shard, 3).0).collect();
        assert_eq!(shares, [4, 4, 3]);
    }
}
