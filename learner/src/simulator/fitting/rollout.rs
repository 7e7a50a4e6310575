//! Free-running rollouts of a simulator against the log.
//!
//! In: logged sessions; out: click and order rates, logged and simulated, overall and by position. Every session starts
//! from its logged windows and is shown its logged items in the logged order, but the feedback is drawn from the
//! simulator and makes the next windows: errors may build up, as they would under a policy. A session keeps one random
//! member. Draws depend on (seed, session, repeat, step) only.

use common::{
    Feedback, ItemId,
    history::{self, N_WINDOWS},
    seed::Streams,
};
use rand::RngExt;

use super::{
    metrics::{self, Probabilities},
    predictor::Predictor,
    report::{Pair, PositionRates, RolloutReport},
    samples::Samples,
};

/// First positions of the bins of the table; the last is open.
const POSITIONS: [usize; 6] = [0, 5, 10, 20, 50, 100];

/// Size of a rollout.
#[derive(Clone, Copy, Debug)]
pub(super) struct RolloutSettings {
    /// Seed of members and feedback.
    pub(super) seed: u64,
    /// Most sessions; every k-th of the list.
    pub(super) sessions: usize,
    /// How often each is played.
    pub(super) repeats: usize,
}

/// Plays logged sessions (indices of [`Samples::sessions`]).
pub(super) fn roll_out(
    predictor: &mut dyn Predictor,
    samples: &Samples,
    sessions: &[usize],
    settings: &RolloutSettings,
) -> RolloutReport {
    let stride = sessions.len().div_ceil(settings.sessions.max(1)).max(1);
    let sessions: Vec<usize> = sessions.iter().copied().step_by(stride).collect();
    let mut tally = Tally::new(sessions.len());
    for (number, &session) in sessions.iter().enumerate() {
        for (position, row) in samples.rows[samples.sessions[session].rows.clone()].iter().enumerate() {
            tally.count(number, position, row.feedback, Side::Logged, 1.0);
        }
    }
    let streams = Streams::new(settings.seed, "simulator/rollout");
    let weight = 1.0 / settings.repeats as f64;
    for repeat in 0..settings.repeats {
        let mut courses: Vec<Course> = sessions
            .iter()
            .enumerate()
            .map(|(number, &session)| Course::new(samples, number, session, repeat, &streams, predictor))
            .collect();
        let mut position = 0;
        while !courses.is_empty() {
            step(predictor, samples, &mut courses, position, &streams, |number, feedback| {
                tally.count(number, position, feedback, Side::Simulated, weight);
            });
            position += 1;
            courses.retain(|course| position < course.length);
        }
    }
    tally.report(settings.repeats)
}

/// A session being played.
struct Course {
    /// Its number in the list.
    number: usize,
    /// Its first row.
    start: usize,
    length: usize,
    /// Session of the random streams.
    stream: u64,
    member: usize,
    windows: Vec<ItemId>,
}

impl Course {
    fn new(
        samples: &Samples,
        number: usize,
        session: usize,
        repeat: usize,
        streams: &Streams,
        predictor: &dyn Predictor,
    ) -> Self {
        let rows = &samples.sessions[session].rows;
        let mut windows = Vec::with_capacity(N_WINDOWS * samples.window);
        samples.append_windows(&samples.rows[rows.start], &mut windows);
        let stream = (session as u64) << 8 | repeat as u64;
        // Step 0 draws the member, step 1 + t the feedback at position t.
        let member = streams.at(stream, 0).random_range(0..predictor.n_members());
        Self { number, start: rows.start, length: rows.len(), stream, member, windows }
    }
}

/// Shows every session its item at `position`.
fn step(
    predictor: &mut dyn Predictor,
    samples: &Samples,
    courses: &mut [Course],
    position: usize,
    streams: &Streams,
    mut happened: impl FnMut(usize, Feedback),
) {
    for member in 0..predictor.n_members() {
        let of_member = |course: &&mut Course| course.member == member;
        let (mut windows, mut items) = (Vec::new(), Vec::new());
        for course in courses.iter_mut().filter(of_member) {
            windows.extend_from_slice(&course.windows);
            items.push(samples.rows[course.start + position].item);
        }
        let mut predicted = Vec::with_capacity(items.len());
        if !items.is_empty() {
            predictor.predict(member, &windows, &items, &mut predicted);
        }
        for ((course, item), p) in courses.iter_mut().filter(of_member).zip(items).zip(predicted) {
            let draw: f32 = streams.at(course.stream, 1 + position as u64).random();
            let feedback = sample(&p, draw);
            history::push(&mut course.windows, item, feedback);
            happened(course.number, feedback);
        }
    }
}

/// The class a uniform draw in [0, 1) falls into.
fn sample(p: &Probabilities, draw: f32) -> Feedback {
    if draw < p[2] {
        Feedback::Order
    } else if draw < p[2] + p[1] {
        Feedback::Click
    } else {
        Feedback::Skip
    }
}

#[derive(Clone, Copy)]
enum Side {
    Logged = 0,
    Simulated = 1,
}

/// Impressions, clicks and orders, [logged, simulated].
#[derive(Clone, Copy, Default)]
struct Counts {
    impressions: [f64; 2],
    clicks: [f64; 2],
    orders: [f64; 2],
}

impl Counts {
    fn click(&self) -> Pair {
        pair(self.clicks, self.impressions)
    }

    fn order(&self) -> Pair {
        pair(self.orders, self.impressions)
    }
}

fn pair(part: [f64; 2], whole: [f64; 2]) -> Pair {
    let rate = |side: usize| part[side] / whole[side].max(1.0);
    Pair { logged: rate(0), simulated: rate(1) }
}

