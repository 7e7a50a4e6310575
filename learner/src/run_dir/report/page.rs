//! The page: what the run was, what came out, the plots, how to repeat it.

use std::time::Duration;

use common::config::{Config, Mode};

use super::{
    Error,
    axis::number,
    html::{escape, paragraph, section},
    plots::Sources,
    records::Records,
    settings, style, table,
};
use crate::{evaluation::Comparison, run_dir::RunDir};

/// Everything a page is made of.
pub(super) struct Page<'a> {
    pub(super) run_dir: &'a RunDir,
    pub(super) config: &'a Config,
    pub(super) records: &'a Records,
    /// The final table: sessions as long as in training.
    pub(super) final_table: Option<&'a Comparison>,
    /// A table of other sessions.
    pub(super) other_table: Option<&'a Comparison>,
    /// What the reader should know before all else.
    pub(super) notes: Vec<String>,
}

impl Page<'_> {
    /// The whole file.
    pub(super) fn html(&self) -> Result<String, Error> {
        let title = format!("{} on {}", self.config.method(), self.config.environment.name);
        let sections = self.sections()?;
        let links: String = sections
            .iter()
            .map(|(id, name, _)| format!("<a href=\"#{id}\">{}</a>\n", escape(name)))
            .collect();
        let body: String = sections.iter().map(|(id, name, body)| section(id, name, body)).collect();
        Ok(format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n<header>\n<h1>{title}</h1>\n\
             <p class=\"muted\">{subtitle}</p>\n<nav>\n{links}</nav>\n{facts}{notes}</header>\n{body}</main>\n</body>\n</html>\n",
            title = escape(&title),
            style = style::sheet(),
            subtitle = escape(&format!("Run directory {}", self.run_dir.path().display())),
            facts = self.facts(),
            notes = self.notes.iter().map(|note| paragraph(note)).collect::<String>(),
        ))
    }

    /// Ids, titles and bodies of the sections that have something to show.
    fn sections(&self) -> Result<Vec<(&'static str, &'static str, String)>, Error> {
        let sources = Sources { records: self.records, config: self.config, comparison: self.final_table };
        let mut sections = vec![("result", "Result", self.result()?)];
        if let Some(comparison) = self.other_table {
            sections.push(("other", "Sessions of another length", table::block(comparison, "other")?));
        }
        sections.push(("learning", "Reward over the run", self.rewards(sources)?));
        for (id, title, body) in [
            ("rates", "CTR and CVR", sources.rates()?),
            ("values", "Average Q and its Monte-Carlo return", sources.values()?),
            ("updates", "Updates", sources.updates()?),
            ("throughput", "Throughput", sources.throughput()?),
            ("data", "Data", sources.data()?),
        ] {
            if !body.is_empty() {
                sections.push((id, title, body));
            }
        }
        sections.push(("settings", "Settings", settings::differences(self.config)));
        sections.push(("again", "To repeat it", settings::reproduction(self.run_dir, self.config)));
        Ok(sections)
    }

    fn result(&self) -> Result<String, Error> {
        match self.final_table {
            Some(comparison) => table::block(comparison, "final"),
            None => Ok(paragraph(&format!(
                "There is no final table yet. It is made by: learner evaluate {}",
                self.run_dir.path().display()
            ))),
        }
    }

    fn rewards(&self, sources: Sources<'_>) -> Result<String, Error> {
        let plots = sources.rewards()?;
        if plots.is_empty() {
            return Ok(paragraph(&format!(
                "The policy was not evaluated during training: the first evaluation comes at step {} \
                 (train.evaluate_every).",
                self.config.train.evaluate_every
            )));
        }
        Ok(plots)
    }

    fn facts(&self) -> String {
        let Config { preset, seed, train, actor, .. } = self.config;
        let processes = self.records.seconds_by_process();
        let resumed = match processes.len().saturating_sub(1) {
            0 => String::new(),
            1 => ", resumed once".to_owned(),
            n => format!(", resumed {n} times"),
        };
        let (steps, updates) = self.records.progress().unwrap_or((0.0, 0.0));
        let mode = match train.mode {
            Mode::Lockstep => "lockstep",
            Mode::Async => "async",
        };
        let facts = [
            ("preset", preset.name().to_owned()),
            ("seed", seed.to_string()),
            ("environment steps", format!("{} of {}", number(steps), number(train.steps as f64))),
            ("updates of both levels", number(updates)),
            ("training time", format!("{}{resumed}", duration(processes.iter().sum()))),
            ("mode", format!("{mode}, {} × {} sessions", actor.actors, actor.sessions)),
            (
                "written by",
                format!(
                    "learner {}, {} {}, {}",
                    env!("CARGO_PKG_VERSION"),
                    std::env::consts::OS,
                    std::env::consts::ARCH,
                    kernels::Level::best()
                ),
            ),
        ];
        let cells: String = facts
            .iter()
            .map(|(name, value)| format!("<div><dt>{}</dt><dd>{}</dd></div>\n", escape(name), escape(value)))
            .collect();
        format!("<dl class=\"facts\">\n{cells}</dl>\n")
    }
}

/// `2 h 5 min`, `3 min 20 s`, `14 s`.
fn duration(seconds: f64) -> String {
    let seconds = Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, min, s) => format!("{min} min {s} s"),
        (h, min, _) => format!("{h} h {min} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units() {
        assert_eq!([14.2, 200.0, 7500.0, f64::NAN].map(duration), ["14 s", "3 min 20 s", "2 h 5 min", "0 s"]);
    }
}
