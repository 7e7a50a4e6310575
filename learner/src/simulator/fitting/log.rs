//! The entry point: a canonical log in, a fitted and judged simulator out.

use std::ops::ControlFlow;

use logs::{Log, Manifest, Split, source::Impressions};

use super::{
    Criteria, Error, FittedSimulator, Options, Progress,
    dataset::{Dataset, LoggedSession, Reading},
    fitted::fit_dataset,
    log_items,
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
    fit_dataset(&dataset(log, split, options)?, options, criteria, progress)
}

/// Whether the `split` days of a log can be learned from: what [`fit`] would say of them at its start.
pub fn check(log: &Log, split: Split, options: &Options) -> Result<(), Error> {
    dataset(log, split, options).map(drop)
}

fn dataset(log: &Log, split: Split, options: &Options) -> Result<Dataset, Error> {
    options.validate()?;
    let sessions = log.sessions().filter(|session| split == Split::Test || session.split == Split::Train);
    let sessions = sessions.map(|session| LoggedSession {
        user: session.user,
        in_split: session.split == split,
        impressions: session.impressions.iter().map(|shown| (shown.item, shown.feedback)).collect(),
    });
    let manifest = log.manifest();
    let reading = Reading {
        split: split.name(),
        window: options.window,
        drop_clickless: options.drop_clickless,
        impressions: manifest.impressions,
    };
    let mut data = Dataset::new(reading, log.items()?, sessions)?;
    data.items_sha256 = log_items(log.folder())?.map(|items| items.sha256).unwrap_or_default();
    data.notes.extend(notes(manifest, split));
    Ok(data)
}

/// What the reader of a report should know of the log's impressions and of its embeddings.
fn notes(manifest: &Manifest, split: Split) -> Vec<String> {
    let impressions = match manifest.impressions {
        Impressions::Logged => None,
        Impressions::Proxy => Some("what was looked at stands for what was shown"),
        Impressions::Sampled => Some(
            "the data has no impressions: skipped items were sampled on import, rates and rankings are against those",
        ),
    };
    // `embed` counts on training days only: a report on test days is free of this.
    let from_sessions = manifest.embedding.as_ref().is_some_and(|note| note.method == "ppmi-svd");
    let embeddings = (from_sessions && split == Split::Train).then_some(
        "the item embeddings were computed from these same sessions, the judged ones included, so the figures here \
         flatter; the report on the test days is free of that",
    );
    impressions.into_iter().chain(embeddings).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use logs::canonical::EmbeddingNote;

    use super::*;

    fn embedded(method: &str) -> Manifest {
        let note = EmbeddingNote {
            method: method.into(),
            n_dims: 50,
            bound: 1.94,
            seed: None,
            window: None,
            n_embedded: 1,
            n_category_centroid: 0,
            n_global_mean: 0,
            n_unused: 0,
            scale: 1.0,
        };
        Manifest { embedding: Some(note), ..Manifest::default() }
    }

    #[test]
    fn embeddings_of_the_same_sessions_are_noted_where_they_flatter() {
        let train = notes(&embedded("ppmi-svd"), Split::Train);
        assert!(train[0].contains("the judged ones included"), "{train:?}");
        assert!(notes(&embedded("ppmi-svd"), Split::Test).is_empty());
        assert!(notes(&embedded("file"), Split::Train).is_empty());
        assert!(notes(&Manifest::default(), Split::Train).is_empty());
    }
}
