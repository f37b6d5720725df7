//! A poll that finds nothing new is one request, and a 304 ends no poll that it must not end.

use std::fs;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::crash::copy_tree;
use crate::origin::in_hours;
use crate::server::{Fault, Request};
use crate::world::{World, release};

fn followed() -> World {
    let world = World::enrolled();
    world.ok(&["update"]);
    world.server.take_requests();
    world
}

fn paths(requests: &[Request]) -> Vec<String> {
    requests.iter().map(|request| request.path.rsplit('/').next().unwrap().to_owned()).collect()
}

#[test]
fn it_is_one_request_and_the_report_on_the_same_connection() {
    let world = followed();
    for _ in 0..3 {
        let facts = world.ok(&["update"]);
        assert_eq!((&facts["result"], &facts["serial"]), (&"unchanged".into(), &1.into()));
        let requests = world.server.take_requests();
        assert_eq!(paths(&requests), ["timestamp.json", "report"]);
        assert!(requests[0].header("if-none-match").is_some());
        assert_eq!(requests[0].sent, 0);
        assert_eq!(requests[0].connection, requests[1].connection);
        let [report] = &crate::world::reports(&requests)[..] else { panic!() };
        assert_eq!((report.last_success.is_some(), &report.last_failure), (true, &None));
    }
}

#[test]
fn it_is_one_request_too_where_the_timestamp_came_packed() {
    let mut world = World::enrolled();
    world.server.pack();
    world.ok(&["update"]);
    // Once from the refresh's own request, and once from a first one that was answered with another timestamp.
    for _ in 0..2 {
        world.server.take_requests();
        assert_eq!(world.ok(&["update"])["result"], "unchanged");
        let requests = world.server.take_requests();
        assert_eq!(paths(&requests), ["timestamp.json", "report"]);
        let asked = (requests[0].header("if-none-match").unwrap(), requests[0].header("available-dictionary"));
        assert!(asked.0.ends_with("-zstd\"") && asked.1.is_none(), "{asked:?}");
        world.origin.publish(&world.server);
        assert_eq!(world.ok(&["update"])["result"], "unchanged");
    }
}

#[test]
fn anything_else_than_a_304_is_a_full_refresh_that_asks_for_nothing_twice() {
    let mut world = followed();
    // The same release, signed anew.
    world.origin.publish(&world.server);
    assert_eq!(world.ok(&["update"])["result"], "unchanged");
    let requests = world.server.take_requests();
    assert_eq!(paths(&requests), ["timestamp.json", "2.root.json", "2.snapshot.json", "2.targets.json", "report"]);
    assert!(requests.iter().all(|request| request.connection == requests[0].connection), "{requests:?}");
    world.ok(&["update"]);
    assert_eq!(world.server.take_requests().len(), 2, "the next one is idle again");

    // A timestamp from before a new root is asked for again once the root is known.
    world.origin.rotate();
    world.publish(&release(2));
    assert_eq!(world.ok(&["update"])["serial"], 2);
    let names = paths(&world.server.take_requests());
    assert_eq!(names.iter().filter(|name| *name == "timestamp.json").count(), 2, "{names:?}");
}

#[test]
fn a_304_ends_no_poll_that_it_must_not_end() {
    let world = followed();
    let template = world.path("template");
    copy_tree(&world.path("data"), &template);
    let state = |change: &dyn Fn(&mut Value)| {
        let mut state: Value = serde_json::from_slice(&fs::read(world.data("state.json")).unwrap()).unwrap();
        change(&mut state);
        state.as_object_mut().unwrap().remove("sha256");
        fs::write(world.data("state.json"), state.to_string()).unwrap();
    };
    let at = |hours: i64| json!(in_hours(hours));
    let cases: [(&str, &dyn Fn()); 11] = [
        ("a day is over", &|| state(&|state| state["refreshed"]["at"] = at(-24))),
        ("the clock was set back", &|| state(&|state| state["refreshed"]["at"] = at(1))),
        ("expired", &|| state(&|state| state["refreshed"]["valid_until"] = json!(Timestamp::UNIX_EPOCH))),
        ("expired by what was signed since", &|| state(&|state| state["newest_signed"] = at(25))),
        ("another timestamp is held", &|| fs::write(world.data("tuf/repo/timestamp.json"), "{}").unwrap()),
        ("none is held", &|| fs::remove_file(world.data("tuf/repo/timestamp.json")).unwrap()),
        ("enrolled elsewhere", &|| state(&|state| state["refreshed"]["url"] = json!("https://elsewhere.example/"))),
        ("another root is pinned", &|| state(&|state| state["refreshed"]["pinned_root"] = json!("00".repeat(32)))),
        ("the release does not run", &|| fs::remove_file(world.data("current")).unwrap()),
        ("its manifest is gone", &|| fs::remove_file(world.data("releases/1/manifest.json")).unwrap()),
        ("release numbers were forgotten", &|| state(&|state| state["highest_serial"] = Value::Null)),
    ];
    for (what, change) in cases {
        copy_tree(&template, &world.path("data"));
        change();
        world.server.take_requests();
        world.run(&["update"]);
        let requests = world.server.take_requests();
        assert!(requests.iter().all(|request| request.header("if-none-match").is_none()), "{what}");
        assert!(paths(&requests).contains(&"2.root.json".to_owned()), "{what}: {:?}", paths(&requests));
        assert_eq!(world.current(), Some(1), "{what}");
    }
}

#[test]
fn a_server_that_says_304_to_everything_is_believed_no_longer_than_a_day() {
    let world = followed();
    world.server.break_at("timestamp.json", Fault::Status(304));
    assert_eq!(world.ok(&["update"])["result"], "unchanged");
    let mut state: Value = serde_json::from_slice(&fs::read(world.data("state.json")).unwrap()).unwrap();
    state["refreshed"]["at"] = json!(in_hours(-24));
    state.as_object_mut().unwrap().remove("sha256");
    fs::write(world.data("state.json"), state.to_string()).unwrap();
    assert_eq!(world.refuses(&["update"]), (13, "http_status".to_owned()));
}

#[test]
fn a_release_that_is_held_stays_held_by_a_304_and_an_operator_asks_for_all() {
    let mut world = followed();
    world.publish(&release(2));
    world.ok(&["update"]);
    world.ok(&["rollback"]);
    world.server.take_requests();
    assert_eq!(world.ok(&["update"])["serial"], 2, "somebody who asks takes the hold away");
    assert!(paths(&world.server.take_requests()).contains(&"2.root.json".to_owned()));
}
