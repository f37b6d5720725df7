//! `bundle import` that is ended before the server has the whole zip.

use std::cell::RefCell;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::origin::{Origin, relay};
use crate::running::Site;
use crate::{nothing_is_staged, status, text};

/// Far longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// More than the socket and the programs at both ends of it hold, and of which half a second's copy is but a part.
const LARGE: u64 = 512 << 20;

/// What the command reads at once: some of it is sent before it reads on.
const PIECE: u64 = 256 << 10;

/// Looks between which nothing more is read of a zip that waits for a server that stands still.
const LOOKS: usize = 20;

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A file that begins as a zip.
fn large(directory: &Path) -> PathBuf {
    let path = directory.join("large.zip");
    std::fs::write(&path, b"PK\x03\x04").unwrap();
    File::options().write(true).open(&path).unwrap().set_len(LARGE).unwrap();
    path
}

/// How far a process has read in a file (proc(5): `/proc/<pid>/fdinfo`).
fn read_so_far(process: u32, file: &Path) -> u64 {
    let Ok(open) = std::fs::read_dir(format!("/proc/{process}/fd")) else { return 0 };
    let open: Vec<_> = open.filter_map(Result::ok).collect();
    let found = open.iter().find(|entry| std::fs::read_link(entry.path()).is_ok_and(|target| target == file));
    let Some(number) = found.map(std::fs::DirEntry::file_name) else { return 0 };
    let info = std::fs::read_to_string(format!("/proc/{process}/fdinfo/{}", number.display())).unwrap_or_default();
    let at = info.lines().find_map(|line| line.strip_prefix("pos:"));
    at.and_then(|at| at.trim().parse().ok()).unwrap_or_default()
}

fn signal(process: Pid, signal: Signal) {
    kill_process(process, signal).unwrap();
}

/// The exit code and what was said.
fn end(command: Child) -> (Option<i32>, String) {
    let output = command.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// The server heard of it, keeps nothing of it, and takes the next one.
fn is_dropped(relay: &Site, origin: &Origin) {
    until("the import ends", || status(relay)["last_import"]["result"] == "truncated");
    let after = status(relay);
    assert!(after["release"].is_null() && after["importing"].is_null(), "{after}");
    assert!(after["last_import"]["sha256"].is_null(), "{after}");
    nothing_is_staged(relay);
    let media = tempfile::tempdir().unwrap();
    let told = relay.prints(&["bundle", "import", text(&origin.bundle(1, media.path()))]);
    assert!(told.starts_with("Release 1 is imported"), "{told}");
}

/// A server that stands still while a command hands over a zip to it, so that the command is surely in the midst of that.
fn in_the_midst(relay: &Site) -> Child {
    let server = relay.server();
    signal(server, Signal::STOP);
    let zip = large(relay.path());
    let command = relay.spawn(&["bundle", "import", text(&zip)]);
    // How much the socket takes is the kernel's: when no more is read, it is full.
    let looks = RefCell::new(Vec::new());
    until("the socket is full", || {
        let mut looks = looks.borrow_mut();
        looks.push(read_so_far(command.id(), &zip));
        let last = &looks[looks.len().saturating_sub(LOOKS)..];
        last.len() == LOOKS && last.iter().all(|at| *at > PIECE && *at == last[0])
    });
    command
}

#[test]
fn ctrl_c_in_the_midst_of_the_upload_leaves_nothing() {
    let origin = Origin::new();
    let mut relay = relay(&origin, "");
    relay.serve();
    let command = in_the_midst(&relay);
    signal(Pid::from_child(&command), Signal::INT);
    let (code, error) = end(command);
    assert!(code == Some(14) && error.contains("nothing was imported") && error.contains("(truncated)"), "{error}");
    signal(relay.server(), Signal::CONT);
    is_dropped(&relay, &origin);
}

#[test]
fn a_command_that_is_killed_in_the_midst_of_the_upload_leaves_nothing() {
    let origin = Origin::new();
    let mut relay = relay(&origin, "");
    relay.serve();
    let mut command = in_the_midst(&relay);
    command.kill().unwrap();
    assert_eq!(end(command).0, None);
    signal(relay.server(), Signal::CONT);
    is_dropped(&relay, &origin);
}

#[test]
fn ctrl_c_where_no_server_runs_leaves_nothing_either() {
    let origin = Origin::new();
    let relay = relay(&origin, "");
    let zip = large(relay.path());
    let command = relay.spawn(&["bundle", "import", text(&zip)]);
    until("the zip is on its way", || read_so_far(command.id(), &zip) > PIECE);
    signal(Pid::from_child(&command), Signal::INT);
    let (code, error) = end(command);
    assert!(code == Some(14) && error.contains("nothing was imported"), "{error}");
    let after = status(&relay);
    // Where it had not even begun, nothing is told of it.
    let result = after["last_import"]["result"].as_str();
    assert!(result.is_none_or(|result| ["truncated", "internal"].contains(&result)), "{after}");
    assert!(after["release"].is_null(), "{after}");
    nothing_is_staged(&relay);
}

#[test]
fn who_imported_is_the_systems_user() {
    let origin = Origin::new();
    let mut relay = relay(&origin, "");
    let media = tempfile::tempdir().unwrap();
    let bundle = origin.bundle(1, media.path());
    let user = feed_server::store::user_name(rustix::process::getuid().as_raw());
    // By itself, and by way of a server.
    for round in 0..2 {
        relay.prints(&["bundle", "import", text(&bundle)]);
        let last = status(&relay)["last_import"].clone();
        assert_eq!((&last["by"], &last["user"]), (&"operator".into(), &user.as_str().into()), "{last}");
        assert!(relay.prints(&["status"]).contains(&format!("by {user} on the server itself")));
        if round == 0 {
            relay.serve();
        }
    }
}
