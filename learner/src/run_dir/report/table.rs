//! The final table as HTML and as bars.

use sim::Reference;

use super::{
    Error,
    bars::{Bar, Bars},
    canvas::Caption,
    html::{escape, paragraph},
    style::{AXIS, BLUE, Colour, GOLD, GREEN, MUTED, PURPLE},
    verdict::{Side, verdicts},
};
use crate::{
    baselines::history_greedy,
    evaluation::{Comparison, Estimate, comparison::Row},
};

/// Whether a row of this name reads the users' hidden state.
pub(super) fn is_oracle(name: &str) -> bool {
    Reference::ALL.iter().any(|reference| reference.name() == name && reference.is_oracle())
}

/// The colour in every plot of a method that is not the trained one, which is blue.
pub(super) fn colour_of(name: &str) -> Colour {
    match name {
        history_greedy::NAME => GREEN,
        "logging" => PURPLE,
        "popularity" => GOLD,
        _ => MUTED,
    }
}

/// A table with its verdicts, its bars and its words. `id` makes the ids of its pictures unique.
pub(super) fn block(comparison: &Comparison, id: &str) -> Result<String, Error> {
    let settings = &comparison.settings;
    let mut html = paragraph(&format!(
        "{} test sessions of {} steps, of users that no policy was trained on; all policies play the same sessions, \
         without exploration. Rewards are means a session (a click is worth 1, an order 5), intervals hold 95%.",
        settings.sessions, settings.length
    ));
    for caveat in &comparison.caveats {
        html += &format!("<p class=\"caveat\">{}</p>\n", escape(caveat));
    }
    html += &verdict_list(comparison);
    html += &format!("<div class=\"plots\">{}</div>\n", bars(comparison, id)?);
    html += &table(comparison);
    if let Some((low, high)) = &comparison.anchors.scale {
        html += &paragraph(&format!(
            "Normalised: 0 is {low}, 1 is {high}. Oracles read the users' hidden state and bound what is possible; the \
             best of the others is shaded. Coverage: share of the catalogue that was shown in any session. Expected: the \
             mean reward over the users' draws, where the world knows it. p: of no difference, corrected by Holm over \
             the rows."
        ));
    }
    Ok(html)
}

fn verdict_list(comparison: &Comparison) -> String {
    let item = |class: &str, text: &str| format!("<li class=\"{class}\">{}</li>\n", escape(text));
    let mut items: Vec<String> = verdicts(comparison)
        .iter()
        .map(|verdict| {
            let class = match verdict.side {
                Side::Above => "above",
                Side::Level => "level",
                Side::Below => "below",
            };
            item(class, &format!("{}.", verdict.text))
        })
        .collect();
    if let (Some(agent), Some((low, high))) = (comparison.subject(), &comparison.anchors.scale)
        && let Some(score) = agent.normalised
    {
        let [value, from, to] = [score.value, score.low, score.high].map(|share| 100.0 * share);
        items.push(item(
            "level",
            &format!(
                "{} stands at {value:.0}% ({from:.0}% to {to:.0}%) of the way from {low} to {high}.",
                agent.result.name
            ),
        ));
    }
    if items.is_empty() {
        String::new()
    } else {
        format!("<ul class=\"verdicts\">\n{}</ul>\n", items.concat())
    }
}

