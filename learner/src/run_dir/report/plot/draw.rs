//! A plot's strokes: title, axes, curves with their bands, references, and the strip of the far references.

use plotters::style::text_anchor::HPos;

use super::{
    super::{
        axis::{Axis, measured},
        canvas::{At, Canvas, Font, Problem, area, dot, line, width_of, write},
        records::Point,
        style::{AXIS, GRID, INK, MUTED},
    },
    Plot, Reference, Series,
    labels::{self, Label},
};

/// From the top to the plot: the title and the unit.
const HEAD: i32 = 92;
/// Below the plot: the steps.
const FOOT: i32 = 62;
/// Left of the plot: the values.
const LEFT: i32 = 84;
/// Most room for names at the right.
const MOST_NAMES: i32 = 420;

/// Where values go.
#[derive(Clone, Copy, Debug)]
struct Frame {
    left: i32,
    right: i32,
    top: i32,
    bottom: i32,
    x: Axis,
    y: Axis,
}

impl Frame {
    fn at(&self, x: f64, y: f64) -> At {
        let across = self.x.position(x) * f64::from(self.right - self.left);
        let up = self.y.position(y) * f64::from(self.bottom - self.top);
        (self.left + across.round() as i32, self.bottom - up.round() as i32)
    }
}

/// A plot on its way to paper.
pub(super) struct Drawing<'a, 'svg> {
    plot: &'a Plot,
    canvas: &'a Canvas<'svg>,
    near: &'a [Reference],
    far: &'a [Reference],
    frame: Frame,
    /// Of the far references, if there are any.
    strip: Option<Frame>,
}

impl<'a, 'svg> Drawing<'a, 'svg> {
    pub(super) fn new(
        plot: &'a Plot,
        canvas: &'a Canvas<'svg>,
        (width, height): (u32, u32),
        y: Axis,
        near: &'a [Reference],
        far: &'a [Reference],
    ) -> Self {
        let names = plot.series.iter().filter_map(|series| Some(named(&series.name, series.last()?.y)));
        let names = names.chain(plot.references.iter().map(|r| named(&r.name, r.value)));
        let room = names.map(|name| width_of(&name)).max().unwrap_or(0) + 30;
        let (width, height) = (width as i32, height as i32);
        let strip_height = (height - HEAD - FOOT) / 4;
        let frame = Frame {
            left: LEFT,
            right: width - room.min(MOST_NAMES),
            top: if far.is_empty() { HEAD } else { HEAD + strip_height + 26 },
            bottom: height - FOOT,
            x: Axis::exact(0.0, plot.last_step),
            y,
        };
        let strip = Axis::around(&far.iter().map(|reference| reference.value).collect::<Vec<_>>());
        let strip = strip.map(|y| Frame { top: HEAD, bottom: HEAD + strip_height, y, ..frame });
        Self { plot, canvas, near, far, frame, strip }
    }

    pub(super) fn draw(&self) -> Result<(), Problem> {
        self.head()?;
        self.values_axis(&self.frame, 5)?;
        self.steps_axis()?;
        let mut labels = self.references(self.near, &self.frame)?;
        for series in &self.plot.series {
            self.band(series)?;
        }
        for series in &self.plot.series {
            self.curve(series)?;
            labels.extend(self.label(series));
        }
        let frame = &self.frame;
        labels::write_all(self.canvas, labels, frame.right, (frame.top - 6, frame.bottom))?;
        if let Some(strip) = &self.strip {
            self.values_axis(strip, 2)?;
            let labels = self.references(self.far, strip)?;
            labels::write_all(self.canvas, labels, strip.right, (strip.top, strip.bottom + 12))?;
            self.cut(strip.bottom, frame.top)?;
        }
        Ok(())
    }

    fn head(&self) -> Result<(), Problem> {
        write(self.canvas, (0, 20), &self.plot.title, Font::plain(INK).bold().sized(28.0))?;
        let unit = match self.frame.y.is_log() {
            true => format!("{}, logarithmic", self.plot.unit),
            false => self.plot.unit.to_owned(),
        };
        write(self.canvas, (0, 56), &unit, Font::plain(MUTED).sized(22.0))
    }

