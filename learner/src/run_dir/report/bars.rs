//! Horizontal bars with names, parts, intervals and numbers.

use plotters::style::text_anchor::HPos;

use super::{
    axis::Axis,
    canvas::{Canvas, Caption, Font, Problem, TEXT, bar, line, picture, width_of, write},
    style::{AXIS, Colour, GRID, INK, MUTED},
};

/// A row.
#[derive(Clone, Debug)]
pub(super) struct Bar {
    pub(super) name: String,
    /// Lengths that add up, each with its strength of colour.
    pub(super) parts: Vec<(f64, f64)>,
    pub(super) interval: Option<(f64, f64)>,
    pub(super) colour: Colour,
    /// Behind the bar.
    pub(super) text: String,
    pub(super) bold: bool,
}

/// A chart.
#[derive(Clone, Debug)]
pub(super) struct Bars {
    pub(super) caption: Caption,
    pub(super) unit: String,
    /// Units across.
    pub(super) width: u32,
    pub(super) bars: Vec<Bar>,
}

const HEAD: i32 = 88;
const FOOT: i32 = 52;
const ROW: i32 = 46;
const THICK: i32 = 26;

impl Bar {
    fn length(&self) -> f64 {
        self.parts.iter().map(|(length, _)| length.max(0.0)).filter(|length| length.is_finite()).sum()
    }
}

impl Bars {
    /// The `<svg>` element; `None` without a bar.
    pub(super) fn svg(&self) -> Result<Option<String>, Problem> {
        let ends = self.bars.iter().flat_map(|bar| [bar.length(), bar.interval.map_or(0.0, |i| i.1)]);
        let Some(longest) = ends.filter(|end| end.is_finite()).max_by(f64::total_cmp) else {
            return Ok(None);
        };
        let size = (self.width, (HEAD + ROW * self.bars.len() as i32 + FOOT) as u32);
        picture(&self.caption, size, |canvas| self.draw(canvas, longest)).map(Some)
    }

    fn draw(&self, canvas: &Canvas<'_>, longest: f64) -> Result<(), Problem> {
        let widest = |texts: &mut dyn Iterator<Item = &String>| texts.map(|t| width_of(t)).max().unwrap_or(0);
        let left = widest(&mut self.bars.iter().map(|bar| &bar.name)) + 24;
        let right = self.width as i32 - widest(&mut self.bars.iter().map(|bar| &bar.text)) - 30;
        let axis = Axis::exact(0.0, longest);
        let x = |value: f64| left + (axis.position(value) * f64::from(right - left)).round() as i32;
        let bottom = HEAD + ROW * self.bars.len() as i32;

        write(canvas, (0, 20), &self.caption.title, Font::plain(INK).bold().sized(28.0))?;
        write(canvas, (0, 56), &self.unit, Font::plain(MUTED).sized(22.0))?;
        for (value, label) in axis.ticks(6) {
            line(canvas, vec![(x(value), HEAD), (x(value), bottom)], GRID, 2)?;
            write(canvas, (x(value), bottom + 24), &label, Font::plain(MUTED).anchored(HPos::Center))?;
        }
        for (row, bar) in self.bars.iter().enumerate() {
            draw_bar(canvas, bar, HEAD + ROW * row as i32 + ROW / 2, left, &x)?;
        }
        line(canvas, vec![(left, HEAD), (left, bottom)], AXIS, 2)
    }
}

fn draw_bar(
    canvas: &Canvas<'_>,
    row: &Bar,
    middle: i32,
    left: i32,
    x: &impl Fn(f64) -> i32,
) -> Result<(), Problem> {
    let weight = |font: Font| if row.bold { font.bold() } else { font };
    write(canvas, (left - 14, middle), &row.name, weight(Font::plain(INK)).anchored(HPos::Right))?;
    let mut from = 0.0;
    for &(length, strength) in row.parts.iter().filter(|(length, _)| length.is_finite() && *length > 0.0) {
        let corners = [(x(from), middle - THICK / 2), (x(from + length), middle + THICK / 2)];
        bar(canvas, corners, row.colour, strength)?;
        from += length;
    }
    let mut end = x(row.length());
    if let Some((low, high)) = row.interval.filter(|(low, high)| low.is_finite() && high.is_finite()) {
        let (low, high) = (x(low), x(high));
        line(canvas, vec![(low, middle), (high, middle)], INK, 3)?;
        for at in [low, high] {
            line(canvas, vec![(at, middle - 7), (at, middle + 7)], INK, 3)?;
        }
        end = end.max(high);
    }
    write(canvas, (end + TEXT as i32 / 2, middle), &row.text, weight(Font::plain(INK)))
}
