//! The world itself: what scenarios rely on before they look at anything else.
#![allow(clippy::unwrap_used, reason = "a helper of tests fails as a test does")]

use tests::lab::Fault;
use tests::world::{DEADLINE, World, wait_until};

#[tokio::test]
async fn a_server_that_is_started_again_keeps_its_port_and_its_data() {
    let mut world = World::builder().build().await.unwrap();
    let url = world.server_url().unwrap();
    world.sync().await.unwrap().success().unwrap();
    assert!(world.stop_server().await.unwrap().success());
    world.start_server().await.unwrap();
    assert_eq!(world.server_url().unwrap(), url);
    // A process of ours holds more than a megabyte and less than a machine.
    assert!((1 << 20..1 << 33).contains(&world.server_peak_memory().unwrap()));
    assert!(world.kill_server().await.unwrap().code().is_none());
    world.start_server().await.unwrap();
    let index = world.get("web/secure/spa/posture-update.xml").await.unwrap();
    assert!(index.status().is_success(), "{}", index.status());
    assert!(world.metrics().await.unwrap().value("posture_feed_release_serial", &[]).is_some_and(|n| n >= 1.0));
}

#[tokio::test]
async fn headends_enroll_update_and_follow() {
    let world = World::builder().headends(2).metrics_listener().build().await.unwrap();
    assert_ne!(world.monitoring_url().unwrap(), world.server_url().unwrap());
    world.sync().await.unwrap().success().unwrap();
    world.enroll_all().await.unwrap();
    for headend in world.headends() {
        assert_eq!(headend.current(), None);
        headend.client(["update"]).await.unwrap().success().unwrap();
        assert!(headend.current().is_some());
    }
    let before = world.headend(0).current();
    world.upstream().publish_next().unwrap();
    world.sync().await.unwrap().success().unwrap();
    world.headend(0).client(["update"]).await.unwrap().success().unwrap();
    assert_ne!(world.headend(0).current(), before);
}

#[tokio::test]
async fn programs_crash_where_they_are_told_to_and_nowhere_else() {
    let mut world = World::builder().stopped().headends(1).build().await.unwrap();
    world.crash_at("blobs.all");
    world.sync().await.unwrap().crashed().unwrap();
    world.crash_nowhere();
    world.sync().await.unwrap().success().unwrap();
    world.start_server().await.unwrap();
    world.enroll(0).await.unwrap();
    world.headend_mut(0).crash_at("client.activate.before_switch");
    world.headend(0).client(["update"]).await.unwrap().crashed().unwrap();
    assert_eq!(world.headend(0).current(), None);
    world.headend_mut(0).crash_nowhere();
    world.headend(0).client(["update"]).await.unwrap().success().unwrap();
    assert!(world.headend(0).current().is_some());
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why_in_the_error() {
    let mut world = World::builder().stopped().build().await.unwrap();
    world.set("data", "retain_releases", "many").unwrap();
    let refused = format!("{:#}", world.start_server().await.unwrap_err());
    assert!(refused.contains("retain_releases"), "{refused}");
    world.feed_server(["check-config"]).await.unwrap().failed_with(2).unwrap();
}

#[tokio::test]
async fn what_upstream_does_is_seen_in_metrics() {
    let world = World::builder().build().await.unwrap();
    world.sync().await.unwrap().success().unwrap();
    world.upstream().break_with(Fault::Away).unwrap();
    world.sync().await.unwrap().failed_with(10).unwrap();
    let failed = async || {
        world.metrics().await.is_ok_and(|m| m.value("posture_feed_sync_total", &[("result", "connect")]) == Some(1.0))
    };
    wait_until(DEADLINE, "the failure is counted", failed).await.unwrap();
}

#[tokio::test]
async fn a_server_on_schedule_updates_by_itself() {
    let world = World::builder().on_schedule().build().await.unwrap();
    let released =
        async || world.metrics().await.is_ok_and(|m| m.value("posture_feed_release_serial", &[]) == Some(1.0));
    wait_until(DEADLINE, "the first release", released).await.unwrap();
    assert!(world.sync().await.unwrap().code() == Some(0));
}
