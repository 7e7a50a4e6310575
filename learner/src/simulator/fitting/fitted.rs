//! The fitted ensemble: fit, judge, save.
//!
//! In: one split of a log; out: the tensors of [`sim::learned`], the statistics kept of the log, and the acceptance
//! report of exactly these tensors. A simulator that is not accepted can be saved and looked at all the same; whoever
//! opens it says so (`crate::world`).

use std::{ops::ControlFlow, path::Path, sync::Arc};

use common::ItemTable;
use sim::learned::{self, LearnedModel, LogStatistics, Tensors, Values};

use super::{
    Criteria, Error, Options, Progress,
    acceptance::{self, Subject},
    catalogue::Catalogue,
    dataset::Dataset,
    ensemble,
    groups::Groups,
    member::{Member, Task},
    network::Sizes,
    predictor::Ensemble,
    report::{AcceptanceReport, write_whole},
};

/// A fitted and judged ensemble.
pub struct FittedSimulator {
    items: Arc<ItemTable>,
    tensors: Tensors,
    model: Arc<LearnedModel>,
    statistics: Arc<LogStatistics>,
    acceptance: AcceptanceReport,
}

impl FittedSimulator {
    /// The verdict and its numbers.
    pub fn acceptance(&self) -> &AcceptanceReport {
        &self.acceptance
    }

    /// The networks, ready to run.
    pub fn model(&self) -> &Arc<LearnedModel> {
        &self.model
    }

    /// What is kept of the log.
    pub fn statistics(&self) -> &Arc<LogStatistics> {
        &self.statistics
    }

    /// Writes the folder of [`sim::learned`], and the report beside it as `acceptance.json` and `acceptance.md`. Every
    /// file appears whole. An older report goes first and the new one comes last: a folder with a report is complete,
    /// and the report is about what lies there.
    pub fn save(&self, folder: &Path) -> Result<(), Error> {
        std::fs::create_dir_all(folder).map_err(|source| Error::file(folder, source))?;
        AcceptanceReport::remove(folder)?;
        learned::save(folder, &self.items, &self.tensors, &self.statistics)?;
        write_whole(&folder.join("acceptance.md"), self.acceptance.to_markdown().as_bytes())?;
        self.acceptance.save(folder)
    }
}

