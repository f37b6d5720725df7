//! A proxy that answers 407 is asked once, whatever polls, restarts and reports come after; and once more when an operator
//! asks, or with another password.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use rustix::process::Signal;
use serde_json::Value;

use crate::proxy::{Manner, Proxy, Site, site};
use crate::run::{Running, wait_until};
use crate::world::{files_below, stderr};

/// `new:s3cret`, as the header has it.
const TAKEN: &str = "bmV3OnMzY3JldA==";

/// A headend that reports, with a proxy on the way that wants credentials from now on.
struct Locked {
    site: Site,
    proxy: Proxy,
    seen: Cell<usize>,
}

impl Locked {
    fn new() -> Self {
        let site = site();
        let proxy = Proxy::start(&site.server, Manner::Open(None));
        let more = "[headend]\ntoken_file = \"../token\"\n[schedule]\nevery = \"2h\"\njitter = \"0s\"\n";
        site.world.configure(&format!("{}{more}", site.anchors));
        let enrolled = site.enroll(&[("HTTPS_PROXY", &format!("http://{}", proxy.address))]);
        assert!(enrolled.status.success(), "{}", stderr(&enrolled));
        let locked = Self { site, proxy, seen: Cell::new(0) };
        let updated = locked.asks("", &["update"]);
        assert!(updated.status.success(), "{}", stderr(&updated));
        locked.proxy.behave(Manner::Open(Some(TAKEN)));
        locked.newly_asked();
        locked
    }

    /// How often the proxy was asked since the last look.
    fn newly_asked(&self) -> usize {
        let all = self.proxy.asked().len();
        all - self.seen.replace(all)
    }

    /// `user` ends in `@`, or is nobody.
    fn command(&self, user: &str) -> Command {
        let mut command = self.site.world.command();
        command.env("HTTPS_PROXY", format!("http://{user}{}", self.proxy.address));
        command
    }

    fn asks(&self, user: &str, arguments: &[&str]) -> Output {
        self.command(user).args(arguments).arg("--json").output().unwrap()
    }

    fn state(&self) -> Value {
        let state = fs::read(self.site.world.data("state.json")).unwrap_or_default();
        serde_json::from_slice(&state).unwrap_or_default()
    }

    fn polls(&self, result: &str) -> u64 {
        self.state()["poll_total"][result].as_u64().unwrap_or_default()
    }

    /// A `feed-client run` of three polls that end so, and of the reports between them.
    fn three_polls(&self, user: &str, result: &str) -> String {
        let before = self.polls(result);
        let running = Running::of(&mut self.command(user));
        for poll in 1..=3 {
            wait_until("a poll", || self.polls(result) >= before + poll);
            running.signal(Signal::HUP);
        }
        running.end()
    }

    fn kept(&self) -> String {
        fs::read_to_string(self.site.world.data("proxy-refusals.json")).unwrap_or_default()
    }
}

