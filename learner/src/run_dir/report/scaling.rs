//! The page of a convergence study: time and steps to the target by number of actors, curves, the table.
//!
//! In: a [`Study`], the target, its table; out: one HTML file, and the SVG of the time alone.

use super::{
    Error,
    bars::{Bar, Bars},
    canvas::Caption,
    html::{escape, paragraph, section, table_of_words},
    plot::{Plot, Scale, Series},
    records::Point,
    style::{self, BLUE, GREEN, LINES},
};
use crate::scaling::{
    Study,
    study::{Group, Spread, name},
    tables::{Cells, against_single_node},
};

/// The time to the target as one picture; `None` if no row reached it.
pub fn picture(study: &Study, target: Option<f64>) -> Result<Option<String>, Error> {
    let bars = bars(study, target, "seconds", "Seconds to the target return", |(seconds, _)| seconds);
    let svg = bars.svg().map_err(Error::drawing("seconds to the target"))?;
    Ok(svg.as_deref().map(style::alone))
}

fn bars(
    study: &Study,
    target: Option<f64>,
    id: &str,
    title: &str,
    of: impl Fn((Spread, Spread)) -> Spread,
) -> Bars {
    let bar = |group: &Group<'_>| {
        let reached = target.and_then(|target| group.reached(target)).map(&of);
        Bar {
            name: name(group.actors),
            parts: reached.map(|spread| (spread.mean, 1.0)).into_iter().collect(),
            interval: reached.filter(|s| s.high > s.low).map(|s| (s.low, s.high)),
            colour: if id == "seconds" { BLUE } else { GREEN },
            text: reached.map_or_else(|| "not reached".to_owned(), |spread| format!("{:.0}", spread.mean)),
            bold: false,
        }
    };
    let bars: Vec<Bar> = study.groups().iter().map(bar).collect();
    let words: String = bars.iter().map(|bar| format!(" {}: {}.", bar.name, bar.text)).collect();
    Bars {
        caption: Caption {
            id: format!("scaling-{id}"),
            title: title.to_owned(),
            description: format!("{title}.{words}"),
        },
        unit: target.map_or_else(
            || "no target was found".to_owned(),
            |target| {
                format!("{id} until an evaluation of {target:.3} or more; the line is the range over seeds")
            },
        ),
        width: 1720,
        bars,
    }
}

/// Evaluation returns over environment steps, a line a run.
fn curves(study: &Study) -> Plot {
    let groups = study.groups();
    let series = groups.iter().enumerate().flat_map(|(k, group)| {
        group.rows.iter().map(move |row| Series {
            name: name(row.actors),
            colour: LINES[k % LINES.len()],
            points: row
                .run
                .evaluations
                .iter()
                .map(|e| Point { x: e.env_steps as f64, y: e.total.value, interval: None })
                .collect(),
            dots: true,
        })
    });
    Plot {
        id: "scaling-curves".to_owned(),
        title: "Evaluation reward".to_owned(),
        unit: "mean reward a session",
        scale: Scale::Fit,
        wide: true,
        series: series.collect(),
        references: Vec::new(),
        last_step: study.rows.iter().map(|row| row.run.env_steps as f64).fold(1.0, f64::max),
    }
}

/// The whole file.
pub fn page(
    study: &Study,
    target: Option<f64>,
    table: &Cells,
    model: Option<&Cells>,
) -> Result<String, Error> {
    let unfair = study.unfair();
    let mut result = String::new();
    for reason in &unfair {
        result += &format!("<p class=\"caveat\">Not comparable: {}</p>\n", escape(reason));
    }
    if target.is_none() {
        result += "<p class=\"caveat\">No target: the runs did not end higher than they began.</p>\n";
    }
    for (id, title) in
        [("seconds", "Seconds to the target return"), ("steps", "Environment steps to the target return")]
    {
        let of = |(seconds, steps)| if id == "seconds" { seconds } else { steps };
        let svg = bars(study, target, id, title, of).svg().map_err(Error::drawing(title))?;
        result += &svg.map_or_else(String::new, |svg| format!("<figure class=\"wide\">\n{svg}</figure>\n"));
    }
    result += &table_of_words(&table.header, &table.rows);
    result.extend(against_single_node(study).iter().map(|line| paragraph(line)));
    let curves = curves(study).svg().map_err(Error::drawing("evaluation reward"))?;
    let curves = curves.map_or_else(
        || paragraph("No run was evaluated."),
        |svg| format!("<figure class=\"wide\">\n{svg}</figure>\n"),
    );
    let about: String = study.about.iter().map(|line| paragraph(line)).collect();
    let mut body = section("result", "Result", result) + &section("curves", "Reward over steps", curves);
    if let Some(model) = model {
        let note = paragraph(
            "From the costs measured here, every process on a machine of its own; docs/scaling.md has the formulae.",
        );
        body +=
            &section("model", "What the model expects", note + &table_of_words(&model.header, &model.rows));
    }
    body += &section("about", "About", about);
    Ok(style::page("Scaling study", "Convergence against the number of actors", &body))
}
