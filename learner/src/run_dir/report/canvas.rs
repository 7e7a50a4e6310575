//! The pen of the report: plotters' SVG backend, with the few strokes that its plots are made of.
//!
//! In: shapes in units of half a CSS pixel (plotters rounds coordinates to whole units); out: an `<svg>` element for a
//! page, with a title and a description for those who do not see it.

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{html::escape, style::Colour};

pub(super) type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Problem = DrawingAreaErrorKind<std::io::Error>;
/// Units from the left and from the top.
pub(super) type At = (i32, i32);

/// Height of ordinary text.
pub(super) const TEXT: f64 = 24.0;

/// What a picture is called and says.
#[derive(Clone, Debug)]
pub(super) struct Caption {
    /// Unique in the page, letters and `-` only.
    pub(super) id: String,
    pub(super) title: String,
    /// What the plot shows, in words.
    pub(super) description: String,
}

/// How a text is written.
#[derive(Clone, Copy)]
pub(super) struct Font {
    pub(super) size: f64,
    pub(super) colour: Colour,
    pub(super) bold: bool,
    pub(super) anchor: HPos,
}

impl Font {
    /// Ordinary text to the right of its place.
    pub(super) fn plain(colour: Colour) -> Self {
        Self { size: TEXT, colour, bold: false, anchor: HPos::Left }
    }

    pub(super) fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    pub(super) fn anchored(self, anchor: HPos) -> Self {
        Self { anchor, ..self }
    }

    pub(super) fn sized(self, size: f64) -> Self {
        Self { size, ..self }
    }
}

/// Draws a picture of `size` units.
pub(super) fn picture(
    caption: &Caption,
    size: (u32, u32),
    draw: impl FnOnce(&Canvas<'_>) -> Result<(), Problem>,
) -> Result<String, Problem> {
    let mut svg = String::new();
    {
        let canvas = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        draw(&canvas)?;
        canvas.present()?;
    }
    // plotters' own opening tag fixes the size and names no title.
    let inner = svg.split_once('>').map_or("", |(_, inner)| inner);
    let (Caption { id, title, description }, (width, height)) = (caption, size);
    Ok(format!(
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"{id}-title {id}-text\">\n\
         <title id=\"{id}-title\">{}</title>\n<desc id=\"{id}-text\">{}</desc>{inner}",
        escape(title),
        escape(description)
    ))
}

/// Writes a text, its middle at the height of `at`.
pub(super) fn write(canvas: &Canvas<'_>, at: At, text: &str, font: Font) -> Result<(), Problem> {
    // plotters divides the size by 1.24 again.
    let style = if font.bold { FontStyle::Bold } else { FontStyle::Normal };
    let description = FontDesc::new(FontFamily::SansSerif, font.size * 1.24, style);
    let text_style = description.color(&font.colour.light).pos(Pos::new(font.anchor, VPos::Center));
    canvas.draw_text(text, &text_style, at)
}

/// A line through points.
pub(super) fn line(canvas: &Canvas<'_>, points: Vec<At>, colour: Colour, width: u32) -> Result<(), Problem> {
    canvas.draw(&PathElement::new(points, colour.light.stroke_width(width)))
}

/// A filled area, `strength` 0 (nothing) to 1 (opaque).
pub(super) fn area(
    canvas: &Canvas<'_>,
    points: Vec<At>,
    colour: Colour,
    strength: f64,
) -> Result<(), Problem> {
    canvas.draw(&Polygon::new(points, colour.light.mix(strength).filled()))
}

/// A filled box between two corners.
pub(super) fn bar(
    canvas: &Canvas<'_>,
    corners: [At; 2],
    colour: Colour,
    strength: f64,
) -> Result<(), Problem> {
    canvas.draw(&Rectangle::new(corners, colour.light.mix(strength).filled()))
}

/// A dot.
pub(super) fn dot(canvas: &Canvas<'_>, at: At, radius: u32, colour: Colour) -> Result<(), Problem> {
    canvas.draw(&Circle::new(at, radius, colour.light.filled()))
}

/// How many units a bold text is wide at most, in the fonts that pages use.
pub(super) fn width_of(text: &str) -> i32 {
    (text.chars().count() as f64 * TEXT * 0.63).ceil() as i32
}
