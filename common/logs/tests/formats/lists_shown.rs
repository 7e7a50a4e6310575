//! Data sets that say what was shown.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};

use crate::support::{folder, input, read, read_input};

const TRIVAGO: &str = "user_id,session_id,timestamp,step,action_type,reference,platform,city,device,current_filters,impressions,prices\n";

#[test]
fn trivago_lists_have_one_order_earlier_interactions_as_clicks_and_skips() {
    let text = format!(
        "{TRIVAGO}\
        U,S,1600000460,1,search for poi,Old Harbour,XX,\"Port Town, Nowhere\",mobile,,,\n\
        U,S,1600000461,2,interaction item image,102,XX,\"Port Town, Nowhere\",mobile,,,\n\
        U,S,1600000462,3,interaction item info,999,XX,\"Port Town, Nowhere\",mobile,,,\n\
        U,S,1600000463,4,clickout item,103,XX,\"Port Town, Nowhere\",mobile,,101|102|103,95|66|501\n\
        U,S,1600000464,5,clickout item,777,XX,\"Port Town, Nowhere\",mobile,,101|102,95|66\n\
        U,T,1600000470,1,interaction item deals,101,XX,\"Port Town, Nowhere\",mobile,,,\n\
        V,T,1600000470,1,clickout item,,XX,\"Port Town, Nowhere\",mobile,,101|102,95|66\n"
    );
    let outcome = read("trivago", &[("train.csv", &text)]).unwrap();
    assert_eq!(outcome.actions(), [("101", 0), ("102", 1), ("103", 2), ("101", 0), ("102", 0), ("777", 2)]);
    let positions: Vec<_> = outcome.records.iter().map(|r| r.position).collect();
    assert_eq!(positions, [Some(0), Some(1), Some(2), Some(0), Some(1), None]);
    assert_eq!(outcome.records[2].price, Some(501.0));
    assert_eq!(outcome.records[0].time_ms, 1_600_000_463_000);
    assert_eq!(outcome.dropped("merged"), 1);
    assert_eq!(outcome.dropped("not on the next list"), 1);
    assert_eq!(outcome.dropped("no list after it"), 1);
    assert_eq!(outcome.dropped("withheld"), 2);
    assert_eq!(outcome.dropped("no item of a list"), 1);
}

#[test]
fn trivago_reads_the_same_from_parquet() {
    let text =
        format!("{TRIVAGO}U,S,1600000463,4,clickout item,103,XX,Nowhere,mobile,,101|102|103,95|66|501\n");
    let expected = read("trivago", &[("train.csv", &text)]).unwrap();

    let text = |value: Option<&str>| Arc::new(StringArray::from(vec![value])) as ArrayRef;
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("user_id", text(Some("U")), true),
        ("session_id", text(Some("S")), true),
        ("timestamp", Arc::new(Int64Array::from(vec![1_600_000_463])) as ArrayRef, false),
        ("action_type", text(Some("clickout item")), true),
        ("reference", text(Some("103")), true),
        ("current_filters", text(None), true),
        ("impressions", text(Some("101|102|103")), true),
        ("prices", text(Some("95|66|501")), true),
    ])
    .unwrap();
    let mut bytes = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let folder = folder(&[("train-00000.parquet", &bytes)]);
    let outcome = read_input("trivago", &input(folder.path())).unwrap();
    assert_eq!(outcome.records, expected.records);
}

#[test]
fn jdsearch_keeps_the_candidates_in_an_order_that_gives_no_label_away() {
    let text = "query\tcandidate_wid_list\tcandidate_label_list\thistory_qry_list\thistory_wid_list\thistory_type_list\thistory_time_list\n\
        1\x182\x183\t9_8_7_6_5\t3.0_2.0_1.0_0.0_1.5\t-1_4\x185\t1_2\tORD_CLICK\t0_5_60\n\
        1\t4_3\t0.0_0.0\t\t\t\t\n";
    let products = "wid\tname\tbrand_id\tbrand_name\tcate_id_1\tcate_name_1\tcate_id_2\tcate_name_2\tcate_id_3\tcate_name_3\tcate_id_4\tcate_name_4\tshop_id\n\
        9\t1\x182\t3\t4\t5\t6\t7\t8\t33\t10\t11\t12\t13\n";
    let files = [("user_behavior_data.txt", text), ("product_meta_data.txt", products)];
    let outcome = read("jdsearch", &files).unwrap();
    assert_eq!(outcome.actions(), [("5", 1), ("6", 0), ("7", 1), ("8", 1), ("9", 2), ("3", 0), ("4", 0)]);
    assert!(outcome.records.iter().all(|record| record.position.is_none()));
    assert_eq!(outcome.records[0].session.as_deref(), Some("user_behavior_data:2"));
    assert_eq!(outcome.records[5].session.as_deref(), Some("user_behavior_data:3"));
    assert_eq!((outcome.records[0].time_ms, outcome.records[5].time_ms), (0, 3_600_000));
    assert_eq!(outcome.dropped("history"), 2);
    assert_eq!(outcome.items["9"].0.as_deref(), Some("33"));
}

