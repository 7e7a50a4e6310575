//! Which plots a report has. In: records, settings, the references of the final table; out: figures in HTML, those
//! without data left out.

mod learning;
mod machine;

use common::config::Config;

use super::{
    Error,
    html::escape,
    plot::{Plot, Reference, Scale, Series},
    records::{Point, Records, entries},
    style::{Colour, LINES},
    table,
};
use crate::evaluation::{Comparison, comparison::Row};

/// What the plots are drawn from.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    pub(super) records: &'a Records,
    pub(super) config: &'a Config,
    /// A final table over sessions as long as in training, whose methods are the references.
    pub(super) comparison: Option<&'a Comparison>,
}

/// A plot and what the reader should know about it.
struct Figure {
    plot: Plot,
    caption: String,
}

impl Sources<'_> {
    /// Environment steps at the right end of every plot.
    fn last_step(&self) -> f64 {
        self.records.progress().map_or(1.0, |(steps, _)| steps)
    }

    fn plot(&self, id: &str, title: &str, unit: &'static str, scale: Scale, series: Vec<Series>) -> Plot {
        let (id, title, last_step) = (id.to_owned(), title.to_owned(), self.last_step());
        Plot { id, title, unit, scale, wide: false, series, references: Vec::new(), last_step }
    }

    /// Every method of the final table but the trained one, by a number of its row; oracles where they have room.
    fn references(&self, oracles: bool, value: impl Fn(&Row) -> f64) -> Vec<Reference> {
        let rows = self.comparison.iter().flat_map(|comparison| &comparison.rows);
        let is_agent = |name: &str| self.comparison.is_some_and(|comparison| comparison.is_subject(name));
        rows.filter(|row| !is_agent(&row.result.name) && (oracles || !table::is_oracle(&row.result.name)))
            .map(|row| Reference {
                name: row.result.name.clone(),
                value: value(row),
                colour: table::colour_of(&row.result.name),
                is_bound: table::is_oracle(&row.result.name),
            })
            .collect()
    }

    /// M, as far as the records show it.
    fn n_heads(&self) -> usize {
        let recorded = entries(&self.records.train, "/high/mean_q");
        recorded.max(entries(&self.records.evaluations, "/returns/high"))
    }
}

fn line(name: &str, colour: Colour, points: Vec<Point>) -> Series {
    Series { name: name.to_owned(), colour, points, dots: false }
}

fn dotted(name: &str, colour: Colour, points: Vec<Point>) -> Series {
    Series { dots: true, ..line(name, colour, points) }
}

fn cycled(k: usize) -> Colour {
    LINES[k % LINES.len()]
}

/// The `<figure>`s of those plots that have data; empty if none has.
fn figures(figures: Vec<Figure>) -> Result<String, Error> {
    let mut html = String::new();
    for Figure { plot, caption } in figures {
        let Some(svg) = plot.svg().map_err(Error::drawing(&plot.title))? else { continue };
        let class = if plot.wide { " class=\"wide\"" } else { "" };
        html += &format!("<figure{class}>\n{svg}<figcaption>{}</figcaption></figure>\n", escape(&caption));
    }
    Ok(if html.is_empty() { html } else { format!("<div class=\"plots\">\n{html}</div>\n") })
}

impl Figure {
    fn new(plot: Plot, caption: impl Into<String>) -> Self {
        Self { plot, caption: caption.into() }
    }
}
