//! Rows and headers that are wrong: file, line, column and value are named.

use logs::source::Input;

use crate::support::{folder, input, read_input, said};

/// Format, file, its content, and what the error must name.
type Case = (&'static str, &'static str, &'static [u8], &'static [&'static str]);

const DEMO: &str = "jdata-demo";
const CASES: &[Case] = &[
    ("taobao", "UserBehavior.csv", b"1,2,3,pv,5\n1,2,3,pv\n", &["line 2", "4 fields, expected 5"]),
    ("taobao", "UserBehavior.csv", b"1,2,3,look,5\n", &["line 1", "`behaviour`", "\"look\"", "pv, cart, fav, buy"]),
    ("taobao", "UserBehavior.csv", b"1,2,3,pv,soon\n", &["line 1", "`timestamp`", "\"soon\"", "seconds"]),
    ("taobao", "UserBehavior.csv", b"1,2,3,pv,-5\n", &["\"-5\""]),
    ("taobao", "UserBehavior.csv", b"1,2,3,pv,1500000170000\n", &["\"1500000170000\"", "in seconds"]),
    ("taobao", "UserBehavior.csv", b"user,item,category,type,time\n", &["line 1", "\"time\""]),
    ("taobao", "UserBehavior.csv", b"1,,3,pv,5\n", &["line 1", "`item` is empty"]),
    ("taobao", "UserBehavior.csv", b"1,2,3,pv,5\n1,\xff\xfe,3,pv,5\n", &["line 2", "field 2 is not UTF-8"]),
    (DEMO, "train.csv", b"time,user,sku_id\n1,2,3\n", &["`action_time`", "`sessionId` or `session_id`", "`time`, `user`, `sku_id`"]),
    (DEMO, "train.csv", b"action_time,user_id,sku_id,type,sessionId\n2021-02-30 00:00:00,1,2,1,3\n", &["line 2", "\"2021-02-30 00:00:00\"", "2020-05-06 00:10:20"]),
    (DEMO, "train.csv", b"action_time,user_id,sku_id,type,sessionId\n2021-02-03 00:00:00,1,2,9,3\n", &["line 2", "`type` is \"9\"", "2 (order)"]),
    ("jd-hup", "JD", b"1+5+2+3+4\n1+5+2+3\n", &["line 2", "\"1+5+2+3\"", "five fields"]),
    ("jd-hup", "JD", b"1+11+2+3+4\n", &["line 1", "known type", "10 (order)"]),
    ("jd-hup", "JD", b"1+5+2+x+4\n", &["interval in seconds"]),
    ("jd-hup", "JD", b"1+5+2+3+4\n\xff+5\n", &["line 2", "byte 1 is not UTF-8"]),
    ("otto", "a.jsonl", b"{\"session\":1,\"events\":[]}\n{\"session\":1,\n", &["line 2", "EOF", "column"]),
    ("otto", "a.jsonl", b"{\"session\":1,\"events\":[{\"aid\":1,\"ts\":5,\"type\":\"views\"}]}\n", &["line 1", "\"views\"", "clicks, carts, orders"]),
    ("otto", "a.jsonl", b"{\"session\":1,\"events\":[{\"aid\":1,\"type\":\"clicks\"}]}\n", &["line 1", "missing field `ts`"]),
    ("otto", "a.jsonl", b"{\"session\":1,\"events\":[{\"aid\":1,\"ts\":99999999999999,\"type\":\"clicks\"}]}\n", &["`ts` is 99999999999999"]),
    ("trivago", "train.csv", b"user_id,session_id,timestamp,action_type,reference,impressions,prices\nU,S,5,clickout item,1,1|2,9\n", &["line 2", "`prices` is \"9\"", "2 prices"]),
    ("trivago", "train.csv", b"user_id,session_id,timestamp,action_type,reference,impressions,prices\nU,S,5,clickout item,1,,\n", &["`impressions` is empty"]),
    ("trivago", "train.csv", b"user_id,session_id,timestamp,action_type,reference\n", &["no column `impressions`"]),
    ("jdsearch", "user_behavior_data.txt", b"candidate_wid_list\tcandidate_label_list\thistory_wid_list\thistory_type_list\n1_2\t0.0\t\t\n", &["line 2", "2 entries", "`candidate_label_list` 1"]),
    ("jdsearch", "user_behavior_data.txt", b"candidate_wid_list\tcandidate_label_list\thistory_wid_list\thistory_type_list\n1_2\t0.0_0.7\t\t\n", &["line 2", "\"0.7\""]),
    ("jdsearch", "user_behavior_data.txt", b"candidate_wid_list\tcandidate_label_list\thistory_wid_list\thistory_type_list\n1\t0.0\t1_2\tORD\n", &["`history_wid_list` has 2 entries"]),
    ("retailrocket", "events.csv", b"timestamp,visitorid,event,itemid\n1600000000300,1,look,5\n", &["line 2", "`event` is \"look\"", "addtocart"]),
    ("yoochoose", "yoochoose-clicks.dat", b"1,2020-05-06,2,0\n1,yesterday,2,0\n", &["line 2", "`timestamp` is \"yesterday\""]),
    ("obd", "all.csv", b"timestamp,item_id,position,click,propensity_score\n2021-02-03 04:05:06+00:00,1,4,0,.1\n", &["line 2", "`position` is \"4\"", "1, 2 or 3"]),
    ("obd", "all.csv", b"timestamp,item_id,position,click,propensity_score\n2021-02-03 04:05:06+00:00,1,3,2,.1\n", &["`click` is \"2\""]),
    ("obd", "all.csv", b"timestamp,item_id,position,click,propensity_score\n2021-02-03 04:05:06+00:00,1,3,1,0\n", &["`propensity_score` is \"0\""]),
    ("obd", "all.csv", b"timestamp,item_id,position,click,propensity_score\n2021-02-03 04:05:06+00:00,1,3,1,NaN\n", &["\"NaN\""]),
    ("jdata2016", "JData_Action_202105.csv", b"user_id,sku_id,time,model_id,type,cate,brand\n1,2,2021-05-06,,7,8,9\n", &["`type` is \"7\""]),
    ("rees46", "2021-Feb.csv", b"event_time,event_type,product_id,category_id,price,user_id,user_session\n2021-02-03 04:05:06 UTC,view,1,2,cheap,3,4\n", &["`price` is \"cheap\""]),
    ("tianchi-mobile", "tianchi_x_train_user.csv", b"user_id,item_id,behavior_type,item_category,time\n1,2,1,3,2021-02-03 25\n", &["`time` is \"2021-02-03 25\""]),
];

#[test]
fn a_wrong_row_or_header_is_refused_with_file_line_column_and_value() {
    for (format, name, content, expected) in CASES {
        let folder = folder(&[(name, content)]);
        let error = said(&read_input(format, &input(folder.path())).unwrap_err());
        for word in expected.iter().chain([name]) {
            assert!(error.contains(word), "{format}: {error:?} does not say {word:?}");
        }
        assert!(!error.contains('\n') && error.len() < 700, "{format}: {error}");
    }
}

#[test]
fn lenient_counts_a_wrong_row_once_and_goes_on() {
    let mut text = b"1,2,3,pv,1500000170\n1,2,3,look,5\n1,\xff,3,pv,5\n".to_vec();
    text.extend(b"1,2,3,buy,1500000171\n1,2,3,pv");
    let folder = folder(&[("UserBehavior.csv", &text)]);
    let mut input = input(folder.path());
    let refused = said(&read_input("taobao", &input).unwrap_err());
    assert!(refused.ends_with("pv, cart, fav, buy; --lenient counts such rows and goes on"), "{refused}");
    input.lenient = true;
    let outcome = read_input("taobao", &input).unwrap();
    assert_eq!((outcome.counts.read, outcome.counts.kept, outcome.dropped("malformed")), (5, 2, 3));
}

#[test]
fn lenient_takes_a_line_of_many_rows_as_a_whole_or_not_at_all() {
    let text = b"{\"session\":1,\"events\":[{\"aid\":1,\"ts\":5,\"type\":\"clicks\"},{\"aid\":1,\"ts\":5,\"type\":\"x\"}]}\n\
        {\"session\":2,\"events\":[{\"aid\":1,\"ts\":5,\"type\":\"clicks\"}]}\n";
    let folder = folder(&[("a.jsonl", text)]);
    let mut input = input(folder.path());
    input.lenient = true;
    let outcome = read_input("otto", &input).unwrap();
    assert_eq!(outcome.records.len(), 1);
    assert_eq!(outcome.records[0].user, "2");
}

#[test]
fn lenient_does_not_excuse_a_wrong_header() {
    let folder = folder(&[("train.csv", b"a,b\n1,2\n")]);
    for lenient in [false, true] {
        let input = Input { lenient, ..input(folder.path()) };
        let error = said(&read_input("jdata-demo", &input).unwrap_err());
        assert!(error.contains("has no column") && !error.contains("--lenient"), "{error}");
    }
}

#[test]
fn a_click_map_with_an_unknown_code_is_refused_with_the_known_ones() {
    let folder = folder(&[("UserBehavior.csv", b"1,2,3,pv,5\n")]);
    let mut input = input(folder.path());
    input.click_map = Some(vec!["view".to_owned()]);
    let error = said(&read_input("taobao", &input).unwrap_err());
    assert!(
        error.contains("click-map") && error.contains("\"view\"") && error.contains("pv, cart, fav, buy"),
        "{error}"
    );
}
