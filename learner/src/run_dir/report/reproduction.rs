//! The page of the paper's experiments: tables and figures, one section each.
//!
//! In: [`Section`]s, what was run; out: one HTML file, and every figure as an SVG of its own.

use super::{
    Error,
    bars::{self, Bars},
    canvas::Caption,
    html::{escape, paragraph, section, table_of_words},
    plot::{Plot, Scale, Series},
    records::Point,
    style::{self, BLUE, LINES, MUTED},
};
use crate::reproduce::{figure::Figure, tables::Section};

/// The `<svg>` element; `None` where there is no value to show.
fn svg(figure: &Figure) -> Result<Option<String>, Error> {
    match figure {
        Figure::Curves { id, title, unit, series } => {
            let series: Vec<Series> = series
                .iter()
                .enumerate()
                .map(|(k, (name, points))| Series {
                    name: name.clone(),
                    colour: LINES[k % LINES.len()],
                    points: points.iter().map(|&(x, y)| Point { x, y, interval: None }).collect(),
                    dots: points.len() <= 50,
                })
                .collect();
            let last = series.iter().flat_map(|series| series.points.last()).map(|point| point.x);
            let plot = Plot {
                id: id.clone(),
                title: title.clone(),
                unit,
                scale: Scale::Fit,
                wide: true,
                last_step: last.fold(1.0, f64::max),
                series,
                references: Vec::new(),
            };
            plot.svg().map_err(Error::drawing(title))
        }
        Figure::Bars { id, title, unit, bars } => {
            let words: String = bars
                .iter()
                .map(|bar| format!(" {}: {:.2}.", bar.name, bar.parts.iter().sum::<f64>()))
                .collect();
            let caption =
                Caption { id: id.clone(), title: title.clone(), description: format!("{title}.{words}") };
            let row = |bar: &crate::reproduce::figure::Bar| bars::Bar {
                name: bar.name.clone(),
                parts: bar
                    .parts
                    .iter()
                    .zip([1.0, 0.45])
                    .map(|(&length, strength)| (length, strength))
                    .collect(),
                interval: Some(bar.interval).filter(|(low, high)| high > low),
                colour: if bar.is_subject { BLUE } else { MUTED },
                text: format!("{:.2}", bar.parts.iter().sum::<f64>()),
                bold: bar.is_subject,
            };
            let chart =
                Bars { caption, unit: unit.clone(), width: 1720, bars: bars.iter().map(row).collect() };
            chart.svg().map_err(Error::drawing(title))
        }
    }
}

/// Every figure that has a value, as (file name, SVG that stands alone).
pub fn pictures(sections: &[Section]) -> Result<Vec<(String, String)>, Error> {
    let mut pictures = Vec::new();
    for figure in sections.iter().flat_map(|section| &section.figures) {
        if let Some(svg) = svg(figure)? {
            pictures.push((format!("{}.svg", figure.id()), style::alone(&svg)));
        }
    }
    Ok(pictures)
}

/// The whole file. `about`: what was run, a paragraph each.
pub fn page(sections: &[Section], about: &[String]) -> Result<String, Error> {
    let mut body = String::new();
    for shown in sections {
        let mut content = String::new();
        for table in &shown.tables {
            let header: Vec<&str> = table.header.iter().map(String::as_str).collect();
            content += &format!("<h3>{}</h3>\n", escape(&table.title));
            content += &table_of_words(&header, &table.rows);
            table.notes.iter().for_each(|note| content += &paragraph(note));
        }
        for figure in &shown.figures {
            if let Some(svg) = svg(figure)? {
                content += &format!("<figure class=\"wide\">\n{svg}</figure>\n");
            }
        }
        body += &section(shown.experiment.id(), shown.experiment.title(), content);
    }
    let about: String = about.iter().map(|line| paragraph(line)).collect();
    body += &section("about", "About", about);
    Ok(style::page("Reproduction", "The paper's experiments", &body))
}
