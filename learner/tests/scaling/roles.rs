//! What actors, shards and the learner do in the simulation.

use learner::scaling::Case;
use rand::RngExt;

use super::{Frame, Job, LOOKS, Simulation};

impl Simulation {
    // Actors.

    pub(super) fn roll(&mut self, thread: usize) {
        let Case { costs, setup } = self.case;
        let state = &mut self.threads[thread];
        if state.rolling || state.under_way.iter().any(|&frames| frames >= setup.in_flight) {
            return;
        }
        state.rolling = true;
        let actor = thread / setup.threads as usize;
        if state.steps_in_period == 0 {
            state.period_version = self.subscribers[actor].version;
        }
        state.steps_in_period = (state.steps_in_period + 1) % setup.period_steps;
        let station = self.cpu(self.actor(actor));
        self.serve(station, costs.actor_step_s * setup.sessions as f64, Job::Rollout { thread });
    }

    pub(super) fn rolled(&mut self, thread: usize) {
        let setup = self.case.setup;
        let steps = setup.sessions as f64 / setup.shards as f64;
        for shard in 0..setup.shards as usize {
            self.threads[thread].under_way[shard] += 1;
            let frame = Frame { thread, shard, steps, version: self.threads[thread].period_version };
            self.delay(setup.latency_s, Job::FrameOut { frame });
        }
        self.threads[thread].rolling = false;
        self.roll(thread);
    }

    // Shards.

    pub(super) fn balance(&self) -> f64 {
        let since = self.opened.map_or(self.inserted, |(_, at)| at);
        self.case.setup.samples_per_insert() * (self.inserted - since) - self.sampled
    }

    pub(super) fn grant(&mut self) {
        let Case { costs, setup } = self.case;
        while let Some(&frame) = self.at_limiter.front() {
            let step = setup.samples_per_insert() * frame.steps;
            if self.opened.is_some() && self.balance() + step > setup.window_rows {
                return;
            }
            self.at_limiter.pop_front();
            self.inserted += frame.steps;
            let station = self.cpu(self.shard(0, frame.shard));
            self.serve(station, costs.insert_s * frame.steps, Job::Insert { frame });
            if self.opened.is_none() && self.inserted >= setup.min_size {
                self.opened = Some((self.now, self.inserted));
            }
            self.largest_balance = self.largest_balance.max(self.balance().abs());
            self.sample();
        }
    }

    pub(super) fn store(&mut self, frame: Frame) {
        self.stored.push_back((frame.steps, frame.version));
        self.held += frame.steps;
        while self.held > self.case.setup.capacity {
            self.held -= self.stored.pop_front().expect("what is held is there").0;
        }
    }

    // Learner.

    pub(super) fn sample(&mut self) {
        let setup = self.case.setup;
        let ahead = self.ready.len() as u64 >= setup.prefetch.max(1);
        if self.opened.is_none() || self.sampling.is_some() || ahead || self.stored.is_empty() {
            return;
        }
        if self.balance() - setup.rows < -setup.window_rows {
            return;
        }
        self.sampled += setup.rows;
        self.largest_balance = self.largest_balance.max(self.balance().abs());
        // Frames are of one size.
        let n = self.stored.len();
        let versions = (0..LOOKS).map(|_| self.stored[self.rng.random_range(0..n)].1).collect();
        self.sampling = Some((versions, setup.shards));
        for shard in 0..setup.shards as usize {
            // There and back.
            self.delay(2.0 * setup.latency_s, Job::Ask { shard });
        }
        self.grant();
    }

    pub(super) fn unpacked(&mut self) {
        let (versions, left) = self.sampling.take().expect("parts come of what was asked for");
        if left > 1 {
            self.sampling = Some((versions, left - 1));
            return;
        }
        self.ready.push_back(versions);
        self.learn();
        self.sample();
    }

    pub(super) fn learn(&mut self) {
        let Case { costs, setup } = self.case;
        if self.learner_busy {
            return;
        }
        let station = self.cpu(1);
        if self.inserted >= self.next_evaluation {
            self.next_evaluation += setup.evaluate_every;
            self.learner_busy = true;
            self.serve(station, costs.evaluation_s, Job::Evaluate);
            return;
        }
        let Some(versions) = self.ready.pop_front() else { return };
        self.learner_busy = true;
        self.in_update = versions;
        self.serve(station, costs.update_s, Job::Update);
        self.sample();
    }

    pub(super) fn updated(&mut self) {
        let Case { costs, setup } = self.case;
        self.updates += 1;
        for &version in &self.in_update {
            self.staleness.0 += (self.version - version) as f64;
            self.staleness.1 += 1;
        }
        if self.updates.is_multiple_of(setup.publish_every as u64) {
            let station = self.cpu(1);
            self.serve(station, costs.publish_s, Job::Publish);
        } else {
            self.learner_busy = false;
            self.learn();
        }
    }

    pub(super) fn published(&mut self) {
        self.version += 1;
        for actor in 0..self.subscribers.len() {
            self.send(actor);
        }
        self.learner_busy = false;
        self.learn();
    }

    pub(super) fn send(&mut self, actor: usize) {
        let version = self.version;
        let subscriber = &mut self.subscribers[actor];
        if subscriber.sending || subscriber.version == version {
            return;
        }
        subscriber.sending = true;
        let station = self.cpu(1);
        self.serve(station, self.case.costs.send_s, Job::Serialise { actor, version });
    }
}
