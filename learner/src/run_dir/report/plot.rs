//! Curves over steps, each named at its end, with the references as horizontal lines.
//!
//! Bounds far above everything else (the oracles) get a strip of their own over the plot, on a scale of their own,
//! so that what was learned is not pressed into the lower part.

use super::{
    axis::{Axis, measured, number},
    canvas::{Caption, Problem, picture},
    records::Point,
    style::Colour,
};

mod draw;
mod labels;

/// A curve.
#[derive(Clone, Debug)]
pub(super) struct Series {
    /// What it is called at its end.
    pub(super) name: String,
    pub(super) colour: Colour,
    /// In the order of the steps; NaN is a gap.
    pub(super) points: Vec<Point>,
    /// Whether the points are few enough to be shown as such.
    pub(super) dots: bool,
}

/// A horizontal line.
#[derive(Clone, Debug)]
pub(super) struct Reference {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) colour: Colour,
    /// Whether it is an upper bound, which may have the strip.
    pub(super) is_bound: bool,
}

/// How the values lie on the vertical axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// As far as the values go.
    Fit,
    /// From 0.
    FromZero,
    /// From 0 to what is usual: values far beyond lie at the upper edge.
    Usual,
    /// Logarithmic where the values range widely.
    Wide,
}

/// What is drawn.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    /// Unique in the page, letters and `-` only.
    pub(super) id: String,
    pub(super) title: String,
    /// Unit of the values.
    pub(super) unit: &'static str,
    pub(super) scale: Scale,
    /// Twice as wide as others.
    pub(super) wide: bool,
    pub(super) series: Vec<Series>,
    pub(super) references: Vec<Reference>,
    /// Steps at the right end.
    pub(super) last_step: f64,
}

/// Bounds above this many times the largest other value get a strip of their own.
const FAR: f64 = 1.3;

impl Series {
    fn finite(&self) -> impl DoubleEndedIterator<Item = Point> + '_ {
        self.points.iter().copied().filter(|p| p.y.is_finite())
    }

    fn last(&self) -> Option<Point> {
        self.finite().next_back()
    }
}

impl Plot {
    /// The `<svg>` element; `None` if there is no value to show.
    pub(super) fn svg(&self) -> Result<Option<String>, Problem> {
        let (near, far) = self.near_and_far();
        let Some(axis) = self.axis(&near) else { return Ok(None) };
        let size = if self.wide { (1720, 800) } else { (860, 520) };
        let caption =
            Caption { id: self.id.clone(), title: self.title.clone(), description: self.description() };
        let svg = picture(&caption, size, |canvas| {
            draw::Drawing::new(self, canvas, size, axis, &near, &far).draw()
        })?;
        Ok(Some(svg))
    }

    /// The references that share the curves' scale, and those with a strip of their own.
    fn near_and_far(&self) -> (Vec<Reference>, Vec<Reference>) {
        let others = self.references.iter().filter(|r| !r.is_bound && r.value.is_finite());
        let top = others.map(|r| r.value).chain(self.largest()).max_by(f64::total_cmp);
        let is_near = |r: &Reference| !r.is_bound || top.is_none_or(|top| top <= 0.0 || r.value <= FAR * top);
        self.references.iter().filter(|r| r.value.is_finite()).cloned().partition(is_near)
    }

    /// The largest value of the curves and their intervals.
    fn largest(&self) -> Option<f64> {
        let tops = self.series.iter().flat_map(Series::finite).map(|p| p.interval.map_or(p.y, |i| i.1));
        tops.filter(|y| y.is_finite()).max_by(f64::total_cmp)
    }

    /// The vertical axis; `None` without any curve.
    fn axis(&self, near: &[Reference]) -> Option<Axis> {
        self.largest()?;
        let points = self.series.iter().flat_map(Series::finite);
        let spread = points.flat_map(|p| [Some(p.y), p.interval.map(|i| i.0), p.interval.map(|i| i.1)]);
        let values: Vec<f64> = spread.flatten().chain(near.iter().map(|reference| reference.value)).collect();
        match self.scale {
            Scale::Fit => Axis::around(&values),
            Scale::FromZero => Axis::from_zero(&values),
            Scale::Usual => Axis::from_zero(&usual(values)),
            Scale::Wide => Axis::wide(&values),
        }
    }

    /// The plot in words.
    fn description(&self) -> String {
        let mut text = format!("{}, in {}, over steps.", self.title, self.unit);
        for series in &self.series {
            if let (Some(first), Some(last)) = (series.finite().next(), series.last()) {
                text += &format!(
                    " {}: {} at step {}, {} at step {}.",
                    series.name,
                    measured(first.y),
                    number(first.x),
                    measured(last.y),
                    number(last.x)
                );
            }
        }
        for reference in &self.references {
            text += &format!(" {}: {}.", reference.name, measured(reference.value));
        }
        text
    }
}

/// Without the values far above nine tenths of the others: rates before anything holds the rollouts back.
fn usual(mut values: Vec<f64>) -> Vec<f64> {
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    let common = values.get(values.len() * 9 / 10).copied().unwrap_or(0.0);
    values.retain(|value| *value <= 2.0 * common);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_rate_far_beyond_the_others_does_not_set_the_scale() {
        let rates: Vec<f64> = [60_000.0].into_iter().chain((0..20).map(|k| 5000.0 + f64::from(k))).collect();
        assert_eq!(usual(rates).len(), 20);
        assert_eq!(usual(vec![5.0, 4.0, f64::NAN]), [4.0, 5.0]);
        assert_eq!(usual(vec![0.0]), [0.0]);
    }
}