/// Counts of each session by position.
struct Tally {
    by_session: Vec<[Counts; POSITIONS.len()]>,
}

impl Tally {
    fn new(n_sessions: usize) -> Self {
        Self { by_session: vec![[Counts::default(); POSITIONS.len()]; n_sessions] }
    }

    fn count(&mut self, session: usize, position: usize, feedback: Feedback, side: Side, weight: f64) {
        let bin = POSITIONS.iter().rposition(|&from| from <= position).unwrap_or(0);
        let counts = &mut self.by_session[session][bin];
        counts.impressions[side as usize] += weight;
        counts.clicks[side as usize] += weight * f64::from(u8::from(feedback.clicked()));
        counts.orders[side as usize] += weight * f64::from(u8::from(feedback.ordered()));
    }

    fn report(&self, repeats: usize) -> RolloutReport {
        let sessions: Vec<Counts> = self.by_session.iter().map(|bins| sum(bins)).collect();
        let all = sum(&sessions);
        let by_position = (0..POSITIONS.len()).filter_map(|bin| {
            // Sessions that get so far.
            let reached: Vec<Counts> =
                self.by_session.iter().map(|bins| bins[bin]).filter(|c| c.impressions[0] > 0.0).collect();
            let counts = sum(&reached);
            (!reached.is_empty()).then(|| PositionRates {
                from: POSITIONS[bin],
                to: POSITIONS.get(bin + 1).copied(),
                impressions: counts.impressions[0] as usize,
                click: counts.click(),
                click_error: error(&reached, |counts| counts.clicks),
                order: counts.order(),
            })
        });
        RolloutReport {
            items: "the logged items of held-out sessions, in the logged order".into(),
            sessions: self.by_session.len(),
            repeats,
            click: all.click(),
            click_error: error(&sessions, |counts| counts.clicks),
            order: all.order(),
            order_error: error(&sessions, |counts| counts.orders),
            by_position: by_position.collect(),
        }
    }
}

fn sum(counts: &[Counts]) -> Counts {
    let mut all = Counts::default();
    for counts in counts {
        for side in 0..2 {
            all.impressions[side] += counts.impressions[side];
            all.clicks[side] += counts.clicks[side];
            all.orders[side] += counts.orders[side];
        }
    }
    all
}

/// Standard error of the simulated minus the logged rate when sessions are drawn anew.
fn error(sessions: &[Counts], of: impl Fn(&Counts) -> [f64; 2]) -> f64 {
    let differences: Vec<f64> =
        sessions.iter().map(of).map(|[logged, simulated]| simulated - logged).collect();
    metrics::standard_error(&differences, sum(sessions).impressions[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clicks with a probability that depends on whether the last shown item was clicked.
    struct Sticky;

    impl Predictor for Sticky {
        fn n_members(&self) -> usize {
            1
        }

        fn predict(
            &mut self,
            _member: usize,
            windows: &[ItemId],
            items: &[ItemId],
            out: &mut Vec<Probabilities>,
        ) {
            let row = windows.len() / items.len();
            for (windows, item) in windows.chunks_exact(row).zip(items) {
                let clicked = history::window(windows, history::Kind::Clicked);
                let after_click =
                    clicked.last().is_some_and(|last| !last.is_padding() && last.0 + 1 == item.0);
                out.push(if after_click { [0.2, 0.8, 0.0] } else { [0.8, 0.2, 0.0] });
            }
        }
    }

    fn samples(n_sessions: u64, length: u32) -> Samples {
        let mut samples = Samples::new(3);
        for user in 0..n_sessions {
            samples.add_session(user, true, (0..length).map(|k| (ItemId(k), Feedback::Skip)));
        }
        samples
    }

    #[test]
    fn the_simulators_own_feedback_makes_the_next_windows() {
        let samples = samples(400, 12);
        let sessions: Vec<usize> = (0..400).collect();
        let settings = RolloutSettings { seed: 0, sessions: 400, repeats: 5 };
        let report = roll_out(&mut Sticky, &samples, &sessions, &settings);
        // p_0 = .2, p_t+1 = .2 + .6 p_t: .2, .32, .392, .4352, .46112 -> mean .361664 over the first five positions.
        let first = report.by_position[0];
        assert_eq!((first.from, first.to, first.impressions), (0, Some(5), 2000));
        assert!((first.click.simulated - 0.361664).abs() < 0.02, "{first:?}");
        assert_eq!((report.click.logged, report.order.simulated), (0.0, 0.0));
        assert!(report.click_error > 0.0 && report.click_error < 0.02);
        // Fewer impressions, larger error.
        assert!(first.click_error > report.click_error && first.click_error < 0.02);
    }

    #[test]
    fn a_rollout_depends_on_its_seed_only() {
        let samples = samples(20, 6);
        let sessions: Vec<usize> = (0..20).collect();
        let settings = RolloutSettings { seed: 3, sessions: 20, repeats: 2 };
        let once = roll_out(&mut Sticky, &samples, &sessions, &settings);
        assert_eq!(once, roll_out(&mut Sticky, &samples, &sessions, &settings));
        let other = RolloutSettings { seed: 4, ..settings };
        assert_ne!(once, roll_out(&mut Sticky, &samples, &sessions, &other));
    }

    #[test]
    fn draws_fall_into_order_click_skip() {
        let p = [0.7, 0.2, 0.1];
        assert_eq!(
            [0.05, 0.15, 0.95].map(|draw| sample(&p, draw)),
            [Feedback::Order, Feedback::Click, Feedback::Skip]
        );
    }
}
