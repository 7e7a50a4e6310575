//! The time of day: nothing but the time stamps of records and logs depends on it.

use system_tests::{files_with_extension, root};

/// Who may read the time of day, and why an hour's error does no harm there.
const MAY: [(&str, &str); 2] = [
    ("common/node/src/operate/secrets.rs", "new certificates begin well before now and last for years"),
    ("learner/src/train/records.rs", "time stamps of the lines of metrics.jsonl, which nothing reads back"),
];
/// How it is read.
const READS: [&str; 7] = [
    "SystemTime::now",
    "UNIX_EPOCH",
    "Utc::now",
    "Local::now",
    "OffsetDateTime::now",
    "Timestamp::now",
    "REALTIME",
];

#[test]
fn only_time_stamps_for_people_depend_on_the_time_of_day() {
    let mut found = Vec::new();
    for path in files_with_extension(&["rs"]) {
        let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        let is_test = name.split('/').any(|part| part == "tests" || part == "tests.rs" || part == "benches");
        let text = std::fs::read_to_string(&path).unwrap();
        let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        if !is_test && READS.iter().any(|read| code.iter().any(|line| line.contains(read))) {
            found.push(name);
        }
    }
    let may: Vec<&str> = MAY.iter().map(|(name, _)| *name).collect();
    assert_eq!(found, may, "leases, waits and limits are measured by Instant, which does not jump");
}

#[test]
fn redis_measures_leases_itself_and_its_clock_only_raises_tokens() {
    let scripts = files_with_extension(&["lua"]);
    assert!(scripts.len() > 4, "only {} scripts", scripts.len());
    for path in scripts {
        let text = std::fs::read_to_string(&path).unwrap();
        for command in ["EXPIREAT", "EXAT", "PXAT"] {
            assert!(!text.contains(command), "{} sets a time of day with {command}", path.display());
        }
        if text.contains("'TIME'") {
            // A clock that is behind gives the next number all the same.
            assert!(text.contains("math.max(known + 1, floor + 1, us)"), "{}", path.display());
        }
    }
}
