//! CPU of the processes of a run, and what follows from it for every role.
//!
//! In: `/proc/PID/task/*/schedstat` (Linux), read whenever the learner has written a record; out: [`CpuUse`], and pooled
//! over runs [`costs`]. Time that a thread waited for a core is no CPU: busy neighbours make a run slower, not its
//! costs higher (but for the caches).

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

use super::{costs::Costs, study::Row};

/// CPU seconds of all processes since they began, and how far the run was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CpuSample {
    /// Environment steps.
    pub env_steps: u64,
    /// Updates.
    pub updates: u64,
    /// Seconds since the processes were started.
    pub seconds: f64,
    /// All actors.
    pub actors_s: f64,
    /// All shards.
    pub shards_s: f64,
    /// The learner's own thread: updates, publishing, evaluations.
    pub learner_thread_s: f64,
    /// The learner's other threads: minibatches in, weights out.
    pub learner_others_s: f64,
}

/// Three samples: before anything was stored, the last record before an update, the last one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CpuUse {
    /// Before the first step, start-up behind it.
    pub first: CpuSample,
    /// At the last record without an update.
    pub warm_up: CpuSample,
    /// At the last record.
    pub last: CpuSample,
}

impl CpuUse {
    /// With one more sample, later than all before.
    pub fn followed_by(this: Option<Self>, sample: CpuSample) -> Self {
        let before = this.unwrap_or(Self { first: sample, warm_up: sample, last: sample });
        let warm_up = if sample.updates == 0 { sample } else { before.warm_up };
        Self { warm_up, last: sample, ..before }
    }

    /// Cores busy on average.
    pub fn cores(&self) -> f64 {
        let all = |s: &CpuSample| s.actors_s + s.shards_s + s.learner_thread_s + s.learner_others_s;
        (all(&self.last) - all(&self.first)) / (self.last.seconds - self.first.seconds).max(1e-9)
    }
}

/// CPU seconds of a process: of its first thread, and of the others. `None` where the system does not tell, or the
/// process is gone.
pub fn process_s(pid: u32) -> Option<(f64, f64)> {
    let folder = format!("/proc/{pid}/task");
    let (mut first, mut others) = (None, 0.0);
    for task in fs::read_dir(Path::new(&folder)).ok()?.flatten() {
        // A thread may have ended meanwhile.
        let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else { continue };
        let seconds = text.split_whitespace().next()?.parse::<f64>().ok()? * 1e-9;
        if task.file_name().to_str() == Some(&pid.to_string()) {
            first = Some(seconds);
        } else {
            others += seconds;
        }
    }
    Some((first?, others))
}

/// Steps of the warm-up below which a shard's inserts are not told from its samples.
const LEAST_WARM_UP: f64 = 2_000.0;

