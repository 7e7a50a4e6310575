//! What the shards and the clients of a run must agree on, and a shard with the files of its contents: settings that decide what
//! a shard holds and how it is drawn from.
//!
//! In: [`Settings`]; out: their keys and values, as a shard says them, and the first that differs.

use std::collections::BTreeMap;

use common::{config::PartialPeriods, transition::Shape};

use crate::settings::{Sampling, Settings};

/// By the keys of a configuration.
pub(crate) type Agreed = BTreeMap<String, String>;

/// Those without which contents cannot be read.
pub(crate) fn of_contents(shape: &Shape, partial_periods: PartialPeriods) -> [(&'static str, String); 5] {
    // By parts, so that none is forgotten.
    let Shape { window, n_steps, n_goals, n_dims } = shape;
    let partial = match partial_periods {
        PartialPeriods::Keep => "keep",
        PartialPeriods::Drop => "drop",
    };
    [
        ("model.window", window.to_string()),
        ("model.period_steps", n_steps.to_string()),
        ("model.n_goals", n_goals.to_string()),
        ("model.n_dims", n_dims.to_string()),
        ("algorithm.partial_periods", partial.to_owned()),
    ]
}

/// Those of a service.
pub(crate) fn of(settings: &Settings) -> Agreed {
    let sampling = settings.sampling;
    let contents = of_contents(&settings.shape, settings.partial_periods);
    let mut agreed: Agreed = contents.map(|(key, value)| (key.to_owned(), value)).into();
    for (key, table) in [("replay.low.capacity", settings.low), ("replay.high.capacity", settings.high)] {
        agreed.insert(key.into(), table.capacity.to_string());
    }
    let drawn = match sampling {
        Sampling::Uniform => "uniform",
        Sampling::Prioritised { .. } => "prioritised",
        Sampling::Fifo => "fifo",
    };
    agreed.insert("replay.sampling".into(), drawn.into());
    if let Sampling::Prioritised { exponent } = sampling {
        agreed.insert("replay.priority_exponent".into(), exponent.to_string());
    }
    agreed
}

/// The first setting of ours that a shard has otherwise, in words. One that does not say a setting, of another build, agrees.
pub(crate) fn difference(ours: &Agreed, shards: &Agreed) -> Option<String> {
    let differs = |(key, our): (&String, &String)| {
        let its = shards.get(key).filter(|its| *its != our)?;
        Some(format!("it has {key} = {its}, here it is {our}: start it with the run's settings"))
    };
    ours.iter().find_map(differs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::settings;

    #[test]
    fn whatever_decides_what_a_shard_holds_is_compared() {
        let ours = settings();
        let against = |change: &dyn Fn(&mut Settings)| {
            let mut theirs = ours.clone();
            change(&mut theirs);
            difference(&of(&ours), &of(&theirs)).unwrap_or_default()
        };
        assert_eq!(against(&|theirs| theirs.low.min_size += 1), "", "the learner's own");
        for (change, said) in [
            (
                &(|theirs: &mut Settings| theirs.sampling = Sampling::Fifo) as &dyn Fn(&mut Settings),
                "replay.sampling = fifo",
            ),
            (&|theirs| theirs.low.capacity += 1, "replay.low.capacity"),
            (&|theirs| theirs.high.capacity += 1, "replay.high.capacity"),
            (&|theirs| theirs.shape.window += 1, "model.window"),
            (&|theirs| theirs.shape.n_goals += 1, "model.n_goals"),
        ] {
            assert!(against(change).contains(said), "{said}: {}", against(change));
        }
        assert_eq!(difference(&of(&ours), &Agreed::new()), None, "a shard that says nothing");
    }
}
