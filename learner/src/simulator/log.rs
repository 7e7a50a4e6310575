//! The entry point: a canonical log in, a fitted and judged simulator out.

use std::ops::ControlFlow;

use logs::{Log, Manifest, Split, source::Impressions};

use super::{
    Criteria, Error, FittedSimulator, Options, Progress,
    dataset::{Dataset, LoggedSession},
    fitted::fit_dataset,
};

/// Fits an ensemble to the `split` days of a log with item embeddings, and judges it.
///
/// Windows start from the user's earlier sessions: those of test days from the training days' too, though nothing else is
/// taken from there. `progress` is called after every pass of a member and may stop the fit.
pub fn fit(
    log: &Log,
    split: Split,
    options: &Options,
    criteria: Criteria,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<FittedSimulator, Error> {
    options.validate()?;
    let sessions = log.sessions().filter(|session| split == Split::Test || session.split == Split::Train);
    let sessions = sessions.map(|session| LoggedSession {
        user: session.user,
        in_split: session.split == split,
        impressions: session.impressions.iter().map(|shown| (shown.item, shown.feedback)).collect(),
    });
    let mut data =
        Dataset::new(split.name(), log.items()?, options.window, options.drop_clickless, sessions)?;
    data.notes.extend(note(log.manifest()));
    fit_dataset(&data, options, criteria, progress)
}

/// What the reader of a report should know of the log's impressions.
fn note(manifest: &Manifest) -> Option<String> {
    let text = match manifest.impressions {
        Impressions::Logged => return None,
        Impressions::Proxy => "what was looked at stands for what was shown",
        Impressions::Sampled => {
            "the data has no impressions: skipped items were sampled on import, rates and rankings are against those"
        }
    };
    Some(text.to_owned())
}
