//! Where the time of a run goes. In: parts of the learner's work, the rollouts' own times; out: shares of a lap, the
//! time between two records of timing.jsonl. Nothing of it is part of a result.

use std::time::{Duration, Instant};

use actor::Times;

/// Parts of the learner's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Update,
    Sample,
    Rollout,
    Publish,
    Evaluation,
}

/// Running sums.
#[derive(Debug)]
pub(super) struct Clock {
    started: Instant,
    /// By [`Part`], in this lap.
    parts: [Duration; 5],
    /// Of all rollouts together, since they were made.
    actors: Times,
    /// Threads that the rollouts share.
    actor_threads: usize,
    /// Where the lap began.
    last: (Instant, u64, u64, Times),
}

/// What a lap came to.
#[derive(Debug)]
pub(super) struct Lap {
    /// Seconds since the clock was started.
    pub(super) since_start: f64,
    /// Length in seconds.
    pub(super) seconds: f64,
    /// Environment steps in it.
    pub(super) env_steps: u64,
    /// Updates in it.
    pub(super) updates: u64,
    /// Times of all rollouts together.
    pub(super) actors: Times,
    parts: [Duration; 5],
    actor_threads: usize,
}

impl Clock {
    /// Starts at so many environment steps and updates.
    pub(super) fn start(env_steps: u64, updates: u64) -> Self {
        let now = Instant::now();
        Self {
            started: now,
            parts: [Duration::ZERO; 5],
            actors: Times::default(),
            actor_threads: 1,
            last: (now, env_steps, updates, Times::default()),
        }
    }

    /// Adds work of the learner.
    pub(super) fn add(&mut self, part: Part, time: Duration) {
        self.parts[part as usize] += time;
    }

    /// Notes where the rollouts are, on `threads` threads together.
    pub(super) fn note_actors(&mut self, times: Times, threads: usize) {
        (self.actors, self.actor_threads) = (times, threads);
    }

    /// Ends a lap and begins the next.
    pub(super) fn lap(&mut self, now: Instant, env_steps: u64, updates: u64) -> Lap {
        let (then, steps_then, updates_then, actors_then) = self.last;
        self.last = (now, env_steps, updates, self.actors);
        Lap {
            since_start: now.duration_since(self.started).as_secs_f64(),
            seconds: now.duration_since(then).as_secs_f64().max(1e-9),
            env_steps: env_steps - steps_then,
            updates: updates - updates_then,
            actors: self.actors.since(actors_then),
            parts: std::mem::take(&mut self.parts),
            actor_threads: self.actor_threads.max(1),
        }
    }
}

impl Lap {
    /// Share of the learner's time in a part.
    pub(super) fn share(&self, part: Part) -> f64 {
        self.parts[part as usize].as_secs_f64() / self.seconds
    }

    /// Share of a rollout thread's time, the mean over the threads.
    pub(super) fn actor_share(&self, time: Duration) -> f64 {
        time.as_secs_f64() / (self.seconds * self.actor_threads as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lap_knows_what_came_since_the_last_one_only() {
        let mut clock = Clock::start(100, 10);
        let begun = clock.started;
        let at = |seconds| begun + Duration::from_secs(seconds);
        let times = |seconds| Times { wait: Duration::from_secs(seconds), ..Times::default() };
        clock.add(Part::Sample, Duration::from_secs(1));
        clock.note_actors(times(3), 2);
        let lap = clock.lap(at(4), 140, 12);
        assert_eq!((lap.env_steps, lap.updates, lap.share(Part::Sample)), (40, 2, 0.25));
        assert_eq!(lap.actor_share(lap.actors.wait), 3.0 / 8.0);
        clock.note_actors(times(5), 2);
        let lap = clock.lap(at(6), 150, 12);
        assert_eq!((lap.since_start, lap.seconds, lap.env_steps, lap.updates), (6.0, 2.0, 10, 0));
        assert_eq!((lap.share(Part::Sample), lap.actor_share(lap.actors.wait)), (0.0, 0.5));
    }
}
