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

use super::Outcome;

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
    /// Skipped items to sample for each item interacted with, where the data set does not say what was shown [default: 9].
    #[arg(long, value_name = "N")]
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
    #[arg(long, default_value_t = embed::Options::default().n_dims, value_name = "N")]
    dims: usize,
    /// Bound B: every component lies in (-B, B); training needs `model.bound` to agree.
    #[arg(long, default_value_t = embed::Options::default().bound, value_name = "B")]
    bound: f32,
    /// Items of a session at most so many interactions apart are met together.
    #[arg(long, default_value_t = embed::Options::default().window, value_name = "N")]
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
    summarise(&manifest);
    println!("{} is written; next: learner embed {}", args.output.display(), args.output.display());
    Ok(Outcome::Done)
}

/// What an import read, left out, made up and wrote.
fn summarise(manifest: &Manifest) {
    println!("{} rows read, {} kept", manifest.counts.read, manifest.counts.kept);
    for (reason, rows) in &manifest.counts.dropped {
        println!("  {rows} dropped: {reason}");
    }
    if manifest.n_merged > 0 {
        println!("  {} merged into an earlier impression of the item in the session", manifest.n_merged);
    }
    println!(
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
    );
    if let Some(note) = &manifest.negatives {
        println!(
            "  skips sampled: {} of the same category and day, {} of the same day, {} missing",
            note.n_same_category, note.n_same_day, note.n_missing
        );
    }
    if let Some(split) = &manifest.split {
        println!("  {} sessions for training, the latest {} for testing", split.n_train, split.n_test);
    }
}

/// Prints Table 1's row of a log.
pub(super) fn stats(args: &StatsArgs) -> Result<Outcome> {
    let log = Log::open_without_embeddings(&args.log)?;
    let statistics = Statistics::of(&log);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&statistics)?);
        return Ok(Outcome::Done);
    }
    let manifest = log.manifest();
    println!("{} ({}; impressions {})", args.log.display(), manifest.format, manifest.impressions.name());
    println!("{}", table(&statistics));
    Ok(Outcome::Done)
}

fn table(statistics: &Statistics) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header([
        "sessions",
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
    for (name, rows) in [("all", &statistics.before), ("with a click", &statistics.after)] {
        for (split, row) in [("all", &rows.all), ("train", &rows.train), ("test", &rows.test)] {
            table.add_row(cells(name, split, row));
        }
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn cells(sessions: &str, split: &str, row: &statistics::Row) -> [String; 11] {
    [
        sessions.into(),
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
    println!("{} items with embeddings of their own, size {}", note.n_embedded, note.n_dims);
    for (items, place) in [
        (note.n_category_centroid, "at the centroid of their category"),
        (note.n_session_mean, "near the mean of the items they were met with"),
        (note.n_global_mean, "near the mean of all"),
    ] {
        if items > 0 {
            println!("  {items} too rare for one of their own, {place}");
        }
    }
    if note.n_unused > 0 {
        println!("  {} rows of the file are of items that the log does not show", note.n_unused);
    }
    if args.from.is_some() && note.scale < 1.0 {
        println!("  all were scaled by {:.4} to lie in (-{}, {})", note.scale, note.bound, note.bound);
    }
    println!("next: learner simulator fit {}", args.log.display());
    Ok(Outcome::Done)
}