fn bars(comparison: &Comparison, id: &str) -> Result<String, Error> {
    let bar = |Row { result, .. }: &Row| Bar {
        name: result.name.clone(),
        parts: vec![(result.click.value, 0.55), (result.order.value, 1.0)],
        interval: Some((result.total.low, result.total.high)),
        colour: match result.name.as_str() {
            name if comparison.is_subject(name) => BLUE,
            // Not competitors: they stand back.
            name if is_oracle(name) => AXIS,
            name => colour_of(name),
        },
        text: format!("{:.2}", result.total.value),
        bold: comparison.is_subject(&result.name),
    };
    let words = |row: &Row| format!(" {}: {:.2}.", row.result.name, row.result.total.value);
    let description: String = comparison.rows.iter().map(words).collect();
    let title = "Mean reward a session, by policy".to_owned();
    let chart = Bars {
        caption: Caption { id: format!("{id}-bars"), description: format!("{title}.{description}"), title },
        unit: "reward a session; light: clicks without order, full: orders; line: 95% interval of the sum"
            .to_owned(),
        width: 1720,
        bars: comparison.rows.iter().map(bar).collect(),
    };
    let svg = chart.svg().map_err(Error::drawing("the final table"))?;
    Ok(svg.map_or_else(String::new, |svg| format!("<figure class=\"wide\">\n{svg}</figure>")))
}

fn table(comparison: &Comparison) -> String {
    let has_truth = comparison.rows.iter().any(|row| row.result.expected.is_some());
    let (baseline, scale) = (&comparison.anchors.baseline, &comparison.anchors.scale);
    let subject = comparison.subject();
    let mut header: Vec<String> =
        ["policy", "total", "click", "order", "CTR %", "CVR %", "coverage %"].map(str::to_owned).into();
    header.extend(baseline.as_ref().map(|name| format!("minus {name}")));
    header.extend(scale.as_ref().map(|_| "normalised".to_owned()));
    header.extend(subject.map(|row| format!("{} minus it", row.result.name)));
    header.extend(has_truth.then(|| "expected".to_owned()));
    let head: String = header.iter().map(|text| format!("<th scope=\"col\">{}</th>", escape(text))).collect();
    let best = comparison
        .rows
        .iter()
        .filter(|row| !is_oracle(&row.result.name))
        .max_by(|a, b| a.result.total.value.total_cmp(&b.result.total.value))
        .map(|row| row.result.name.as_str());
    let mut body = String::new();
    for Row { result, difference, normalised, lead, lead_p } in &comparison.rows {
        let mut cells = vec![
            cell(Some(result.total), 1.0),
            cell(Some(result.click), 1.0),
            cell(Some(result.order), 1.0),
            cell(Some(result.ctr), 100.0),
            cell(Some(result.cvr), 100.0),
            format!("<td>{:.1}</td>", 100.0 * result.coverage),
        ];
        cells.extend(baseline.as_ref().map(|_| cell(*difference, 1.0)));
        cells.extend(scale.as_ref().map(|_| cell(*normalised, 1.0)));
        cells.extend(subject.map(|_| lead_cell(*lead, *lead_p)));
        cells.extend(has_truth.then(|| cell(result.expected, 1.0)));
        let classes: Vec<&str> = [
            comparison.is_subject(&result.name).then_some("agent"),
            (best == Some(result.name.as_str())).then_some("best"),
            is_oracle(&result.name).then_some("oracle"),
        ]
        .into_iter()
        .flatten()
        .collect();
        body += &format!(
            "<tr class=\"{}\"><th scope=\"row\">{}</th>{}</tr>\n",
            classes.join(" "),
            escape(&result.name),
            cells.concat()
        );
    }
    format!(
        "<div class=\"scroll\"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>\n"
    )
}

/// A value and its interval in units of 1/scale; empty for `None`.
fn cell(estimate: Option<Estimate>, scale: f64) -> String {
    estimate.map_or_else(
        || "<td></td>".to_owned(),
        |e| {
            let [value, low, high] = [e.value, e.low, e.high].map(|v| scale * v);
            format!("<td>{value:.2}<br/><small>{low:.2} to {high:.2}</small></td>")
        },
    )
}

/// A paired difference with its p-value.
fn lead_cell(lead: Option<Estimate>, p_value: Option<f64>) -> String {
    let Some(p) = p_value else { return cell(lead, 1.0) };
    let p = if p < 0.001 { "p &lt; 0.001".to_owned() } else { format!("p = {p:.3}") };
    cell(lead, 1.0).replace("</small>", &format!("<br/>{p}</small>"))
}
