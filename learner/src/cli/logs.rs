//! `learner import`, `learner stats`, `learner embed`: logs of real users.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::builder::{PossibleValue, PossibleValuesParser};
use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use logs::{
    Log, Manifest, Statistics,
    canonical::Form,
    embed, formats, import,
    source::{Impressions, Input},
    statistics,
};

use super::{Outcome, count::count};

/// Share of the sampled skips that may be missing without a warning.
const MOST_MISSING: f64 = 0.01;

/// Arguments of `learner import`.
#[derive(Debug, clap::Args)]
pub(super) struct ImportArgs {
    /// The data set's published form.
    #[arg(long, value_name = "FORMAT", value_parser = format_parser())]
    format: String,
    /// The data set: its folder, or one file; gzip is read too.
    #[arg(long, value_name = "DIR|FILE")]
    input: PathBuf,
    /// Where the log goes: a folder that is new or empty.
    #[arg(long, value_name = "LOG")]
    output: PathBuf,
    /// Seconds of pause that end a session, where the data set has no sessions of its own.
    #[arg(long, default_value_t = import::Options::default().session_gap_seconds, value_name = "SECONDS")]
    session_gap: u64,
    /// Skipped items to sample before each item interacted with, on average (their number is geometrically distributed), where
    /// the data set does not say what was shown [default: 9].
    #[arg(long, value_name = "N", value_parser = count::<u32>)]
    negatives: Option<u32>,
    /// Seed of that sampling.
    #[arg(long, default_value_t = 0, value_name = "S")]
    seed: u64,
    /// Share of the sessions for testing: the latest ones.
    #[arg(long, default_value_t = import::Options::default().test_share, value_name = "SHARE")]
    test_share: f64,
    /// Codes of the data set that count as a click, instead of those in the format's description.
    #[arg(long, value_name = "CODE,...", value_delimiter = ',')]
    click_map: Option<Vec<String>>,
    /// Count malformed rows and go on, instead of ending at the first.
    #[arg(long)]
    lenient: bool,
    /// Write CSV instead of Parquet.
    #[arg(long)]
    csv: bool,
}

/// Arguments of `learner stats`.
#[derive(Debug, clap::Args)]
pub(super) struct StatsArgs {
    /// Folder of the log.
    #[arg(value_name = "LOG")]
    log: PathBuf,
    /// Print JSON instead of the table.
    #[arg(long)]
    json: bool,
}

/// Arguments of `learner embed`.
#[derive(Debug, clap::Args)]
pub(super) struct EmbedArgs {
    /// Folder of the log; its item table is replaced.
    #[arg(value_name = "LOG")]
    log: PathBuf,
    /// Take the embeddings from a CSV or Parquet file: `item_id` (or `key`, the data set's own), `e_0`, `e_1`, ...
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dims", "window", "seed"])]
    from: Option<PathBuf>,
    /// Size of an embedding; training needs `model.n_dims` to agree.
    #[arg(long, default_value_t = embed::Options::default().n_dims, value_name = "N", value_parser = count::<usize>)]
    dims: usize,
    /// Bound B: every component lies in (-B, B); training needs `model.bound` to agree.
    #[arg(long, default_value_t = embed::Options::default().bound, value_name = "B")]
    bound: f32,
    /// Items of a session at most so many interactions apart are met together.
    #[arg(long, default_value_t = embed::Options::default().window, value_name = "N", value_parser = count::<usize>)]
    window: usize,
    /// Seed of the factorisation.
    #[arg(long, default_value_t = 0, value_name = "S")]
    seed: u64,
}

/// The formats by name; their descriptions are part of `--help`.
fn format_parser() -> PossibleValuesParser {
    let value =
        |format: &&'static dyn logs::source::Format| PossibleValue::new(format.name()).help(format.about());
    PossibleValuesParser::new(formats::ALL.iter().map(value).collect::<Vec<_>>())
}

