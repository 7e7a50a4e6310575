//! Plain or gzip, folder or file; what is not there, empty or cut off.

use std::fs;

use crate::support::{folder, input, read_input, said};

const ROWS: &[u8] = b"7,11,3,pv,1500000170\n8,12,3,buy,1500000173\n";

#[test]
fn a_folder_a_file_and_a_gzip_file_read_the_same() {
    let plain = folder(&[("UserBehavior.csv", ROWS)]);
    let gzip = folder(&[("UserBehavior.csv.gz", ROWS)]);
    let expected = read_input("taobao", &input(plain.path())).unwrap().records;
    assert_eq!(expected.len(), 2);
    for path in [plain.path().join("UserBehavior.csv"), gzip.path().to_owned()] {
        assert_eq!(read_input("taobao", &input(&path)).unwrap().records, expected);
    }
    // Gzip is known by its bytes, whatever the name.
    let renamed = plain.path().join("anything");
    fs::copy(gzip.path().join("UserBehavior.csv.gz"), &renamed).unwrap();
    assert_eq!(read_input("taobao", &input(&renamed)).unwrap().records, expected);
}

#[test]
fn byte_order_marks_windows_line_ends_and_blank_lines_are_no_rows() {
    let text = "\u{feff}action_time,user_id,sku_id,type,sessionId,index\r\n\r\n2020-05-06 00:10:20,5,100,1,3,0\r\n\r\n";
    let folder = folder(&[("train.csv", text.as_bytes())]);
    let outcome = read_input("jdata-demo", &input(folder.path())).unwrap();
    assert_eq!(outcome.counts.read, 1);
    assert_eq!(outcome.records[0].session.as_deref(), Some("3"));
}

#[test]
fn a_missing_input_and_a_folder_without_the_files_name_what_is_expected() {
    let empty = tempfile::tempdir().unwrap();
    for (format, expected) in [
        ("taobao", "UserBehavior*.csv"),
        ("jdata-demo", "train.csv"),
        ("otto", "*.jsonl"),
        ("obd", "all.csv or men.csv or women.csv"),
        ("diginetica", "train-clicks.csv"),
        ("retailrocket", "events.csv"),
        ("yoochoose", "yoochoose-clicks*.dat"),
        ("jdsearch", "user_behavior_data*.txt"),
        ("trivago", "*.parquet"),
        ("jd-hup", "has no *"),
    ] {
        let error = said(&read_input(format, &input(empty.path())).unwrap_err());
        assert!(error.contains(expected) && error.contains("has no"), "{format}: {error}");
        let error = said(&read_input(format, &input(&empty.path().join("absent"))).unwrap_err());
        assert!(error.contains("absent") && error.contains("No such file"), "{format}: {error}");
    }
}

#[test]
fn empty_files_and_headers_without_rows_are_refused() {
    for (format, name, text, expected) in [
        ("taobao", "UserBehavior.csv", "", "the file is empty"),
        ("taobao", "UserBehavior.csv.gz", "", "the file is empty"),
        ("otto", "a.jsonl", "", "the file is empty"),
        ("otto", "a.jsonl", "\n\n", "no data rows"),
        ("jdata-demo", "train.csv", "action_time,user_id,sku_id,type,sessionId,index\n", "no data rows"),
    ] {
        let folder = folder(&[(name, text.as_bytes())]);
        let error = said(&read_input(format, &input(folder.path())).unwrap_err());
        assert!(error.contains(expected) && error.contains(name), "{format}: {error}");
    }
}

#[test]
fn a_gzip_file_that_is_cut_off_is_refused_by_name_even_when_lenient() {
    let whole = folder(&[("UserBehavior.csv.gz", &ROWS.repeat(5000))]);
    let path = whole.path().join("UserBehavior.csv.gz");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let mut input = input(whole.path());
    input.lenient = true;
    let error = said(&read_input("taobao", &input).unwrap_err());
    assert!(error.contains("cannot read") && error.contains("UserBehavior.csv.gz"), "{error}");
}

#[test]
fn diginetica_is_a_folder() {
    let folder = folder(&[("train-queries.csv", b"x")]);
    let error = read_input("diginetica", &input(&folder.path().join("train-queries.csv"))).unwrap_err();
    assert!(said(&error).contains("give the folder"), "{error}");
}

#[test]
fn damaged_parquet_is_refused_by_name() {
    let folder = folder(&[("train.parquet", b"PAR1 and no more")]);
    let error = said(&read_input("trivago", &input(folder.path())).unwrap_err());
    assert!(error.contains("train.parquet") && error.contains("damaged Parquet"), "{error}");
}
