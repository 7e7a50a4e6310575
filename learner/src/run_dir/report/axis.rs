//! Axes: a range around values, round numbers along it, and how they are written.

/// A range of values along one side of a plot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    log: bool,
}

/// Values that range over more than this factor are shown on a logarithmic axis, where one is allowed.
const LOG_FACTOR: f64 = 30.0;

impl Axis {
    /// Exactly this range.
    pub(super) fn exact(low: f64, high: f64) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        Self { low, high, log: false }
    }

    /// A linear range with some room around the finite ones of `values`; `None` if there is none.
    pub(super) fn around(values: &[f64]) -> Option<Self> {
        let (low, high) = range(values)?;
        let room = if high > low { 0.08 * (high - low) } else { (0.1 * low.abs()).max(0.5) };
        // A quantity that is never negative gets no room below 0.
        let floor = if low >= 0.0 { (low - room).max(0.0) } else { low - room };
        Some(Self { low: floor, high: high + room, log: false })
    }

    /// As [`Self::around`], from 0.
    pub(super) fn from_zero(values: &[f64]) -> Option<Self> {
        range(values)?;
        Self::around(&[values, &[0.0]].concat())
    }

    /// Logarithmic where all values are positive and range widely, linear otherwise.
    pub(super) fn wide(values: &[f64]) -> Option<Self> {
        let (low, high) = range(values)?;
        if low > 0.0 && high / low > LOG_FACTOR {
            let room = (high / low).powf(0.05);
            return Some(Self { low: low / room, high: high * room, log: true });
        }
        Self::around(values)
    }

    /// Whether it is logarithmic.
    pub(super) fn is_log(&self) -> bool {
        self.log
    }

    /// Where a value lies, 0 at the low end, 1 at the high end; values beyond lie at an end, NaN stays NaN.
    pub(super) fn position(&self, value: f64) -> f64 {
        let position = if self.log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        position.clamp(0.0, 1.0)
    }

    /// About `n` round values in the range, ascending, with their labels.
    pub(super) fn ticks(&self, n: usize) -> Vec<(f64, String)> {
        if self.log {
            return self.log_ticks();
        }
        let step = round_step((self.high - self.low) / n.max(1) as f64);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step).floor() as i64;
        (first..=last).map(|k| (k as f64 * step, label(k as f64 * step, step))).collect()
    }

    /// Powers of ten; with so few of them that the eye would find no scale, 2 and 5 times them as well.
    fn log_ticks(&self) -> Vec<(f64, String)> {
        let decades = (self.low.log10().floor() as i32)..=(self.high.log10().ceil() as i32);
        let inside = |factors: &[f64]| -> Vec<f64> {
            let values = decades.clone().flat_map(|d| factors.iter().map(move |f| f * 10_f64.powi(d)));
            values.filter(|v| (self.low..=self.high).contains(v)).collect()
        };
        let powers = inside(&[1.0]);
        let every = powers.len().div_ceil(6).max(1);
        let ticks = if powers.len() < 3 { inside(&[1.0, 2.0, 5.0]) } else { powers };
        let every = if ticks.len() > 7 { every.max(2) } else { 1 };
        ticks.into_iter().step_by(every).map(|v| (v, number(v))).collect()
    }
}

fn range(values: &[f64]) -> Option<(f64, f64)> {
    values.iter().copied().filter(|v| v.is_finite()).fold(None, |range, v| match range {
        None => Some((v, v)),
        Some((low, high)) => Some((v.min(low), v.max(high))),
    })
}

/// The round number (1, 2, 5 times a power of ten) next above `step`.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|f| f * power >= step * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

/// A multiple of `step`, with the decimals that tell it from its neighbours: `1.5M`, `30k`, `0.25`.
fn label(value: f64, step: f64) -> String {
    let (unit, sign) = unit_of(value.abs().max(step));
    let decimals = (-(step / unit).log10()).ceil().clamp(0.0, 9.0) as usize;
    let text = format!("{:.decimals$}", value / unit);
    let text = if decimals > 0 && sign.is_empty() { text } else { trimmed(text) };
    if value == 0.0 { "0".to_owned() } else { text + sign }
}

/// At most three significant digits: `6.82`, `5`, `1.2M`. For counts.
pub(super) fn number(value: f64) -> String {
    let text = measured(value);
    let digits = text.trim_end_matches(char::is_alphabetic);
    if text.contains(['e', '/']) { text.clone() } else { trimmed(digits.to_owned()) + &text[digits.len()..] }
}

/// Three significant digits: `6.82`, `5.00`, `0.00312`, `1.20M`. For what was measured.
pub(super) fn measured(value: f64) -> String {
    if !value.is_finite() {
        return "n/a".to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    if !(1e-4..1e15).contains(&value.abs()) {
        return format!("{value:.0e}");
    }
    let (unit, sign) = unit_of(value.abs());
    let scaled = value / unit;
    let decimals = (2.0 - scaled.abs().log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{scaled:.decimals$}{sign}")
}

fn unit_of(size: f64) -> (f64, &'static str) {
    match size {
        s if s >= 1e9 => (1e9, "G"),
        s if s >= 1e6 => (1e6, "M"),
        s if s >= 1e4 => (1e3, "k"),
        _ => (1.0, ""),
    }
}

/// Without zeros behind the point that say nothing.
fn trimmed(text: String) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: Axis) -> Vec<String> {
        axis.ticks(5).into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round_numbers_inside_the_range() {
        assert_eq!(labels(Axis::exact(0.0, 3e6)), ["0", "1M", "2M", "3M"]);
        assert_eq!(labels(Axis::exact(0.0, 60_000.0)), ["0", "20k", "40k", "60k"]);
        assert_eq!(labels(Axis::exact(-0.3, 0.7)), ["-0.2", "0", "0.2", "0.4", "0.6"]);
        assert_eq!(labels(Axis::exact(5.02, 5.11)), ["5.02", "5.04", "5.06", "5.08", "5.10"]);
    }

    #[test]
    fn wide_positive_ranges_are_logarithmic() {
        let axis = Axis::wide(&[0.01, 10.0]).unwrap();
        assert!(axis.is_log() && !Axis::wide(&[0.0, 10.0]).unwrap().is_log());
        assert_eq!(labels(axis), ["0.01", "0.1", "1", "10"]);
        assert!((axis.position(0.316_227_766) - 0.5).abs() < 1e-6);
    }

    #[test]
    fn one_value_has_room_and_none_no_axis() {
        let axis = Axis::around(&[3.0]).unwrap();
        assert_eq!(axis.position(3.0), 0.5);
        assert_eq!(Axis::around(&[f64::NAN, f64::INFINITY]), None);
        assert!(axis.position(f64::NAN).is_nan());
        assert!(!labels(Axis::around(&[0.0]).unwrap()).is_empty());
    }

    #[test]
    fn numbers_have_three_digits() {
        let texts = [6.8249, 0.003_12, 1_234_567.0, 12_345.0, 100.0, 0.0, -2.5, f64::NAN].map(number);
        assert_eq!(texts, ["6.82", "0.00312", "1.23M", "12.3k", "100", "0", "-2.5", "n/a"]);
        assert_eq!([5.0, 1.2e6, -2.5, 3e-9].map(measured), ["5.00", "1.20M", "-2.50", "3e-9"]);
        assert_eq!(number(3e-9), "3e-9");
    }
}