/// Imports a public data set.
pub(super) fn import(args: &ImportArgs) -> Result<Outcome> {
    let format = formats::by_name(&args.format).with_context(|| format!("no format `{}`", args.format))?;
    let input = Input { path: args.input.clone(), lenient: args.lenient, click_map: args.click_map.clone() };
    let options = import::Options {
        session_gap_seconds: args.session_gap,
        negatives: args.negatives,
        seed: args.seed,
        test_share: args.test_share,
        form: if args.csv { Form::Csv } else { Form::Parquet },
    };
    let bar = super::bar("import");
    let manifest = import::import(format, &input, &options, &args.output, &mut |progress| {
        let (message, at, of) = match progress {
            import::Progress::Checksum { bytes, of } => ("checksum", bytes, of),
            import::Progress::Reading { records } => ("records", records, records),
            import::Progress::Writing { sessions, of } => ("sessions", sessions, of),
        };
        bar.set_message(message);
        bar.set_length(of);
        bar.set_position(at);
    })?;
    bar.finish_and_clear();
    if let Some(warning) = warning(&manifest) {
        eprintln!("warning: {warning}");
    }
    let output = args.output.display();
    super::print_lines(&format!("{}{output} is written; next: learner embed {output}", summary(&manifest)));
    Ok(Outcome::Done)
}

/// What is wrong with a log that was written all the same.
fn warning(manifest: &Manifest) -> Option<String> {
    let note = manifest.negatives.filter(|note| note.missing_share() > MOST_MISSING)?;
    Some(format!(
        "{} of {} skips ({:.1}%) could not be sampled, as sessions used up the items of the log: its click rate is higher \
         than the 1 in {} asked for",
        note.n_missing,
        note.n_wanted(),
        100.0 * note.missing_share(),
        u64::from(note.per_positive) + 1
    ))
}

/// What an import read, left out, made up and wrote: lines, each with its end.
fn summary(manifest: &Manifest) -> String {
    let mut lines = vec![format!("{} rows read, {} kept", manifest.counts.read, manifest.counts.kept)];
    for (reason, rows) in &manifest.counts.dropped {
        lines.push(format!("  {rows} dropped: {reason}"));
    }
    if manifest.n_merged > 0 {
        lines.push(format!(
            "  {} merged into an earlier impression of the item in the session",
            manifest.n_merged
        ));
    }
    lines.push(format!(
        "{} users, {} sessions, {} items, {} impressions ({})",
        manifest.n_users,
        manifest.n_sessions,
        manifest.n_items,
        manifest.n_impressions,
        match manifest.impressions {
            Impressions::Logged => "logged",
            Impressions::Proxy => "a proxy: what was looked at stands for what was shown",
            Impressions::Sampled => "sampled: the data set does not say what was shown",
        }
    ));
    if let Some(note) = &manifest.negatives {
        lines.push(format!(
            "  skips sampled: {} of the same category and day, {} of the same day, {} of the days around, {} of the whole \
             log, {} missing",
            note.n_same_category, note.n_same_day, note.n_days_around, note.n_whole_log, note.n_missing
        ));
    }
    if let Some(split) = &manifest.split {
        lines.push(format!(
            "  {} sessions for training, the latest {} for testing",
            split.n_train, split.n_test
        ));
    }
    lines.join("\n") + "\n"
}

/// Prints Table 1's row of a log.
pub(super) fn stats(args: &StatsArgs) -> Result<Outcome> {
    let log = Log::open_without_embeddings(&args.log)?;
    let statistics = Statistics::of(&log);
    if args.json {
        super::print_lines(&serde_json::to_string_pretty(&statistics)?);
        return Ok(Outcome::Done);
    }
    let manifest = log.manifest();
    let (log, source, impressions) = (args.log.display(), &manifest.format, manifest.impressions.name());
    let mut text = format!("{log} ({source}; impressions {impressions})\n{}", table(&statistics));
    if let Some(skips) = statistics.skips_lost() {
        text += &format!(
            "\nsessions with a click are one impression each, the click itself: the filter drops all {skips} skips, \
             and the click rate after it says nothing"
        );
    }
    super::print_lines(&text);
    Ok(Outcome::Done)
}

