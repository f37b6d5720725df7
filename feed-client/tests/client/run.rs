//! `feed-client run`: polls by itself, at once on SIGHUP, ends on SIGTERM; and one instance at a time.

use std::fs;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::server::Fault;
use crate::world::{World, release, text};

/// What must come about comes about within this time, on a machine that has other things to do too.
const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct Running(Child);

impl Running {
    fn start(world: &World) -> Self {
        Self::of(&mut world.command())
    }

    pub(crate) fn of(command: &mut Command) -> Self {
        Self(command.arg("run").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.0.id().try_into().unwrap()).unwrap(), signal).unwrap();
    }

    /// Ends it as a service manager does; its log.
    pub(crate) fn end(mut self) -> String {
        self.signal(Signal::TERM);
        assert!(self.0.wait().unwrap().success());
        let mut log = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        log
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < DEADLINE, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn it_polls_right_away_and_on_sighup_and_ends_on_sigterm() {
    let mut world = World::enrolled();
    world.configure("[schedule]\nevery = \"2h\"\njitter = \"0s\"\n");
    let running = Running::start(&world);
    wait_until("the first poll", || world.current() == Some(1));
    wait_until("its report", || world.reports().iter().any(|report| report.next_poll.is_some()));
    world.publish(&release(2));
    running.signal(Signal::HUP);
    wait_until("the poll that was asked for", || world.current() == Some(2));
    wait_until("its report", || !world.reports().is_empty());
    let status = world.ok(&["status"]);
    assert!(status["next_poll"].is_string(), "{status}");
    let log = running.end();
    for line in ["Starting posture update", "Completed posture update", "run_id="] {
        assert!(log.contains(line), "{line:?} is not in: {log}");
    }
    assert!(!log.contains(crate::world::TOKEN));
}

#[test]
fn it_polls_again_after_the_interval() {
    let mut world = World::enrolled();
    world.configure("[schedule]\nevery = \"1s\"\njitter = \"0s\"\n");
    let _running = Running::start(&world);
    wait_until("the first poll", || world.current() == Some(1));
    world.publish(&release(2));
    wait_until("the second one", || world.current() == Some(2));
}

#[test]
fn it_leaves_a_held_release_alone_until_a_newer_one_comes() {
    let mut world = World::enrolled();
    world.publish(&release(2));
    world.ok(&["update"]);
    world.publish(&release(3));
    world.ok(&["update"]);
    world.ok(&["rollback"]);
    world.configure("[schedule]\nevery = \"1s\"\njitter = \"0s\"\n");
    world.server.take_requests();
    let running = Running::start(&world);
    let mut polls = 0;
    wait_until("three polls", || {
        polls += world.reports().len();
        polls >= 3
    });
    assert_eq!(world.current(), Some(2));
    world.publish(&release(4));
    wait_until("the newer release", || world.current() == Some(4));
    // The report comes after the hold was taken away.
    wait_until("the report", || world.reports().iter().any(|report| report.serial.is_some_and(|s| s.get() == 4)));
    assert_eq!(world.ok(&["status"])["held"], serde_json::Value::Null);
    running.end();
}

#[test]
fn a_release_that_the_hook_refused_is_not_tried_again_by_the_timer_and_stays_reported() {
    let mut world = World::enrolled();
    world.ok(&["update"]);
    world.hook("echo x >> calls; exit 1", "[schedule]\nevery = \"1s\"\njitter = \"0s\"\n");
    world.publish(&release(2));
    world.server.take_requests();
    let running = Running::start(&world);
    let mut reports = Vec::new();
    wait_until("four reports", || {
        reports.extend(world.reports());
        reports.len() >= 4
    });
    for report in &reports {
        assert_eq!(report.serial.unwrap().get(), 1);
        assert_eq!(report.last_failure.as_ref().unwrap().reason, bundles::Reason::HookFailed);
    }
    running.end();
    assert_eq!(fs::read_to_string(world.path("calls")).unwrap(), "x\n");
}

#[test]
fn a_hanging_hook_does_not_outlive_the_client() {
    let world = World::enrolled();
    world.hook("echo $$ > pid; exec sleep 1000", "[schedule]\njitter = \"0s\"\n");
    let running = Running::start(&world);
    let pid = world.path("pid");
    wait_until("the hook", || fs::read_to_string(&pid).is_ok_and(|pid| pid.ends_with('\n')));
    running.end();
    let pid: i32 = fs::read_to_string(pid).unwrap().trim().parse().unwrap();
    let gone = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    };
    wait_until("the hook's end", gone);
    // The switch was not kept; the next run asks the hook again.
    world.hook("true", "");
    world.ok(&["update"]);
    assert_eq!(world.current(), Some(1));
}

