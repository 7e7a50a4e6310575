//! Data sets of actions: what was shown is not known.

use common::Feedback::{Click, Order, Skip};

use crate::support::{Outcome, folder, input, read, read_input};

#[test]
fn taobao_takes_buys_for_orders_and_the_rest_for_clicks() {
    let outcome = read(
        "taobao",
        &[(
            "UserBehavior.csv",
            "7,11,3,pv,1500000170\n7,12,3,cart,1500000171\n7,12,3,fav,1500000172\n8,12,3,buy,1500000173\n",
        )],
    )
    .unwrap();
    assert_eq!(outcome.actions(), [("11", 1), ("12", 1), ("12", 1), ("12", 2)]);
    let first = &outcome.records[0];
    assert_eq!((first.user.as_str(), &first.session, first.category.as_deref()), ("7", &None, Some("3")));
    // Unix time already: nothing is added for UTC+8.
    assert_eq!(first.time_ms, 1_500_000_170_000);
}

#[test]
fn jdata_demo_keeps_its_sessions_and_reads_local_time() {
    let text = "action_time,user_id,sku_id,type,sessionId,index\n\
        2020-05-06 00:10:20,5,100,1,3,1588723820.0\n2020-05-06 00:10:30,5,101,2,3,1588723830.0\n";
    let outcome = read("jdata-demo", &[("train.csv", text)]).unwrap();
    assert_eq!(outcome.actions(), [("100", 1), ("101", 2)]);
    assert_eq!(outcome.records[1].session.as_deref(), Some("3"));
    // 00:10:20 in Beijing is 16:10:20 UTC the day before.
    assert_eq!(outcome.records[0].time_ms, 1_588_723_820_000 - 8 * 3_600_000);
}

#[test]
fn jdata2019_joins_categories_from_the_products() {
    let outcome = read(
        "jdata2019",
        &[
            ("jdata_action.csv", "user_id,sku_id,action_time,module_id,type\n1,9,2020-05-06 10:00:00,m,5\n1,9,2020-05-06 10:01:00,m,2\n"),
            ("jdata_product.csv", "sku_id,brand,shop_id,cate,market_time\n9,1,2,77,2017-01-01\n"),
        ],
    )
    .unwrap();
    assert_eq!(outcome.actions(), [("9", 1), ("9", 2)]);
    assert_eq!(outcome.items["9"], (Some("77".to_owned()), None));
}

#[test]
fn jdata2016_users_written_as_floats_are_the_same_users_and_uncarts_are_dropped() {
    let outcome = read(
        "jdata2016",
        &[
            ("JData_Action_202105.csv", "user_id,sku_id,time,model_id,type,cate,brand\n71.0,5001,2021-05-06 07:08:09,,1,6,31\n71,5001,2021-05-06 07:08:10,2,3,6,31\n"),
            ("JData_Action_202106.csv.gz", "user_id,sku_id,time,model_id,type,cate,brand\n71,5001,2021-06-07 08:09:10,,4,6,31\n"),
        ],
    )
    .unwrap();
    assert_eq!(outcome.actions(), [("5001", 1), ("5001", 2)]);
    assert!(outcome.records.iter().all(|record| record.user == "71"));
    assert_eq!(outcome.dropped("taken out of the cart"), 1);
}

#[test]
fn otto_cuts_its_weeks_by_gaps_and_reads_milliseconds_and_seconds() {
    let text = "{\"session\":3,\"events\":[{\"aid\":1,\"ts\":1600000100025,\"type\":\"clicks\"},\
        {\"aid\":2,\"ts\":1600000101,\"type\":\"carts\"},{\"aid\":2,\"ts\":1600000102000,\"type\":\"orders\"}]}\n\
        {\"session\":4,\"events\":[]}\n";
    let outcome = read("otto", &[("train.jsonl", text)]).unwrap();
    assert_eq!(outcome.actions(), [("1", 1), ("2", 1), ("2", 2)]);
    let times: Vec<_> = outcome.records.iter().map(|record| record.time_ms).collect();
    assert_eq!(times, [1_600_000_100_025, 1_600_000_101_000, 1_600_000_102_000]);
    assert!(outcome.records.iter().all(|record| record.user == "3" && record.session.is_none()));
}

#[test]
fn retailrocket_takes_an_items_latest_category_and_events_in_any_order() {
    let properties =
        "timestamp,itemid,property,value\n2000,5,categoryid,20\n1000,5,categoryid,10\n3000,5,41,n12.000\n";
    let events = "timestamp,visitorid,event,itemid,transactionid\n1600000000300,1,view,5,\n1600000000200,1,transaction,5,31\n1600000000100,2,addtocart,6,\n";
    let outcome = read(
        "retailrocket",
        &[("events.csv", events), ("item_properties_part1.csv", properties), ("category_tree.csv", "x")],
    )
    .unwrap();
    assert_eq!(outcome.actions(), [("5", 1), ("5", 2), ("6", 1)]);
    assert_eq!(outcome.items["5"].0.as_deref(), Some("20"));
}