/// Fits an ensemble to a split and judges it.
pub(super) fn fit_dataset(
    data: &Dataset,
    options: &Options,
    criteria: Criteria,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<FittedSimulator, Error> {
    options.validate()?;
    let groups = Groups::split(&data.samples, options.held_out, options.seed);
    for (purpose, group) in
        [("learn from", &groups.fit), ("calibrate", &groups.calibrate), ("judge", &groups.judge)]
    {
        if group.is_empty() {
            let problem = format!("none of {} sessions is left to {purpose}", data.samples.sessions.len());
            return Err(data.refuse(problem));
        }
    }
    let catalogue = Catalogue::new(&data.items, options);
    let sizes = Sizes::new(&catalogue, data.items.n_dims(), options);
    let task = Task {
        samples: &data.samples,
        sizes,
        options,
        fit: Groups::rows(&data.samples, &groups.fit),
        calibrate: Groups::rows(&data.samples, &groups.calibrate),
    };
    let members = ensemble::train(&task, &data.items, progress)?;
    let tensors = tensors(&sizes, &members, &catalogue)?;
    let model = Arc::new(LearnedModel::new(data.items.clone(), &tensors)?);
    let subject = Subject {
        split: data.reading.split,
        items_sha256: data.items_sha256.clone(),
        options,
        criteria,
        samples: &data.samples,
        groups: &groups,
        members: members.into_iter().map(|member| member.report).collect(),
        notes: data.notes.clone(),
    };
    let acceptance = acceptance::judge(&mut Ensemble::new(&model), subject);
    let statistics = Arc::new(statistics(data)?);
    Ok(FittedSimulator { items: data.items.clone(), tensors, model, statistics, acceptance })
}

/// The members under the names of [`sim::learned`].
fn tensors(sizes: &Sizes, members: &[Member], catalogue: &Catalogue) -> Result<Tensors, Error> {
    let mut tensors = Tensors::new();
    for (number, member) in members.iter().enumerate() {
        for (block, values) in sizes.blocks().iter().zip(&member.tensors) {
            let name = format!("member.{number}.{}", block.name);
            tensors.insert(&name, &block.shape, Values::F32(values.clone()))?;
        }
    }
    if !catalogue.features.is_empty() {
        let shape = [catalogue.features.len() / catalogue.n_features, catalogue.n_features];
        tensors.insert("features", &shape, Values::F32(catalogue.features.clone()))?;
    }
    Ok(tensors)
}

fn statistics(data: &Dataset) -> Result<LogStatistics, Error> {
    Ok(LogStatistics::new(
        &data.items,
        data.samples.window,
        data.contexts(),
        data.impressions.clone(),
        data.clicks.clone(),
        data.rates.map(|rate| rate as f32),
    )?)
}

#[cfg(test)]
mod tests {
    use common::{Feedback, ItemId, seed::Streams};
    use logs::source::Impressions;
    use rand::RngExt;
    use tch::Kind;

    use super::*;
    use crate::simulator::fitting::{
        batch::Batch,
        dataset::{LoggedSession, Reading},
        network::Network,
        predictor::Predictor,
    };

    const READING: Reading =
        Reading { split: "train", window: 5, drop_clickless: true, impressions: Impressions::Logged };
    const N_ITEMS: usize = 40;
    const N_DIMS: usize = 6;

    /// Items of two kinds, by the sign of their first component; prices and categories at random.
    fn items() -> Arc<ItemTable> {
        let mut rng = Streams::new(1, "items").sequential();
        let mut embeddings: Vec<f32> = (0..N_ITEMS * N_DIMS).map(|_| rng.random_range(-1.0..1.0)).collect();
        for (item, row) in embeddings.chunks_exact_mut(N_DIMS).enumerate() {
            row[0] = if item % 2 == 0 { 1.5 } else { -1.5 };
        }
        let categories = (0..N_ITEMS).map(|_| rng.random_range(0..3)).collect();
        let prices = (0..N_ITEMS).map(|_| rng.random_range(0.0..50.0)).collect();
        Arc::new(ItemTable::new(N_DIMS, 1.94, embeddings, categories, prices).unwrap())
    }

    /// A planted log: a user likes one kind of items, shows it by clicking (and sometimes ordering) there.
    fn log(n_users: u64) -> Dataset {
        let streams = Streams::new(2, "log");
        let sessions = (0..n_users).map(|user| {
            let mut rng = streams.at(user, 0);
            let liked = (user % 2) as u32;
            let impressions = (0..30)
                .map(|_| {
                    let item = rng.random_range(0..N_ITEMS as u32);
                    let p_click = if item % 2 == liked { 0.5 } else { 0.04 };
                    let clicked = rng.random::<f32>() < p_click;
                    let ordered = clicked && rng.random::<f32>() < 0.3;
                    let class = usize::from(clicked) + usize::from(ordered);
                    (ItemId(item), Feedback::ALL[class])
                })
                .collect();
            LoggedSession { user, in_split: true, impressions }
        });
        Dataset::new(READING, items(), sessions).unwrap()
    }

    fn small() -> Options {
        Options {
            window: 5,
            ensemble: 2,
            width: 8,
            hidden: 16,
            category_dims: 3,
            epochs: 6,
            batch: 256,
            learning_rate: 1e-2,
            held_out: 0.15,
            ..Options::default()
        }
    }

    fn fitted(data: &Dataset) -> FittedSimulator {
        tch::set_num_threads(1);
        fit_dataset(data, &small(), Criteria::default(), &mut |_| ControlFlow::Continue(())).unwrap()
    }

    #[test]
    fn planted_preferences_are_recovered_and_the_fit_is_accepted() {
        let data = log(400);
        let fitted = fitted(&data);
        let report = fitted.acceptance();
        assert!(report.accepted, "{}", report.to_markdown());
        assert!(report.log_loss < 0.9 * report.base_rate_entropy, "{}", report.to_markdown());
        // A user who clicked even items and skipped odd ones: mean probability of a click on each kind.
        let pad = ItemId::PADDING;
        let even = |k: u32| ItemId(2 * k);
        let odd = |k: u32| ItemId(2 * k + 1);
        let windows = [
            [odd(1), odd(2), odd(3), odd(4), odd(5)],
            [pad, even(1), even(2), even(3), even(4)],
            [pad, pad, pad, pad, even(2)],
        ]
        .concat();
        let mut ensemble = Ensemble::new(fitted.model());
        let mut mean_click = |kind: u32| {
            let mut p = Vec::new();
            for member in 0..2 {
                for k in 0..N_ITEMS as u32 / 2 {
                    ensemble.predict(member, &windows, &[ItemId(2 * k + kind)], &mut p);
                }
            }
            p.iter().map(|p| p[1] + p[2]).sum::<f32>() / p.len() as f32
        };
        let (liked, disliked) = (mean_click(0), mean_click(1));
        assert!((liked - 0.5).abs() < 0.12 && disliked < 0.15, "{liked} and {disliked}");
    }

    #[test]
    fn torch_and_the_saved_simulator_give_equal_probabilities() {
        let data = log(120);
        let options = Options { epochs: 2, ..small() };
        tch::set_num_threads(1);
        let mut go_on = |_| ControlFlow::Continue(());
        let fitted = fit_dataset(&data, &options, Criteria::default(), &mut go_on).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fitted.save(folder.path()).unwrap();
        let (model, statistics) = learned::load(folder.path()).unwrap();
        assert_eq!(*statistics, *fitted.statistics.as_ref());
        assert_eq!(AcceptanceReport::load(folder.path()).unwrap(), fitted.acceptance);

        let catalogue = Catalogue::new(&data.items, &options);
        let sizes = Sizes::new(&catalogue, N_DIMS, &options);
        assert_eq!((sizes.n_features, sizes.category_dims), (2, 3));
        let rows: Vec<usize> = (0..data.samples.rows.len()).step_by(7).collect();
        let batch = Batch::gather(&data.samples, &rows, &catalogue.embeddings);
        for member in 0..2 {
            let flat: Vec<f32> = sizes
                .blocks()
                .iter()
                .flat_map(|block| {
                    let tensor = fitted.tensors.get(&format!("member.{member}.{}", block.name)).unwrap();
                    let Values::F32(values) = tensor.values() else { panic!("parameters are floats") };
                    values.clone()
                })
                .collect();
            let network = Network::from_flat(&sizes, tch::Tensor::from_slice(&flat));
            let torch = network.logits(&catalogue, &batch).softmax(-1, Kind::Float);
            let mut rust = Vec::new();
            let (mut windows, mut items) = (Vec::new(), Vec::new());
            for &row in &rows {
                data.samples.append_windows(&data.samples.rows[row], &mut windows);
                items.push(data.samples.rows[row].item);
            }
            Ensemble::new(&model).predict(member, &windows, &items, &mut rust);
            for (row, p) in rust.iter().enumerate() {
                for (class, &p) in p.iter().enumerate() {
                    let expected = torch.double_value(&[row as i64, class as i64]);
                    assert!((f64::from(p) - expected).abs() < 1e-4, "row {row}: {p} and {expected}");
                }
            }
        }
    }

    #[test]
    fn a_log_without_any_pattern_is_refused() {
        let mut rng = Streams::new(3, "noise").sequential();
        let sessions: Vec<LoggedSession> = (0..150)
            .map(|user| LoggedSession {
                user,
                in_split: true,
                impressions: (0..20)
                    .map(|_| {
                        let clicked = rng.random::<f32>() < 0.2;
                        (ItemId(rng.random_range(0..N_ITEMS as u32)), Feedback::ALL[usize::from(clicked)])
                    })
                    .collect(),
            })
            .collect();
        let data = Dataset::new(READING, items(), sessions).unwrap();
        let fitted = fitted(&data);
        let report = fitted.acceptance();
        assert!(!report.accepted);
        assert!(report.reasons.iter().any(|reason| reason.contains("ROC-AUC of click")), "{report:?}");
        assert!(report.to_markdown().contains("NOT accepted"));
    }
}
