//! A log written by hand, of users whose minds are known.
//!
//! Items have two signs: taste (the first component of the embedding) and quality (the second); the others are noise. A
//! user clicks where the taste is the user's own, and orders what is of good quality:
//!
//! ```text
//! logits:  skip 0,  click -2 + 1.5 taste agreement,  order -4 + 1.5 taste agreement + 1.5 quality
//! p(skip, click, order) = softmax(logits)
//! ```
//!
//! Only the windows tell a user's taste. Every user has two sessions on training days and one on a test day.

// A set-up that fails is a failed test.
#![allow(clippy::unwrap_used)]

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use common::seed::{Rng, Streams};
use rand::{RngExt, seq::SliceRandom};

pub(crate) const N_ITEMS: usize = 60;
pub(crate) const N_DIMS: usize = 6;
const N_USERS: usize = 700;
const LENGTH: usize = 16;

struct Row {
    user: usize,
    session: usize,
    position: usize,
    item: usize,
    feedback: usize,
}

/// Writes the log into `folder`/log; with `shuffled` feedback there is nothing to learn from it.
pub(crate) fn write(folder: &Path, shuffled: bool) -> PathBuf {
    let log = folder.join("log");
    fs::create_dir(&log).unwrap();
    fs::write(log.join("items.csv"), items()).unwrap();
    let mut rows = rows();
    if shuffled {
        let mut feedback: Vec<usize> = rows.iter().map(|row| row.feedback).collect();
        feedback.shuffle(&mut Streams::new(3, "shuffle").sequential());
        rows.iter_mut().zip(feedback).for_each(|(row, feedback)| row.feedback = feedback);
    }
    let mut text = "user_id,session_id,position,timestamp,item_id,feedback,split\n".to_owned();
    for Row { user, session, position, item, feedback } in rows {
        let split = if session == 2 { "test" } else { "train" };
        let time = session * 86_400_000 + position * 1000;
        writeln!(text, "{user},{session},{position},{time},{item},{feedback},{split}").unwrap();
    }
    fs::write(log.join("log.csv"), text).unwrap();
    log
}

fn sign(positive: bool) -> f64 {
    if positive { 1.0 } else { -1.0 }
}

fn taste(item: usize) -> f64 {
    sign(item.is_multiple_of(2))
}

fn quality(item: usize) -> f64 {
    sign((item / 2).is_multiple_of(3))
}

fn items() -> String {
    let mut rng = Streams::new(1, "items").sequential();
    let components: Vec<String> = (0..N_DIMS).map(|k| format!("e_{k}")).collect();
    let mut text = format!("item_id,category,price,key,{}\n", components.join(","));
    for item in 0..N_ITEMS {
        write!(text, "{item},{},,SKU-{item},{},{}", item % 3, taste(item), quality(item)).unwrap();
        (2..N_DIMS).for_each(|_| write!(text, ",{:.3}", rng.random_range(-0.5..0.5)).unwrap());
        text.push('\n');
    }
    text
}

fn probabilities(likes: f64, item: usize) -> [f64; 3] {
    let agreement = 1.5 * likes * taste(item);
    let weights = [1.0, (-2.0 + agreement).exp(), (-4.0 + agreement + 1.5 * quality(item)).exp()];
    let total: f64 = weights.iter().sum();
    weights.map(|weight| weight / total)
}

fn draw(p: [f64; 3], rng: &mut Rng) -> usize {
    let u: f64 = rng.random();
    usize::from(u >= p[0]) + usize::from(u >= p[0] + p[1])
}

fn rows() -> Vec<Row> {
    let streams = Streams::new(2, "users");
    let mut rows = Vec::with_capacity(N_USERS * 3 * LENGTH);
    for user in 0..N_USERS {
        let mut rng = streams.at(user as u64, 0);
        let likes = sign(rng.random());
        for session in 0..3 {
            for position in 0..LENGTH {
                let item = rng.random_range(0..N_ITEMS);
                let feedback = draw(probabilities(likes, item), &mut rng);
                rows.push(Row { user, session, position, item, feedback });
            }
        }
    }
    rows
}

/// Log loss of whoever knows the users' minds: the mean entropy of their feedback, in nats.
pub(crate) fn least_log_loss() -> f64 {
    let entropy = |p: [f64; 3]| p.iter().map(|p| -p * p.ln()).sum::<f64>();
    let all = [1.0, -1.0].map(|likes| (0..N_ITEMS).map(move |item| entropy(probabilities(likes, item))));
    all.into_iter().flatten().sum::<f64>() / (2 * N_ITEMS) as f64
}
