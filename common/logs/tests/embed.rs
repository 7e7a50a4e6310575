//! Embedding a log: what is written, and which files of a user are refused.

// A test fails by panicking, in its helpers too.
#![allow(clippy::unwrap_used)]

mod support;

use std::fmt::Write;

use logs::{
    Error, Log,
    canonical::EmbeddingNote,
    embed::{Options, embed, embed_from_file},
};
use support::{ITEMS, ROWS, folder, message};

const BARE: &str = "item_id,category,price\n7,0,1.5\n9,,\n100,3,2\n";

/// Sessions within two groups of ten items each (by parity); item 20 is seen once and of group 0's category, 21 once and of no
/// category, 22 in the test days only.
fn two_groups() -> (String, String) {
    let mut rows = ROWS.lines().next().unwrap().to_owned() + "\n";
    let mut push = |session: u64, position: u64, item: u64, split: &str| {
        writeln!(rows, "0,{session},{position},{session},{item},1,{split}").unwrap();
    };
    for session in 0..60_u64 {
        for position in 0..5 {
            let place = session / 2 * 7 + position * (session / 2 % 2 * 2 + 1);
            push(session, position, place % 10 * 2 + session % 2, "train");
        }
    }
    push(60, 0, 20, "train");
    push(60, 1, 21, "train");
    push(60, 2, 1, "train");
    for position in 0..9 {
        push(61, position, if position % 2 == 0 { 22 } else { position }, "test");
    }
    let mut items = "item_id,category,price,key\n".to_owned();
    for item in 0..23 {
        let category = if item == 21 { String::new() } else { (item % 2).to_string() };
        writeln!(items, "{item},{category},1,sku {item}").unwrap();
    }
    (rows, items)
}

fn options() -> Options {
    Options { n_dims: 6, ..Options::default() }
}

#[test]
fn items_met_together_point_the_same_way_and_rare_ones_have_a_place() {
    let (rows, items) = two_groups();
    let folder = folder(&[("log.csv", &rows), ("items.csv", &items)]);
    let mut rounds = Vec::new();
    let note = embed(folder.path(), &options(), &mut |progress| rounds.push(progress.rounds)).unwrap();
    assert!(rounds.is_sorted() && !rounds.is_empty());
    assert_eq!((note.n_embedded, note.n_category_centroid, note.n_global_mean), (20, 2, 1));
    let log = Log::open(folder.path()).unwrap();
    assert_eq!(log.manifest().embedding.as_ref(), Some(&note));
    assert_eq!(log.item_keys().unwrap()[3], "sku 3", "the other columns stay");
    let table = log.items().unwrap();
    assert_eq!((table.n_items(), table.n_dims(), table.bound()), (23, 6, 1.94));
    let cosine = |a: usize, b: usize| -> f32 {
        let row = |item: usize| &table.unit_embeddings()[item * 6..][..6];
        row(a).iter().zip(row(b)).map(|(a, b)| a * b).sum()
    };
    let mean = |pairs: Vec<(usize, usize)>| {
        pairs.iter().map(|&(a, b)| cosine(a, b)).sum::<f32>() / pairs.len() as f32
    };
    let pairs = || (0..20).flat_map(|a| (0..a).map(move |b| (a, b)));
    let within = mean(pairs().filter(|(a, b)| a % 2 == b % 2).collect());
    let across = mean(pairs().filter(|(a, b)| a % 2 != b % 2).collect());
    assert!(within > across + 0.2, "{within} {across}");
    assert!(cosine(21, 1) < 0.9, "what it was met with shows nothing: it would give a session's clicks away");
    assert!(cosine(20, 22) > 0.9999, "both at the centroid of their category");
}

#[test]
fn the_test_days_change_nothing_and_the_same_seed_gives_the_same_bytes() {
    let (rows, items) = two_groups();
    let train: String =
        rows.lines().filter(|line| !line.ends_with("test")).map(|line| format!("{line}\n")).collect();
    let run = |rows: &str, seed: u64| {
        let folder = folder(&[("log.csv", rows), ("items.csv", &items)]);
        embed(folder.path(), &Options { seed, ..options() }, &mut |_| ()).unwrap();
        std::fs::read(folder.path().join("items.csv")).unwrap()
    };
    assert_eq!(run(&rows, 1), run(&train, 1));
    assert_ne!(run(&rows, 1), run(&rows, 2));
}

