//! Goals, or the encoder updates that come with them (D11)?
//!
//! In: summaries; out: the runs that differ in goals and in updates of the shared encoder, what they differ by, and what
//! follows.

use common::config::{Config, EncoderUpdate};

use super::{
    super::{
        Summary,
        methods::{Method, SUBJECT},
    },
    Difference, Named, ONE_GOAL, config, settings,
};

/// The runs that tell encoder updates from goals.
#[derive(Clone, Copy, Debug)]
pub struct EncoderUpdates<'a> {
    /// One goal: as many encoder updates as updates.
    pub one_goal: Named<'a>,
    /// One step over all heads: the same.
    pub summed: Named<'a>,
    /// One step a head: M times as many.
    pub sequential: Named<'a>,
    /// One step over all heads, M times as many updates of everything.
    pub more_updates: Named<'a>,
}

/// `None` where one of the runs is missing.
pub fn runs(summaries: &[Summary]) -> Option<EncoderUpdates<'_>> {
    let subject = Method::find(SUBJECT).expect("the subject is a method");
    let own = config(subject, &[]);
    let of_subject = |change: &dyn Fn(&mut Config)| {
        let mut wanted = own.clone();
        change(&mut wanted);
        summaries.iter().find(|summary| summary.method == SUBJECT && settings(summary) == wanted)
    };
    let sequential = of_subject(&|config| config.algorithm.encoder_update = EncoderUpdate::Sequential)?;
    let more_updates = of_subject(&|config| config.train.updates_per_step *= config.model.n_goals as f64)?;
    let one_goal = summaries.iter().find(|summary| summary.method == ONE_GOAL)?;
    Some(EncoderUpdates {
        one_goal: (&one_goal.name, one_goal),
        // Among the points of Fig 9 it goes by its M and c.
        summed: (subject.name, of_subject(&|_| {})?),
        sequential: (&sequential.name, sequential),
        more_updates: (&more_updates.name, more_updates),
    })
}

/// Updates of the high level's encoders in a run, mean over seeds.
pub fn updates(summary: &Summary) -> f64 {
    let config = settings(summary);
    let steps = match config.algorithm.encoder_update {
        EncoderUpdate::Summed => 1.0,
        EncoderUpdate::Sequential => config.model.n_goals as f64,
    };
    steps * summary.over_seeds(|result| result.updates as f64)
}

impl<'a> EncoderUpdates<'a> {
    /// All runs, in the order of the table.
    pub fn all(&self) -> [Named<'a>; 4] {
        [self.one_goal, self.summed, self.sequential, self.more_updates]
    }

    /// What is compared: the gain over one goal with more encoder updates and with as many; then one step a head
    /// beside one step over all, with more encoder updates and with as many.
    pub fn pairs(&self) -> [[Named<'a>; 2]; 4] {
        [
            [self.sequential, self.one_goal],
            [self.summed, self.one_goal],
            [self.sequential, self.summed],
            [self.sequential, self.more_updates],
        ]
    }

    /// The differences of [`EncoderUpdates::pairs`] in sessions of each length.
    pub fn differences(&self, lengths: &[(usize, usize)]) -> Vec<Vec<Difference>> {
        let of_length = |&length| self.pairs().map(|pair| (pair, length));
        let all = Difference::all(&lengths.iter().flat_map(of_length).collect::<Vec<_>>());
        all.chunks(self.pairs().len()).map(<[Difference]>::to_vec).collect()
    }
}

/// What follows from the first two of [`EncoderUpdates::differences`].
pub fn is_gain_of_updates([more, equal]: [&Difference; 2]) -> &'static str {
    match (more.is_more, equal.is_more) {
        (_, Some(true)) => "goals bring more than one goal does, at equal encoder updates as well",
        (Some(true), _) => "a gain over one goal is there only where the encoder is updated more often",
        (Some(false), _) => "goals bring less than one goal does, although the encoder is updated more often",
        (None, Some(false)) => "goals bring less than one goal does at equal encoder updates",
        (None, None) => "no gain over one goal, of goals or of encoder updates, can be told from noise",
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::summaries;
    use super::*;

    #[test]
    fn the_runs_are_found_with_the_updates_of_their_encoder() {
        let all = summaries(|_| vec![(5, 1), (6, 1)]);
        let runs = runs(&all).unwrap().all();
        assert_eq!(
            runs.map(|(name, _)| name),
            ["HRL-G", "MaHRL (tuned)", "MaHRL (tuned), sequential", "MaHRL (tuned), 2 x the updates"]
        );
        // Ten updates in all of these, with M steps each where they are sequential.
        assert_eq!(runs.map(|(_, run)| updates(run)), [10.0, 10.0, 20.0, 10.0]);
        assert!(super::runs(&all[..1]).is_none());
    }

    #[test]
    fn a_gain_is_one_of_goals_only_at_equal_encoder_updates() {
        let with = |one_goal: u32, summed: u32, sequential: u32| {
            let all = summaries(|variant| {
                let clicks = match variant.name.as_str() {
                    "HRL-G" => one_goal,
                    "M = 2, c = 10" => summed,
                    _ => sequential,
                };
                vec![(clicks, 0); 2]
            });
            let rows = &runs(&all).unwrap().differences(&[(0, 50)])[0];
            (is_gain_of_updates([&rows[0], &rows[1]]), rows[0].words())
        };
        assert!(with(5, 7, 7).0.contains("at equal encoder updates as well"));
        assert!(with(5, 5, 7).0.contains("only where the encoder is updated more often"));
        assert!(with(5, 5, 4).0.contains("although"));
        assert!(with(5, 4, 5).0.starts_with("goals bring less"));
        assert!(with(5, 5, 5).0.contains("told from noise"));
        assert_eq!([with(5, 7, 7).1, with(5, 5, 4).1], ["more, beyond noise", "less, beyond noise"]);
        assert_eq!(with(5, 5, 5).1, "undecided: up to 0.00 either way could hide");
    }
}
