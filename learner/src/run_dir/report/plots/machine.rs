//! How fast the run went, where its time went, and how rollouts and learner kept pace.

use super::{
    super::{
        Error,
        bars::{Bar, Bars},
        canvas::Caption,
        plot::{Reference, Scale},
        records::{Point, curve, number, thinned},
        style::{BLUE, Colour, GREEN, MUTED, ORANGE, PURPLE},
    },
    Figure, Sources, figures, line,
};

/// Parts of the learner's time: field of timing.jsonl, name.
const LEARNER: [(&str, &str); 5] = [
    ("update_share", "updates"),
    ("sample_share", "waiting for minibatches"),
    ("rollout_share", "rollouts (lockstep)"),
    ("publish_share", "publishing weights"),
    ("evaluation_share", "evaluating"),
];
/// Parts of a rollout thread's time.
const ROLLOUTS: [(&str, &str); 4] = [
    ("actor_forward_share", "choosing items"),
    ("actor_environment_share", "the world"),
    ("actor_write_share", "handing transitions over"),
    ("actor_wait_share", "waiting for the replay"),
];

impl Sources<'_> {
    /// Rates over the run.
    pub(in super::super) fn throughput(&self) -> Result<String, Error> {
        let timing = &self.records.timing;
        let rate = |id, title, unit, name, colour, field| {
            let series = vec![line(name, colour, curve(timing, field, 1.0))];
            self.plot(id, title, unit, Scale::Usual, series)
        };
        let steps = rate("steps-rate", "Environment steps", "a second", "steps/s", BLUE, "/steps_per_second");
        let updates = rate(
            "update-rate",
            "Updates",
            "of both levels a second",
            "updates/s",
            ORANGE,
            "/updates_per_second",
        );
        let mut html = figures(vec![
            Figure::new(
                steps,
                "Between two records. Once the tables are filled, the replay holds back whoever is ahead; rates beyond \
                 the scale lie at its upper edge.",
            ),
            Figure::new(updates, "Between two records, evaluations included."),
        ])?;
        html += &self.time_of("time-learner", "Where the learner's time went", &LEARNER, BLUE)?;
        html += &self.time_of("time-rollouts", "Where a rollout thread's time went", &ROLLOUTS, GREEN)?;
        Ok(html)
    }

    fn time_of(
        &self,
        id: &str,
        title: &str,
        parts: &[(&str, &str)],
        colour: Colour,
    ) -> Result<String, Error> {
        let shares: Vec<(&str, f64)> = parts
            .iter()
            .filter_map(|(field, name)| Some((*name, self.records.mean_share(&format!("/{field}"))?)))
            .collect();
        if shares.iter().all(|(_, share)| *share == 0.0) {
            return Ok(String::new());
        }
        let rest = 1.0 - shares.iter().map(|(_, share)| share).sum::<f64>();
        let all = shares.into_iter().map(|(name, share)| (name, share, colour));
        let all: Vec<_> = all.chain([("everything else", rest.max(0.0), MUTED)]).collect();
        let bar = |&(name, share, colour): &(&str, f64, Colour)| Bar {
            name: name.to_owned(),
            parts: vec![(100.0 * share, 0.85)],
            interval: None,
            colour,
            text: format!("{:.1}%", 100.0 * share),
            bold: false,
        };
        let words: String =
            all.iter().map(|(name, share, _)| format!(" {name}: {:.1}%.", 100.0 * share)).collect();
        let chart = Bars {
            caption: Caption {
                id: id.to_owned(),
                title: title.to_owned(),
                description: format!("{title}.{words}"),
            },
            unit: "% of the time, mean over the run".to_owned(),
            width: 1720,
            bars: all.iter().map(bar).collect(),
        };
        let svg = chart.svg().map_err(Error::drawing(title))?;
        Ok(svg.map_or_else(String::new, |svg| format!("<figure class=\"wide\">\n{svg}</figure>\n")))
    }

    /// How rollouts and learner kept pace, and how much of the rollouts was noise.
    pub(in super::super) fn data(&self) -> Result<String, Error> {
        let train = &self.records.train;
        let mut samples = self.plot(
            "samples-per-insert",
            "Samples per insert",
            "low-level transitions",
            Scale::FromZero,
            vec![line("taken", BLUE, self.samples_per_insert())],
        );
        let target = self.config.train.updates_per_step * self.low_rows(f64::INFINITY);
        samples.references =
            vec![Reference { name: "asked for".to_owned(), value: target, colour: MUTED, is_bound: false }];
        let staleness = self.plot(
            "staleness",
            "Staleness",
            "broadcasts",
            Scale::FromZero,
            vec![
                line("mean", ORANGE, curve(train, "/staleness", 1.0)),
                line("p50", BLUE, curve(train, "/staleness_p50", 1.0)),
                line("p99", PURPLE, curve(train, "/staleness_p99", 1.0)),
            ],
        );
        let noise = self.plot(
            "noise",
            "Exploration",
            "% of steps",
            Scale::FromZero,
            vec![
                line("random item", PURPLE, curve(train, "/random_share", 100.0)),
                line("changed by noise", GREEN, curve(train, "/noise_share", 100.0)),
            ],
        );
        let reward = self.plot(
            "rollout-reward",
            "Reward of the rollouts",
            "a step, exploration included",
            Scale::Fit,
            vec![line("rollouts", BLUE, curve(train, "/reward_per_step", 1.0))],
        );
        figures(vec![
            Figure::new(
                samples,
                "How often a stored step is sampled: rows of a minibatch times updates a step.",
            ),
            Figure::new(
                staleness,
                "Weight broadcasts between the choice of the goals and the update, over the rows of the minibatches.",
            ),
            Figure::new(
                noise,
                "Steps that showed a random item, and sampled steps where noise changed the item.",
            ),
            Figure::new(reward, "What the acting policies brought in while they explored."),
        ])
    }

    /// Rows of a low-level minibatch once `env_steps` steps are stored.
    fn low_rows(&self, env_steps: f64) -> f64 {
        let table = &self.config.replay.low;
        // A cast of an infinite number saturates.
        table.batch.rows(table.capacity.min(env_steps as usize)) as f64
    }

    /// Low-level transitions sampled an environment step, between neighbouring records.
    fn samples_per_insert(&self) -> Vec<Point> {
        let counts = |record| (number(record, "/env_steps"), number(record, "/updates"));
        let pairs = self.records.train.windows(2).map(|pair| (counts(&pair[0]), counts(&pair[1])));
        let points = pairs.map(|((steps_then, updates_then), (steps, updates))| {
            let samples = (updates - updates_then) * self.low_rows(steps);
            Point { x: steps, y: samples / (steps - steps_then), interval: None }
        });
        thinned(points.filter(|p| p.x.is_finite()).collect())
    }
}