#[test]
fn a_refused_password_is_sent_once_until_it_changes_or_an_operator_asks() {
    let locked = Locked::new();
    let log = locked.three_polls("old:s3cret@", "proxy_auth");
    assert_eq!(locked.newly_asked(), 1, "{log}");
    // A restart.
    let log = locked.three_polls("old:s3cret@", "proxy_auth");
    assert_eq!(locked.newly_asked(), 0, "{log}");
    let failure = &locked.state()["last_failure"];
    assert_eq!(failure["reason"], "proxy_auth");
    let message = failure["message"].as_str().unwrap();
    let kept: Value = serde_json::from_str(&locked.kept()).unwrap();
    for words in
        [&*locked.proxy.address, kept["refused"][0]["at"].as_str().unwrap(), "HTTPS_PROXY", "feed-client update"]
    {
        assert!(message.contains(words), "{words}: {message}");
    }
    assert_eq!(locked.state()["last_report_failure"]["message"], message);

    for _ in 0..2 {
        let update = locked.asks("old:s3cret@", &["update"]);
        assert_eq!((update.status.code(), locked.newly_asked()), (Some(11), 1), "{}", stderr(&update));
    }
    // Going back needs no network, and its report is worth no try.
    let rollback = locked.asks("old:s3cret@", &["rollback"]);
    assert_eq!(locked.newly_asked(), 0, "{}", stderr(&rollback));
    locked.three_polls("old:s3cret@", "proxy_auth");
    assert_eq!(locked.newly_asked(), 0);

    locked.three_polls("another:s3cret@", "proxy_auth");
    assert_eq!(locked.newly_asked(), 1);
    locked.three_polls("old:s3cret@", "proxy_auth");
    assert_eq!(locked.newly_asked(), 0, "the one before it is forgotten");
    locked.three_polls("new:s3cret@", "unchanged");
    assert_eq!(locked.site.world.current(), Some(1));
    for secret in ["s3cret", TAKEN, "b2xkOnMzY3JldA=="] {
        assert!(!locked.kept().contains(secret) && !log.contains(secret), "{secret}: {} {log}", locked.kept());
    }
    let mode = fs::metadata(locked.site.world.data("proxy-refusals.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_the_proxy_takes_when_an_operator_asks_is_not_held_any_more() {
    let locked = Locked::new();
    locked.proxy.behave(Manner::Refuse(407));
    locked.three_polls("new:s3cret@", "proxy_auth");
    locked.three_polls("old:s3cret@", "proxy_auth");
    assert_eq!(locked.newly_asked(), 2);
    // Unlocked, which nobody can know here.
    locked.proxy.behave(Manner::Open(Some(TAKEN)));
    locked.three_polls("new:s3cret@", "proxy_auth");
    assert_eq!(locked.newly_asked(), 0);
    let update = locked.asks("new:s3cret@", &["update"]);
    assert!(update.status.success(), "{}", stderr(&update));
    locked.three_polls("new:s3cret@", "unchanged");
    locked.newly_asked();
    // That one was taken says nothing of the other.
    locked.three_polls("old:s3cret@", "proxy_auth");
    assert_eq!(locked.newly_asked(), 0);
}

#[test]
fn a_proxy_that_wants_a_password_where_there_is_none_is_asked_once_too() {
    let locked = Locked::new();
    locked.three_polls("", "proxy_auth");
    assert_eq!(locked.newly_asked(), 1);
    let message = locked.state()["last_failure"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("wanted a user name and password"), "{message}");
    // It lets this machine through by its address now.
    locked.proxy.behave(Manner::Open(None));
    assert!(locked.asks("", &["update"]).status.success());
    assert_eq!(locked.kept(), "");
}

#[test]
fn a_disk_that_takes_no_note_leads_to_no_second_try_while_the_client_runs() {
    let locked = Locked::new();
    // In the place of the temporary file.
    let obstacle = locked.site.world.data(".proxy-refusals.json.new");
    fs::create_dir(&obstacle).unwrap();
    let running = Running::of(&mut locked.command("old:s3cret@"));
    for poll in 1..=3 {
        wait_until("a poll", || locked.polls("proxy_auth") >= poll);
        running.signal(Signal::HUP);
    }
    fs::remove_dir(&obstacle).unwrap();
    running.signal(Signal::HUP);
    wait_until("the note", || {
        running.signal(Signal::HUP);
        !locked.kept().is_empty()
    });
    let log = running.end();
    assert!(log.contains("until this process ends"), "{log}");
    locked.three_polls("old:s3cret@", "proxy_auth");
    assert_eq!(locked.newly_asked(), 1, "{log}");
}

#[test]
fn a_damaged_note_lets_nobody_but_an_operator_ask() {
    let locked = Locked::new();
    fs::write(locked.site.world.data("proxy-refusals.json"), "{").unwrap();
    locked.three_polls("old:s3cret@", "storage");
    assert_eq!(locked.newly_asked(), 0);
    let update = locked.asks("old:s3cret@", &["update"]);
    assert_eq!((update.status.code(), locked.newly_asked()), (Some(11), 1), "{}", stderr(&update));
    locked.three_polls("old:s3cret@", "proxy_auth");
    assert_eq!(locked.newly_asked(), 0);
}

#[test]
fn enrolling_and_the_doctor_ask_once_each() {
    let locked = Locked::new();
    let variables = [("HTTPS_PROXY", &*format!("http://old:s3cret@{}", locked.proxy.address))];
    assert_eq!(locked.site.enroll(&variables).status.code(), Some(11));
    assert_eq!(locked.newly_asked(), 1);
    locked.three_polls("old:s3cret@", "proxy_auth");
    assert_eq!(locked.newly_asked(), 0);

    let before = files_below(locked.site.world.directory.path());
    let doctor = locked.asks("old:s3cret@", &["doctor"]);
    assert_eq!((doctor.status.code(), locked.newly_asked()), (Some(11), 1));
    assert_eq!(files_below(locked.site.world.directory.path()), before);
    let report: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    assert_eq!(report["failed_step"], "connect");
    let proxy = report["steps"].as_array().unwrap().iter().find(|line| line["step"] == "proxy").unwrap();
    assert_eq!(proxy["result"], "warning");
    assert!(proxy["seen"].as_str().unwrap().contains("is not asked again"), "{proxy}");
    locked.three_polls("old:s3cret@", "proxy_auth");
    assert_eq!(locked.newly_asked(), 0);
}
