//! Data sets of actions: what was shown is not known.

use common::Feedback::{Click, Order, Skip};

use crate::support::{Outcome, folder, input, read, read_input};

#[test]
fn taobao_takes_buys_for_orders_and_the_rest_for_clicks() {
    let outcome = read(
        "taobao",
        &[(
            "UserBehavior.csv",
            "7,11,3,pv,1511544070\n7,12,3,cart,1511544071\n7,12,3,fav,1511544072\n8,12,3,buy,1511544073\n",
        )],
    )
    .unwrap();
    assert_eq!(outcome.actions(), [("11", 1), ("12", 1), ("12", 1), ("12", 2)]);
    let first = &outcome.records[0];
    assert_eq!((first.user.as_str(), &first.session, first.category.as_deref()), ("7", &None, Some("3")));
    // Unix time already: nothing is added for UTC+8.
    assert_eq!(first.time_ms, 1_511_544_070_000);
}

#[test]
fn jdata_demo_keeps_its_sessions_and_reads_local_time() {
    let text = "action_time,user_id,sku_id,type,sessionId,index\n\
        2018-03-01 00:00:06,5,100,1,42,1519862406.0\n2018-03-01 00:00:09,5,101,2,42,1519862409.0\n";
    let outcome = read("jdata-demo", &[("train.csv", text)]).unwrap();
    assert_eq!(outcome.actions(), [("100", 1), ("101", 2)]);
    assert_eq!(outcome.records[1].session.as_deref(), Some("42"));
    // 00:00:06 in Beijing is 16:00:06 UTC the day before.
    assert_eq!(outcome.records[0].time_ms, 1_519_862_406_000 - 8 * 3_600_000);
}

#[test]
fn jdata2019_joins_categories_from_the_products() {
    let outcome = read(
        "jdata2019",
        &[
            ("jdata_action.csv", "user_id,sku_id,action_time,module_id,type\n1,9,2018-02-01 10:00:00,m,5\n1,9,2018-02-01 10:01:00,m,2\n"),
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
            ("JData_Action_201602.csv", "user_id,sku_id,time,model_id,type,cate,brand\n266079.0,138778,2016-01-31 23:59:02,,1,8,403\n266079,138778,2016-01-31 23:59:03,0,3,8,403\n"),
            ("JData_Action_201603.csv.gz", "user_id,sku_id,time,model_id,type,cate,brand\n266079,138778,2016-03-31 23:59:02,,4,8,403\n"),
        ],
    )
    .unwrap();
    assert_eq!(outcome.actions(), [("138778", 1), ("138778", 2)]);
    assert!(outcome.records.iter().all(|record| record.user == "266079"));
    assert_eq!(outcome.dropped("taken out of the cart"), 1);
}

#[test]
fn otto_cuts_its_weeks_by_gaps_and_reads_milliseconds_and_seconds() {
    let text = "{\"session\":3,\"events\":[{\"aid\":1,\"ts\":1659304800025,\"type\":\"clicks\"},\
        {\"aid\":2,\"ts\":1659304801,\"type\":\"carts\"},{\"aid\":2,\"ts\":1659304802000,\"type\":\"orders\"}]}\n\
        {\"session\":4,\"events\":[]}\n";
    let outcome = read("otto", &[("train.jsonl", text)]).unwrap();
    assert_eq!(outcome.actions(), [("1", 1), ("2", 1), ("2", 2)]);
    let times: Vec<_> = outcome.records.iter().map(|record| record.time_ms).collect();
    assert_eq!(times, [1_659_304_800_025, 1_659_304_801_000, 1_659_304_802_000]);
    assert!(outcome.records.iter().all(|record| record.user == "3" && record.session.is_none()));
}