#[test]
fn yoochoose_joins_buys_on_the_session_and_keeps_true_categories_only() {
    let clicks = "1,2020-05-06T07:08:09.123Z,501,0\n1,2020-05-06T07:10:11.456Z,502,12\n1,2020-05-06T07:12:13.789Z,503,S\n";
    let buys = "1,2020-05-06T07:20:21.012Z,503,250,1\n1,2020-05-06T07:21:22.345Z,502,0,0\n";
    let outcome =
        read("yoochoose", &[("yoochoose-clicks.dat", clicks), ("yoochoose-buys.dat", buys)]).unwrap();
    let of = |outcome: &Outcome| outcome.records.iter().map(|r| r.feedback).collect::<Vec<_>>();
    assert_eq!(of(&outcome), [Click, Click, Click, Order, Order]);
    let categories: Vec<_> = outcome.records.iter().map(|r| r.category.as_deref()).collect();
    assert_eq!(categories, [None, Some("12"), None, None, None]);
    assert_eq!(outcome.records[3].price, Some(250.0));
    assert_eq!(outcome.records[4].price, None);
    assert!(outcome.records.iter().all(|r| r.session.as_deref() == Some("1") && r.user == "1"));
    // The clicks alone will do.
    let alone = folder(&[("clicks.dat", clicks.as_bytes())]);
    let outcome = read_input("yoochoose", &input(&alone.path().join("clicks.dat"))).unwrap();
    assert_eq!(of(&outcome), [Click, Click, Click]);
}

#[test]
fn rees46_drops_rows_without_a_session_and_takes_no_price_from_refunds() {
    let text = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n\
        2021-02-03 04:05:00 UTC,view,9001,7000000000000000001,,acme,12.34,61,0f0f-s1\n\
        2021-02-03 04:05:01 UTC,purchase,9001,7000000000000000001,,\"a,b\",-1.5,61,0f0f-s1\n\
        2021-02-03 04:05:02 UTC,remove_from_cart,9001,7000000000000000001,,,1.0,61,0f0f-s1\n\
        2021-02-03 04:05:03 UTC,cart,9001,7000000000000000001,,,1.0,61,\n";
    let outcome = read("rees46", &[("2021-Feb.csv", text)]).unwrap();
    assert_eq!(outcome.actions(), [("9001", 1), ("9001", 2)]);
    assert_eq!((outcome.records[0].price, outcome.records[1].price), (Some(12.34), None));
    assert_eq!((outcome.dropped("no user_session"), outcome.dropped("taken out")), (1, 1));
    assert_eq!(outcome.records[0].time_ms, 1_612_325_100_000);
}

#[test]
fn tianchi_mobile_reads_hours_of_local_time() {
    let text = "user_id,item_id,behavior_type,user_geohash,item_category,time\n\
        81,6001,1,,51,2021-02-03 02\n81,6001,4,9zzzzz0,51,2021-02-03 03\n";
    let outcome = read("tianchi-mobile", &[("tianchi_mobile_recommend_train_user.csv", text)]).unwrap();
    assert_eq!(outcome.actions(), [("6001", 1), ("6001", 2)]);
    assert_eq!(outcome.records[0].time_ms, 1_612_288_800_000);
}

#[test]
fn jd_hup_makes_one_record_of_a_visit() {
    let text = "10+5+21+7+3 11+5+22+4+30 11+7+22+40+30 11+9+22+6+30 10+5+21+8+3\n12+4+1+5+6 12+10+1+0+6\n";
    let outcome = read("jd-hup", &[("JD_Computers", text)]).unwrap();
    let feedback: Vec<_> = outcome.records.iter().map(|r| (r.item.as_str(), r.feedback)).collect();
    assert_eq!(feedback, [("10", Skip), ("11", Click), ("10", Skip), ("12", Order)]);
    let times: Vec<_> = outcome.records.iter().map(|r| r.time_ms).collect();
    assert_eq!(times, [0, 7_000, 57_000, 3_600_000]);
    assert_eq!(outcome.dropped("merged"), 3);
    let sessions: Vec<_> = outcome.records.iter().map(|r| r.session.as_deref().unwrap()).collect();
    assert_eq!(sessions, ["JD_Computers:1", "JD_Computers:1", "JD_Computers:1", "JD_Computers:2"]);
}

#[test]
fn a_click_map_decides_which_actions_are_clicks() {
    let text = b"7,11,3,pv,1500000170\n7,12,3,cart,1500000171\n8,12,3,buy,1500000173\n";
    let folder = folder(&[("UserBehavior.csv", text)]);
    let mut input = input(folder.path());
    input.click_map = Some(vec!["cart".to_owned()]);
    let outcome = read_input("taobao", &input).unwrap();
    assert_eq!(outcome.actions(), [("12", 1), ("12", 2)]);
    assert_eq!(outcome.dropped("not in --click-map"), 1);
}

#[test]
fn in_a_proxy_log_an_action_that_is_no_click_is_a_skip() {
    let folder = folder(&[("JD", b"10+5+21+7+3 11+9+22+6+30 12+7+22+40+30\n")]);
    let mut input = input(folder.path());
    input.click_map = Some(vec!["7".to_owned()]);
    assert_eq!(read_input("jd-hup", &input).unwrap().actions(), [("10", 0), ("11", 0), ("12", 1)]);
}