/// The files of the CIKM Cup with a column naming.
fn diginetica(snake: bool) -> Vec<(&'static str, String)> {
    let files = [
        (
            "train-queries.csv",
            "queryId;sessionId;userId;timeframe;duration;eventdate;searchstring.tokens;categoryId;items;is.test\n\
            1;10;NA;100;5;2020-02-03;;0;501,502,503;FALSE\n2;10;NA;300;5;2020-02-03;;0;502,504;FALSE\n\
            3;11;77;0;5;2020-02-04;4,5;0;501;TRUE\n4;12;77;0;5;2020-02-04;4,5;9;501;FALSE\n5;12;77;0;5;2020-02-04;;9;;FALSE\n",
        ),
        ("train-clicks.csv", "queryId;timeframe;itemId\n1;120;502\n2;330;999\n"),
        (
            "train-purchases.csv",
            "sessionId;userId;timeframe;eventdate;ordernumber;itemId\n10;NA;400;2020-02-03;1;502\n10;NA;200;2020-02-03;1;504\n12;77;50;2020-02-03;1;501\n",
        ),
        ("train-item-views.csv", "sessionId;userId;itemId;timeframe;eventdate\n10;NA;502;130;2020-02-03\n"),
        ("products.csv", "itemId;pricelog2;product.name.tokens\n501;3;1,2\n502;0;3\n"),
        ("product-categories.csv", "itemId;categoryId\n501;9\n504;8\n"),
    ];
    let rename = |text: &str| {
        let ids = ["query", "session", "user", "item", "category"];
        ids.iter().fold(text.to_owned(), |text, id| text.replace(&format!("{id}Id"), &format!("{id}_id")))
    };
    files.map(|(name, text)| (name, if snake { rename(text) } else { text.to_owned() })).to_vec()
}

#[test]
fn diginetica_joins_clicks_by_query_and_purchases_by_session_in_both_namings() {
    for snake in [false, true] {
        let files = diginetica(snake);
        let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let outcome = read("diginetica", &files).unwrap();
        // 502 was bought after two lists that showed it, and clicked on the first; 504 was bought before its list.
        assert_eq!(
            outcome.actions(),
            [("501", 0), ("502", 2), ("503", 0), ("502", 0), ("504", 0), ("501", 2)]
        );
        let first = &outcome.records[0];
        assert_eq!((first.user.as_str(), first.session.as_deref()), ("session 10", Some("10")));
        assert_eq!((first.position, first.time_ms), (Some(0), 1_580_688_000_100));
        assert_eq!(outcome.records[5].user, "77");
        for (reason, n) in [
            ("merged: click", 1),
            ("click on an item that is on no list", 1),
            ("merged: purchase", 2),
            ("on no earlier list", 1),
            ("page view", 1),
            ("test query", 1),
            ("query without a list", 1),
        ] {
            assert_eq!(outcome.dropped(reason), n, "{reason}");
        }
        assert_eq!(outcome.items["501"], (Some("9".to_owned()), Some(8.0)));
        assert_eq!(outcome.items["502"], (None, None));
        assert_eq!(outcome.items["504"], (Some("8".to_owned()), None));
    }
}

#[test]
fn diginetica_does_without_purchases_and_views() {
    let files = diginetica(false);
    let files: Vec<_> = files.iter().take(2).map(|(name, text)| (*name, text.as_str())).collect();
    let outcome = read("diginetica", &files).unwrap();
    assert_eq!(outcome.actions().iter().filter(|(_, code)| *code == 1).count(), 1);
}

const OBD: &str = ",timestamp,item_id,position,click,propensity_score,user_feature_0\n";

#[test]
fn obd_rows_are_sessions_of_their_own_with_propensities() {
    let rows = format!(
        "{OBD}0,2021-02-03 04:05:06.789012+00:00,33,2,0,0.03125,a\n1,2021-02-03 04:05:07+00:00,21,1,1,1.0,a\n"
    );
    let folder = folder(&[
        ("bts/men/men.csv.gz", rows.as_bytes()),
        ("random/all/all.csv", rows.as_bytes()),
        ("random/all/item_context.csv", b"x"),
    ]);
    let outcome = read_input("obd", &input(folder.path())).unwrap();
    assert_eq!(outcome.actions(), [("men/33", 0), ("men/21", 1), ("all/33", 0), ("all/21", 1)]);
    let first = &outcome.records[0];
    assert_eq!((first.position, first.propensity), (Some(1), Some(0.03125)));
    assert_eq!((first.user.as_str(), first.session.as_deref()), ("bts/men/men:2", Some("bts/men/men:2")));
    let mut users: Vec<_> = outcome.records.iter().map(|record| &record.user).collect();
    users.dedup();
    assert_eq!(users.len(), 4);
}