#[test]
fn only_one_is_at_work_at_a_time() {
    let world = World::enrolled();
    world.hook("echo > hooked; while test ! -e go; do :; done", "[schedule]\njitter = \"0s\"\n");
    let running = Running::start(&world);
    wait_until("the hook", || world.path("hooked").exists());
    let (code, reason, _) = world.fails(&["update"]);
    assert_eq!((code, reason.as_str()), (16, "busy"));
    assert_eq!(world.fails(&["rollback"]).0, 16);
    assert_eq!(world.fails(&["run"]).0, 16);
    assert_eq!(world.ok(&["status"])["last_status"]["status"], "running");
    fs::write(world.path("go"), "").unwrap();
    wait_until("the end of the update", || world.ok(&["status"])["last_status"]["status"] == "successful");
    running.end();
}

#[test]
fn two_that_share_an_apply_directory_are_not_at_work_at_once() {
    let world = World::enrolled();
    world.hook("echo > hooked; while test ! -e go; do :; done", "directory = \"../served\"\n");
    let other = world.path("other");
    assert!(Command::new("cp").arg("-a").arg(world.data("")).arg(&other).status().unwrap().success());
    let update = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_feed-client"));
        command.arg("--data").arg(&other).arg("update");
        command
    };
    let mut first = world.command().arg("update").stderr(Stdio::null()).spawn().unwrap();
    wait_until("the hook", || world.path("hooked").exists());
    let second = update().output().unwrap();
    fs::write(world.path("go"), "").unwrap();
    assert!(first.wait().unwrap().success());
    assert_eq!(second.status.code(), Some(16), "{}", crate::world::stderr(&second));
    assert!(crate::world::stderr(&second).contains("served/lock"), "{}", crate::world::stderr(&second));
    assert!(update().status().unwrap().success());
    // By another name it is still the data directory, whose lock is held once.
    world.configure("[apply]\ndirectory = \"../data/.\"\n");
    world.ok(&["update"]);
}

#[test]
fn a_new_token_and_a_new_configuration_count_from_the_next_poll_on() {
    let world = World::enrolled();
    world.configure("[schedule]\nevery = \"2h\"\njitter = \"0s\"\n");
    let running = Running::start(&world);
    wait_until("the first report", || !world.reports().is_empty());
    fs::write(world.path("token"), "pf_another_token").unwrap();
    let (root, token) = (world.path("root.json"), world.path("token"));
    let enroll = ["enroll", "--server", &world.server.url, "--id", "vpn-1", "--root", text(&root), "--token-file"];
    world.ok(&[&enroll[..], &[text(&token)]].concat());
    world.configure("[metrics]\ntextfile = \"feed.prom\"\n");
    let asked = |token: &str| {
        let requests = world.server.take_requests();
        requests.iter().any(|request| request.authorization.as_deref() == Some(&*format!("Bearer {token}")))
    };
    running.signal(Signal::HUP);
    wait_until("the report with the new token", || asked("pf_another_token"));
    assert!(world.data("feed.prom").is_file());

    // One with mistakes does not end what worked before.
    world.configure("[metrics]\ntextfiles = \"feed.prom\"\n");
    running.signal(Signal::HUP);
    wait_until("the next report", || asked("pf_another_token"));
    let log = running.end();
    assert!(log.contains("unknown key `metrics.textfiles`"), "{log}");
}

#[test]
fn it_survives_a_server_that_is_away() {
    let mut world = World::enrolled();
    world.configure("[schedule]\nevery = \"1s\"\njitter = \"0s\"\n");
    world.server.break_at("timestamp.json", Fault::Status(503));
    let running = Running::start(&world);
    wait_until("a failure", || world.ok(&["status"])["last_status"]["status"] == "failed");
    world.server.mend();
    wait_until("the retry", || world.current() == Some(1));
    world.publish(&release(2));
    wait_until("the next poll", || world.current() == Some(2));
    running.end();
}
