//! docs/faults.md names tests that exist.

use system_tests::{files_with_extension, root};

#[test]
fn every_test_that_the_table_of_faults_names_exists() {
    let table = std::fs::read_to_string(root().join("docs/faults.md")).unwrap();
    let rows: Vec<&str> =
        table.lines().filter(|line| line.starts_with("| ") && line.contains("::")).collect();
    assert!(rows.len() > 20, "docs/faults.md has only {} rows with tests", rows.len());
    let sources = files_with_extension(&["rs"]);
    for row in rows {
        // `path::name` in backticks.
        for named in row.split('`').skip(1).step_by(2).filter(|piece| piece.contains(".rs::")) {
            let (path, name) = named.split_once("::").unwrap();
            let path = root().join(path);
            assert!(sources.contains(&path), "docs/faults.md names {}, which is missing", path.display());
            let source = std::fs::read_to_string(&path).unwrap();
            assert!(
                source.contains(&format!("fn {name}(")),
                "docs/faults.md names a test `{name}` that {} has not",
                path.display()
            );
        }
    }
}

#[test]
fn every_class_of_faults_is_in_the_table() {
    let table = std::fs::read_to_string(root().join("docs/faults.md")).unwrap();
    for class in ["process", "network", "disk", "data", "time", "load", "learning"] {
        assert!(table.contains(&format!("## {class}")), "docs/faults.md has no part on {class}");
    }
    let (_, parts) = table.split_once("## process").unwrap();
    for line in parts.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| fault")) {
        let covered = line.contains(".rs::") || line.contains("not covered: ");
        assert!(covered, "neither a test nor `not covered: REASON`: {line}");
    }
}