/// Costs of the roles, pooled over the runs of a study whose CPU is known. `wire` has what is computed, the rest of it
/// is replaced. `None` without such a run, or without any update.
pub fn costs(rows: &[Row], wire: &Costs) -> Option<Costs> {
    let known: Vec<(&Row, CpuUse)> = rows.iter().filter_map(|row| Some((row, row.cpu?))).collect();
    let sum = |of: &dyn Fn(&(&Row, CpuUse)) -> f64| known.iter().map(of).sum::<f64>();
    let steps = sum(&|(_, cpu)| (cpu.last.env_steps - cpu.first.env_steps) as f64);
    let warm_up = sum(&|(_, cpu)| (cpu.warm_up.env_steps - cpu.first.env_steps) as f64);
    let learning = sum(&|(_, cpu)| (cpu.last.env_steps - cpu.warm_up.env_steps) as f64);
    let updates = sum(&|(_, cpu)| cpu.last.updates as f64);
    let sampled = sum(&|(row, cpu)| cpu.last.updates as f64 * rows_an_update(row));
    if updates < 1.0 || steps < 1.0 {
        return None;
    }
    let insert_s = if warm_up >= LEAST_WARM_UP {
        sum(&|(_, cpu)| cpu.warm_up.shards_s - cpu.first.shards_s) / warm_up
    } else {
        wire.insert_s
    };
    let in_learning = sum(&|(_, cpu)| cpu.last.shards_s - cpu.warm_up.shards_s);
    let thread = |share: &dyn Fn(&Row) -> f64| {
        sum(&|(row, cpu)| {
            let run = &row.run;
            let busy = run.update_share + run.evaluation_share + run.publish_share;
            (cpu.last.learner_thread_s - cpu.first.learner_thread_s) * share(row) / busy.max(1e-9)
        })
    };
    let publishes = sum(&|(row, cpu)| cpu.last.updates as f64 / row.run.publish_every as f64);
    let evaluations = sum(&|(row, _)| row.run.evaluations.len() as f64);
    let (learner_row_s, send_s) = learner_others(&known);
    Some(Costs {
        actor_step_s: sum(&|(_, cpu)| cpu.last.actors_s - cpu.first.actors_s) / steps,
        insert_s,
        row_s: ((in_learning - insert_s * learning) / sampled).max(0.0),
        update_s: thread(&|row| row.run.update_share) / updates,
        learner_row_s,
        publish_s: thread(&|row| row.run.publish_share) / publishes,
        send_s,
        evaluation_s: if evaluations > 0.0 {
            thread(&|row| row.run.evaluation_share) / evaluations
        } else {
            0.0
        },
        ..*wire
    })
}

fn rows_an_update(row: &Row) -> f64 {
    row.run.samples_per_insert.map_or(1.0, |samples| samples / row.run.update_ratio().max(1e-12))
}

/// (a row, a version for one actor): least squares of the learner's other threads over runs of different numbers of
/// actors; with one number only, all goes to the rows.
fn learner_others(known: &[(&Row, CpuUse)]) -> (f64, f64) {
    let points = known.iter().map(|(row, cpu)| {
        let updates = cpu.last.updates as f64;
        let sends = updates / row.run.publish_every as f64 * row.actors as f64;
        (updates * rows_an_update(row), sends, cpu.last.learner_others_s - cpu.warm_up.learner_others_s)
    });
    let [mut rr, mut rs, mut ss, mut ry, mut sy] = [0.0; 5];
    for (rows, sends, seconds) in points {
        rr += rows * rows;
        rs += rows * sends;
        ss += sends * sends;
        ry += rows * seconds;
        sy += sends * seconds;
    }
    let determinant = rr * ss - rs * rs;
    if determinant > 1e-6 * rr * ss {
        let row = (ry * ss - sy * rs) / determinant;
        let send = (sy * rr - ry * rs) / determinant;
        if row >= 0.0 && send >= 0.0 {
            return (row, send);
        }
    }
    (if rr > 0.0 { (ry / rr).max(0.0) } else { 0.0 }, 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_of_this_process_grows() {
        let Some((first, others)) = process_s(std::process::id()) else { return };
        let begun = std::time::Instant::now();
        loop {
            std::hint::black_box((0..1_000_000_u64).fold(0, u64::wrapping_add));
            let (first_then, others_then) = process_s(std::process::id()).unwrap();
            if first_then + others_then > first + others {
                break;
            }
            // The system counts in hundredths of a second.
            assert!(begun.elapsed() < std::time::Duration::from_secs(20), "nothing is counted");
        }
        assert_eq!(process_s(u32::MAX - 1), None);
    }

    #[test]
    fn samples_before_the_first_update_are_the_warm_up() {
        let sample = |env_steps, updates| CpuSample { env_steps, updates, ..CpuSample::default() };
        let mut cpu = None;
        for next in [sample(10, 0), sample(20, 0), sample(30, 1), sample(40, 2)] {
            cpu = Some(CpuUse::followed_by(cpu, next));
        }
        let CpuUse { first, warm_up, last } = cpu.unwrap();
        assert_eq!([first.env_steps, warm_up.env_steps, last.env_steps], [10, 20, 40]);
    }
}