    fn values_axis(&self, frame: &Frame, n: usize) -> Result<(), Problem> {
        for (value, label) in frame.y.ticks(n) {
            let (_, y) = frame.at(0.0, value);
            line(self.canvas, vec![(frame.left, y), (frame.right, y)], GRID, 2)?;
            let font = Font::plain(MUTED).anchored(HPos::Right);
            write(self.canvas, (frame.left - 12, y), &label, font)?;
        }
        Ok(())
    }

    fn steps_axis(&self) -> Result<(), Problem> {
        let Frame { left, right, bottom, .. } = self.frame;
        line(self.canvas, vec![(left, bottom), (right, bottom)], AXIS, 2)?;
        let ticks = self.frame.x.ticks(if self.plot.wide { 8 } else { 5 });
        for (k, (step, label)) in ticks.into_iter().enumerate() {
            let (x, _) = self.frame.at(step, 0.0);
            line(self.canvas, vec![(x, bottom), (x, bottom + 8)], AXIS, 2)?;
            let label = if k == 0 && step == 0.0 { "0 steps".to_owned() } else { label };
            write(self.canvas, (x, bottom + 28), &label, Font::plain(MUTED).anchored(HPos::Center))?;
        }
        Ok(())
    }

    fn references(&self, references: &[Reference], frame: &Frame) -> Result<Vec<Label>, Problem> {
        references
            .iter()
            .map(|reference| {
                let (_, y) = frame.at(0.0, reference.value);
                line(self.canvas, vec![(frame.left, y), (frame.right, y)], reference.colour, 2)?;
                Ok(Label {
                    text: named(&reference.name, reference.value),
                    colour: reference.colour,
                    bold: false,
                    at: (frame.right, y),
                })
            })
            .collect()
    }

    /// The 95% interval around a curve; around a single point a whisker.
    fn band(&self, series: &Series) -> Result<(), Problem> {
        let with_interval = |p: &&Point| p.y.is_finite() && p.interval.is_some();
        let points: Vec<&Point> = series.points.iter().filter(with_interval).collect();
        let ends =
            |p: &Point| p.interval.map(|(low, high)| (self.frame.at(p.x, low), self.frame.at(p.x, high)));
        let ends: Vec<(At, At)> = points.into_iter().filter_map(ends).collect();
        match &ends[..] {
            [] => Ok(()),
            [(low, high)] => line(self.canvas, vec![*low, *high], series.colour, 3),
            _ => {
                let outline = ends.iter().map(|e| e.1).chain(ends.iter().rev().map(|e| e.0)).collect();
                area(self.canvas, outline, series.colour, 0.16)
            }
        }
    }

    /// Lines between neighbours; a gap where one is missing, a dot where a point stands alone.
    fn curve(&self, series: &Series) -> Result<(), Problem> {
        for run in series.points.split(|p| !p.y.is_finite()) {
            let points: Vec<At> = run.iter().map(|p| self.frame.at(p.x, p.y)).collect();
            if series.dots || points.len() == 1 {
                for &point in &points {
                    dot(self.canvas, point, 6, series.colour)?;
                }
            }
            if points.len() > 1 {
                line(self.canvas, points, series.colour, 4)?;
            }
        }
        Ok(())
    }

    fn label(&self, series: &Series) -> Option<Label> {
        let last = series.last()?;
        let text = named(&series.name, last.y);
        Some(Label { text, colour: series.colour, bold: true, at: self.frame.at(last.x, last.y) })
    }

    /// The zigzag that says: the scale is cut here.
    fn cut(&self, above: i32, below: i32) -> Result<(), Problem> {
        let (x, middle) = (self.frame.left, (above + below) / 2);
        for offset in [-5, 5] {
            let y = middle + offset;
            line(
                self.canvas,
                vec![(x - 14, y + 6), (x - 4, y - 6), (x + 4, y + 6), (x + 14, y - 6)],
                MUTED,
                2,
            )?;
        }
        let font = Font::plain(MUTED).sized(20.0);
        write(self.canvas, (x + 28, middle), "scale cut", font)
    }
}

fn named(name: &str, value: f64) -> String {
    format!("{name} {}", measured(value))
}