#[test]
fn retailrocket_takes_an_items_latest_category_and_events_in_any_order() {
    let properties =
        "timestamp,itemid,property,value\n2000,5,categoryid,20\n1000,5,categoryid,10\n3000,5,790,n552.000\n";
    let events = "timestamp,visitorid,event,itemid,transactionid\n1433221332117,1,view,5,\n1433221332017,1,transaction,5,4000\n1433221332000,2,addtocart,6,\n";
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
    let clicks = "1,2014-04-07T10:51:09.277Z,214536502,0\n1,2014-04-07T10:54:09.868Z,214536500,12\n1,2014-04-07T10:54:46.998Z,214536506,S\n";
    let buys = "1,2014-04-07T10:58:00.306Z,214536506,1046,1\n1,2014-04-07T10:59:00.306Z,214536500,0,0\n";
    let outcome =
        read("yoochoose", &[("yoochoose-clicks.dat", clicks), ("yoochoose-buys.dat", buys)]).unwrap();
    let of = |outcome: &Outcome| outcome.records.iter().map(|r| r.feedback).collect::<Vec<_>>();
    assert_eq!(of(&outcome), [Click, Click, Click, Order, Order]);
    let categories: Vec<_> = outcome.records.iter().map(|r| r.category.as_deref()).collect();
    assert_eq!(categories, [None, Some("12"), None, None, None]);
    assert_eq!(outcome.records[3].price, Some(1046.0));
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
        2019-10-01 00:00:00 UTC,view,44600062,2103807459595387724,,shiseido,35.79,541312140,72d76fde\n\
        2019-10-01 00:00:01 UTC,purchase,44600062,2103807459595387724,,\"a,b\",-1.5,541312140,72d76fde\n\
        2019-10-01 00:00:02 UTC,remove_from_cart,44600062,2103807459595387724,,,1.0,541312140,72d76fde\n\
        2019-10-01 00:00:03 UTC,cart,44600062,2103807459595387724,,,1.0,541312140,\n";
    let outcome = read("rees46", &[("2019-Oct.csv", text)]).unwrap();
    assert_eq!(outcome.actions(), [("44600062", 1), ("44600062", 2)]);
    assert_eq!((outcome.records[0].price, outcome.records[1].price), (Some(35.79), None));
    assert_eq!((outcome.dropped("no user_session"), outcome.dropped("taken out")), (1, 1));
    assert_eq!(outcome.records[0].time_ms, 1_569_888_000_000);
}

#[test]
fn tianchi_mobile_reads_hours_of_local_time() {
    let text = "user_id,item_id,behavior_type,user_geohash,item_category,time\n\
        98047837,232431562,1,,4245,2014-12-06 02\n98047837,232431562,4,96nn52n,4245,2014-12-06 03\n";
    let outcome = read("tianchi-mobile", &[("tianchi_mobile_recommend_train_user.csv", text)]).unwrap();
    assert_eq!(outcome.actions(), [("232431562", 1), ("232431562", 2)]);
    assert_eq!(outcome.records[0].time_ms, 1_417_802_400_000);
}

#[test]
fn jd_hup_makes_one_record_of_a_visit() {
    let text =
        "10+5+683+9+4 11+5+679+3+52 11+7+679+49+52 11+9+679+2+52 10+5+683+7+4\n12+4+1+5+6 12+10+1+0+6\n";
    let outcome = read("jd-hup", &[("JD_Computers", text)]).unwrap();
    let feedback: Vec<_> = outcome.records.iter().map(|r| (r.item.as_str(), r.feedback)).collect();
    assert_eq!(feedback, [("10", Skip), ("11", Click), ("10", Skip), ("12", Order)]);
    let times: Vec<_> = outcome.records.iter().map(|r| r.time_ms).collect();
    assert_eq!(times, [0, 9_000, 63_000, 3_600_000]);
    assert_eq!(outcome.dropped("merged"), 3);
    let sessions: Vec<_> = outcome.records.iter().map(|r| r.session.as_deref().unwrap()).collect();
    assert_eq!(sessions, ["JD_Computers:1", "JD_Computers:1", "JD_Computers:1", "JD_Computers:2"]);
}

#[test]
fn a_click_map_decides_which_actions_are_clicks() {
    let text = b"7,11,3,pv,1511544070\n7,12,3,cart,1511544071\n8,12,3,buy,1511544073\n";
    let folder = folder(&[("UserBehavior.csv", text)]);
    let mut input = input(folder.path());
    input.click_map = Some(vec!["cart".to_owned()]);
    let outcome = read_input("taobao", &input).unwrap();
    assert_eq!(outcome.actions(), [("12", 1), ("12", 2)]);
    assert_eq!(outcome.dropped("not in --click-map"), 1);
}

#[test]
fn in_a_proxy_log_an_action_that_is_no_click_is_a_skip() {
    let folder = folder(&[("JD", b"10+5+683+9+4 11+9+679+2+52 12+7+679+49+52\n")]);
    let mut input = input(folder.path());
    input.click_map = Some(vec!["7".to_owned()]);
    assert_eq!(read_input("jd-hup", &input).unwrap().actions(), [("10", 0), ("11", 0), ("12", 1)]);
}
