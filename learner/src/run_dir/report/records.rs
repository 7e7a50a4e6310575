//! The lines of a run as curves.
//!
//! In: metrics.jsonl and timing.jsonl; out: points over environment steps, found by the JSON pointer of a field
//! (docs/metrics.md). Read more kindly than [`read_lines`](crate::run_dir::read_lines) reads them, since a report is
//! wanted of broken runs most of all: a number that was not finite (`null`), or that an older version did not write, is
//! a gap (NaN), and a line that is no JSON is counted and left out.

use std::{fs, path::Path};

use serde_json::Value;

use crate::run_dir::{Error, RunDir, file_error};

/// More points than this in a curve are averaged in groups: a picture has no more columns.
const MOST_POINTS: usize = 500;

/// A value, NaN where there is none, with its interval if it has one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) interval: Option<(f64, f64)>,
}

/// What a run has written.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// Lines of kind `train`.
    pub(super) train: Vec<Value>,
    /// Lines of kind `evaluation`.
    pub(super) evaluations: Vec<Value>,
    /// Lines of timing.jsonl.
    pub(super) timing: Vec<Value>,
    /// Lines that are no JSON.
    pub(super) unreadable: usize,
}

impl Records {
    /// All records of a run; a file that is not there holds none.
    pub(super) fn read(run_dir: &RunDir) -> Result<Self, Error> {
        let mut records = Self::default();
        for record in lines(&run_dir.metrics_path(), &mut records.unreadable)? {
            match record["kind"].as_str() {
                Some("evaluation") => records.evaluations.push(record),
                _ => records.train.push(record),
            }
        }
        records.timing = lines(&run_dir.timing_path(), &mut records.unreadable)?;
        Ok(records)
    }

    /// Environment steps and updates of the last record.
    pub(super) fn progress(&self) -> Option<(f64, f64)> {
        let last = [&self.train, &self.evaluations].into_iter().filter_map(|records| records.last());
        let progress = last.map(|record| (number(record, "/env_steps"), number(record, "/updates")));
        progress.filter(|(steps, _)| steps.is_finite()).max_by(|a, b| a.0.total_cmp(&b.0))
    }

    /// Seconds of training of each process that worked on the run: their clocks begin at 0.
    pub(super) fn seconds_by_process(&self) -> Vec<f64> {
        let mut processes: Vec<f64> = Vec::new();
        for seconds in self.timing.iter().map(|record| number(record, "/seconds")).filter(|s| s.is_finite()) {
            match processes.last_mut() {
                Some(last) if seconds >= *last => *last = seconds,
                _ => processes.push(seconds),
            }
        }
        processes
    }

    /// Mean of a share in timing.jsonl, weighted by the time its records cover.
    pub(super) fn mean_share(&self, pointer: &str) -> Option<f64> {
        let (mut sum, mut whole, mut before) = (0.0, 0.0, 0.0);
        for record in &self.timing {
            let (seconds, share) = (number(record, "/seconds"), number(record, pointer));
            let lap = if seconds >= before { seconds - before } else { seconds };
            before = seconds;
            if share.is_finite() && lap.is_finite() {
                sum += share * lap;
                whole += lap;
            }
        }
        (whole > 0.0).then(|| sum / whole)
    }
}

/// The number at `pointer`, NaN if there is none.
pub(super) fn number(record: &Value, pointer: &str) -> f64 {
    record.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

/// A field over environment steps, times `scale`: a number, or an estimate with its interval.
pub(super) fn curve(records: &[Value], pointer: &str, scale: f64) -> Vec<Point> {
    let point = |record: &Value| {
        let x = number(record, "/env_steps");
        let part = |name: &str| scale * number(record, &format!("{pointer}/{name}"));
        match record.pointer(pointer) {
            Some(Value::Object(_)) => {
                let (low, high) = (part("low"), part("high"));
                let interval = (low.is_finite() && high.is_finite()).then_some((low, high));
                Point { x, y: part("value"), interval }
            }
            _ => Point { x, y: scale * number(record, pointer), interval: None },
        }
    };
    thinned(records.iter().map(point).filter(|p| p.x.is_finite()).collect())
}

/// Largest number of entries of the array at `pointer`, e.g. heads.
pub(super) fn entries(records: &[Value], pointer: &str) -> usize {
    let length = |record: &Value| record.pointer(pointer).and_then(Value::as_array).map_or(0, Vec::len);
    records.iter().map(length).max().unwrap_or(0)
}

/// At most [`MOST_POINTS`] points: means of groups of neighbours, at the last one's step.
pub(super) fn thinned(points: Vec<Point>) -> Vec<Point> {
    let size = points.len().div_ceil(MOST_POINTS).max(1);
    if size == 1 {
        return points;
    }
    let mean = |values: &mut dyn Iterator<Item = f64>| {
        let finite: Vec<f64> = values.filter(|v| v.is_finite()).collect();
        finite.iter().sum::<f64>() / finite.len() as f64
    };
    let group = |group: &[Point]| {
        let intervals: Vec<_> = group.iter().filter_map(|p| p.interval).collect();
        let low = mean(&mut intervals.iter().map(|i| i.0));
        let high = mean(&mut intervals.iter().map(|i| i.1));
        Point {
            x: group[group.len() - 1].x,
            y: mean(&mut group.iter().map(|p| p.y)),
            interval: (!intervals.is_empty()).then_some((low, high)),
        }
    };
    points.chunks(size).map(group).collect()
}

fn lines(path: &Path, unreadable: &mut usize) -> Result<Vec<Value>, Error> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let bytes = fs::read(path).map_err(file_error("read", path))?;
    let mut records = Vec::new();
    for line in String::from_utf8_lossy(&bytes).lines() {
        match serde_json::from_str(line) {
            Ok(record @ Value::Object(_)) => records.push(record),
            _ => *unreadable += 1,
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_null_is_a_gap_and_an_estimate_has_its_interval() {
        let records = [
            json!({"env_steps": 1, "q": null, "total": {"value": 2.0, "low": 1.0, "high": 3.0}}),
            json!({"env_steps": 2, "q": 0.5, "total": null}),
        ];
        let q = curve(&records, "/q", 10.0);
        assert!(q[0].y.is_nan() && q[1].y == 5.0);
        let total = curve(&records, "/total", 1.0);
        assert_eq!((total[0].y, total[0].interval), (2.0, Some((1.0, 3.0))));
        assert!(total[1].y.is_nan() && total[1].interval.is_none());
    }

    #[test]
    fn long_curves_are_thinned_and_keep_their_end() {
        let points: Vec<_> = (1..=1200).map(|k| Point { x: k as f64, y: 2.0, interval: None }).collect();
        let thin = thinned(points);
        assert_eq!((thin.len(), thin[0].x, thin[399].x, thin[0].y), (400, 3.0, 1200.0, 2.0));
    }

    #[test]
    fn the_time_of_all_processes_counts() {
        let timing = [(10.0, 0.5), (20.0, 0.5), (5.0, 1.0)];
        let record = |(seconds, share): (f64, f64)| json!({"seconds": seconds, "update_share": share});
        let records = Records { timing: timing.map(record).into(), ..Records::default() };
        assert_eq!(records.seconds_by_process(), [20.0, 5.0]);
        assert_eq!(records.mean_share("/update_share"), Some(15.0 / 25.0));
        assert_eq!(records.mean_share("/publish_share"), None);
    }
}