fn table(statistics: &Statistics) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header([
        "filter",
        "split",
        "users",
        "sessions",
        "items",
        "impressions",
        "clicks",
        "orders",
        "impr./session",
        "clicks/impr.",
        "orders/clicks",
    ]);
    for (name, rows) in [("all sessions", &statistics.before), ("with a click", &statistics.after)] {
        for (split, row) in [("all", &rows.all), ("train", &rows.train), ("test", &rows.test)] {
            table.add_row(cells(name, split, row));
        }
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn cells(filter: &str, split: &str, row: &statistics::Row) -> [String; 11] {
    [
        filter.into(),
        split.into(),
        row.users.to_string(),
        row.sessions.to_string(),
        row.items.to_string(),
        row.impressions.to_string(),
        row.clicks.to_string(),
        row.orders.to_string(),
        format!("{:.1}", row.impressions_per_session),
        format!("{:.2}%", 100.0 * row.clicks_per_impression),
        format!("{:.2}%", 100.0 * row.orders_per_click),
    ]
}

/// Computes the item embeddings of a log, or takes them from a file.
pub(super) fn embed(args: &EmbedArgs) -> Result<Outcome> {
    let note = match &args.from {
        Some(file) => embed::embed_from_file(&args.log, file, args.bound)?,
        None => {
            let options =
                embed::Options { n_dims: args.dims, bound: args.bound, window: args.window, seed: args.seed };
            let bar = super::bar("embed");
            let note = embed::embed(&args.log, &options, &mut |progress| {
                bar.set_length(progress.of as u64);
                bar.set_position(progress.rounds as u64);
            })?;
            bar.finish_and_clear();
            note
        }
    };
    let mut lines =
        vec![format!("{} items with embeddings of their own, size {}", note.n_embedded, note.n_dims)];
    for (items, place) in [
        (note.n_category_centroid, "at the centroid of their category"),
        (note.n_global_mean, "near the mean of all"),
    ] {
        if items > 0 {
            lines.push(format!("  {items} too rare for one of their own, {place}"));
        }
    }
    if note.n_unused > 0 {
        lines.push(format!("  {} rows of the file are of items that the log does not show", note.n_unused));
    }
    if args.from.is_some() && note.scale < 1.0 {
        lines.push(format!(
            "  all were scaled by {:.3e} to lie in (-{}, {})",
            note.scale, note.bound, note.bound
        ));
    }
    lines.push(format!("next: learner simulator fit {}", args.log.display()));
    super::print_lines(&lines.join("\n"));
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use logs::canonical::NegativesNote;

    use super::*;

    #[test]
    fn missing_skips_are_warned_of_above_one_percent() {
        let manifest = |n_missing| {
            let note =
                NegativesNote { per_positive: 9, n_whole_log: 990, n_missing, ..NegativesNote::default() };
            Manifest { negatives: Some(note), ..Manifest::default() }
        };
        assert_eq!(warning(&Manifest::default()), None);
        assert_eq!(warning(&manifest(10)), None);
        let warned = warning(&manifest(110)).unwrap();
        assert!(warned.starts_with("110 of 1100 skips (10.0%) could not be sampled"), "{warned}");
        assert!(warned.ends_with("its click rate is higher than the 1 in 10 asked for"), "{warned}");
    }

    #[test]
    fn no_two_columns_of_table_one_have_the_same_name() {
        let table = table(&Statistics::default());
        let mut names: Vec<String> = table.header().unwrap().cell_iter().map(|cell| cell.content()).collect();
        let n = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), n);
    }
}
