//! `report.html`: a run in one file that needs no network, no script and no other file.
//!
//! In: a run directory, its settings, the final table if there is one; out: a page with the verdicts, the table, plots
//! as inline SVG (light and dark, each with a title and a description), what differs from the paper's settings, and how
//! to repeat the run. Whatever a run lacks (evaluations, a table, timing) is left out or said to be missing.
//!
//! | module | what it holds |
//! |---|---|
//! | [`page`] | the page and its sections |
//! | [`table`], [`verdict`] | the final table: HTML, bars, sentences |
//! | [`plots`] | which plots there are |
//! | [`plot`], [`bars`] | curves over steps, and bars, as SVG |
//! | [`axis`], [`canvas`], [`style`] | round numbers, strokes, colours |
//! | [`records`] | the lines of a run as curves |
//! | [`settings`] | what differs from the paper, and the commands |
//! | [`reproduction`] | the page of the paper's experiments |
//! | [`scaling`] | the page of a convergence study |
//! | [`html`] | escaping |

mod axis;
mod bars;
mod canvas;
mod html;
mod page;
mod plot;
mod plots;
mod records;
pub mod reproduction;
pub mod scaling;
mod settings;
mod style;
mod table;
mod verdict;

#[cfg(test)]
mod tests;

use std::{fs, path::PathBuf};

use common::config::Config;

use self::{canvas::Problem, page::Page, records::Records};
use super::{RunDir, write_whole};
use crate::evaluation::Comparison;

pub use verdict::{Side, Verdict, verdicts};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the run cannot be read, or the report not be written.
    #[error(transparent)]
    File(#[from] super::Error),
    /// A plot cannot be drawn.
    #[error("cannot draw `{plot}` for the report")]
    Drawing {
        /// Its title.
        plot: String,
        /// Why.
        #[source]
        source: Problem,
    },
}

impl Error {
    fn drawing(plot: &str) -> impl FnOnce(Problem) -> Self + '_ {
        move |source| Self::Drawing { plot: plot.to_owned(), source }
    }
}

/// Writes `report.html` and tells where it is.
///
/// The final table is `comparison` if its sessions are as long as in training; otherwise `evaluation.json`, where there
/// is one, with `comparison` behind it.
pub fn write(run_dir: &RunDir, config: &Config, comparison: Option<&Comparison>) -> Result<PathBuf, Error> {
    let records = Records::read(run_dir)?;
    let mut notes = Vec::new();
    if records.unreadable > 0 {
        notes.push(format!(
            "Lines of metrics.jsonl and timing.jsonl that cannot be read: {}.",
            records.unreadable
        ));
    }
    let is_final = |c: &&Comparison| c.settings.length == config.environment.session_length;
    let given = comparison.filter(is_final);
    let kept = if given.is_none() { kept_table(run_dir, &mut notes) } else { None };
    let page = Page {
        run_dir,
        config,
        records: &records,
        final_table: given.or(kept.as_ref()),
        other_table: comparison.filter(|c| !is_final(c)),
        notes,
    };
    let path = run_dir.report_path();
    write_whole(&path, page.html()?.as_bytes())?;
    Ok(path)
}

/// The table of an evaluation before, with a note if it is not of the newest policy.
fn kept_table(run_dir: &RunDir, notes: &mut Vec<String>) -> Option<Comparison> {
    let path = run_dir.evaluation_path();
    let text = fs::read_to_string(&path).ok()?;
    let table = match Comparison::from_json(&text) {
        Ok(table) if !table.rows.is_empty() => table,
        _ => {
            notes.push("evaluation.json cannot be read; learner evaluate makes it anew.".to_owned());
            return None;
        }
    };
    let written = |path: PathBuf| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    if written(path) < written(run_dir.policy_path()) {
        notes.push(
            "The final table is of an older policy of this run; learner evaluate makes it anew.".to_owned(),
        );
    }
    Some(table)
}