#[test]
fn a_log_too_small_to_embed_says_what_else_there_is() {
    let folder = folder(&[("log.csv", ROWS), ("items.csv", BARE)]);
    let error = message(&embed(folder.path(), &options(), &mut |_| ()).unwrap_err(), folder.path());
    assert!(error.starts_with("LOG: no two items are met together") && error.ends_with("--from"), "{error}");
    let left = std::fs::read_to_string(folder.path().join("items.csv")).unwrap();
    assert_eq!(left, BARE, "nothing is written");
}

fn from(embeddings: &str, items: &str) -> Result<(Log, EmbeddingNote), String> {
    let folder = folder(&[("log.csv", ROWS), ("items.csv", items), ("mine.csv", embeddings)]);
    let run = || -> Result<_, Error> {
        let note = embed_from_file(folder.path(), &folder.path().join("mine.csv"), 1.94)?;
        Ok((Log::open(folder.path())?, note))
    };
    run().map_err(|error| message(&error, folder.path()))
}

#[test]
fn a_users_file_replaces_the_embeddings_in_any_order_with_rows_to_spare() {
    let (log, note) = from("e_0,item_id\n-1,9\n0.5,7\n1,8\n0.25,100\n", ITEMS).unwrap();
    assert_eq!(log.items().unwrap().embeddings(), [0.5, -1.0, 0.25]);
    assert_eq!((note.n_dims, note.n_unused, note.scale), (1, 1, 1.0));
    let keyed = "item_id,category,price,key\n7,0,1.5,x\n9,,,\"y, z\"\n100,3,2,w\n";
    let (log, note) = from("key,e_0\nw,4\nx,-1\n\"y, z\",2\n", keyed).unwrap();
    let items = log.items().unwrap();
    assert!((items.embeddings()[2] - 1.94 * 0.999).abs() < 1e-6, "scaled into the box");
    assert!((items.embeddings()[0] / items.embeddings()[2] + 0.25).abs() < 1e-6, "all by one factor");
    assert!((note.scale - 1.94 * 0.999 / 4.0).abs() < 1e-6);
}

#[test]
fn a_wrong_file_is_refused_with_its_line_and_what_is_wrong() {
    let cases = [
        ("item_id,e_0\n7,1\n9,NaN\n100,1\n", "mine.csv, line 3: `e_0` is NaN, expected a finite number"),
        ("item_id,e_0\n7,1\n9,x\n100,1\n", "mine.csv, line 3: `e_0` is \"x\", expected a number"),
        (
            "item_id,e_0\n7,1\n9,0\n100,1\n",
            "mine.csv, line 3: the embedding is all zero: it has no direction",
        ),
        (
            "item_id,e_0\n7,1\n9,-1e30\n100,1\n",
            "mine.csv, line 3: item 9 has a component of size 1e30, half of the items none above 1e0: scaled by one factor, \
             the others would vanish; correct it, or leave the item out of the log",
        ),
        ("item_id,e_0\n7,1\n7,2\n", "mine.csv, line 3: item 7 stands already in line 2"),
        ("item_id,e_0\n7,1\n", "mine.csv: 2 items of the log are missing, the first is 9"),
        ("item_id,e_0,e_2\n7,1,1\n", "mine.csv: column `e_1` is missing among 2 columns e_0, e_1, ..."),
        ("item_id\n7\n", "mine.csv: columns e_0, e_1, ... are missing"),
        ("id,e_0\n7,1\n", "mine.csv: column `item_id` is missing; the columns are id, e_0"),
        ("item_id,e_0,bias\n7,1,1\n", "mine.csv: unknown column `bias` beside item_id"),
        ("key,e_0\n7,1\n", "mine.csv: column `key`: the items of the log have no keys, use `item_id`"),
    ];
    for (text, expected) in cases {
        assert_eq!(from(text, BARE).err().as_deref(), Some(expected));
    }
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    let refused =
        |options: Options| embed(std::path::Path::new("."), &options, &mut |_| ()).unwrap_err().to_string();
    assert_eq!(refused(Options { n_dims: 0, ..options() }), "option `dims` is 0, expected 1 to 1024");
    assert_eq!(refused(Options { window: 0, ..options() }), "option `window` is 0, expected 1 to 100");
    let bound = refused(Options { bound: f32::NAN, ..options() });
    assert_eq!(bound, "option `bound` is NaN, expected a finite number above 0");
}
