//! `feed-client enroll`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::origin::Origin;
use crate::world::{TOKEN, World, release, text};

#[test]
fn it_keeps_whichever_repository_the_root_opens() {
    let mut world = World::new();
    let mut offline = Origin::new("offline");
    offline.add(&release(1));
    offline.publish(&world.server);
    for (origin, side) in [(&world.origin, "repo"), (&offline, "offline")] {
        let root = world.path("some-root.json");
        fs::write(&root, origin.root_file()).unwrap();
        let facts = world.ok(&["enroll", "--server", &world.server.url, "--root", text(&root), "--id", "vpn-1"]);
        assert_eq!(facts["repository"], side);
        assert_eq!(facts["notes"].to_string().contains("not the online repository"), side == "offline", "{facts}");
        assert_eq!(facts["reports"], false);
        assert_eq!(world.ok(&["update"])["serial"], 1);
        assert!(world.reports().is_empty(), "nobody to report as");
    }
    // The floor of release numbers is one for both.
    world.publish(&release(3));
    let (online_root, offline_root) = (world.path("root.json"), world.path("some-root.json"));
    world.ok(&["enroll", "--server", &world.server.url, "--root", text(&online_root)]);
    assert_eq!(world.ok(&["update"])["serial"], 3);
    let enroll = ["enroll", "--server", &world.server.url, "--root", text(&offline_root)];
    world.ok(&enroll);
    assert_eq!(world.refuses(&["update"]), (12, "rollback".to_owned()));
    world.ok(&[&enroll[..], &["--forget-release-numbers"]].concat());
    assert_eq!(world.ok(&["update"])["serial"], 1);
}

#[test]
fn a_damaged_enrolment_is_mended_by_enrolling_again() {
    let world = World::enrolled();
    fs::write(world.data("enrolment.json"), "{").unwrap();
    let (code, _, message) = world.fails(&["update"]);
    assert_eq!(code, 15);
    assert!(message.contains("run `feed-client enroll` again"), "{message}");
    let root = world.path("root.json");
    world.ok(&["enroll", "--server", &world.server.url, "--root", text(&root), "--id", "vpn-1"]);
    assert_eq!(world.ok(&["update"])["serial"], 1);
}

#[test]
fn the_token_is_its_owners_alone() {
    let world = World::enrolled();
    let token = world.data("token");
    assert_eq!(fs::read_to_string(&token).unwrap(), TOKEN);
    assert_eq!(fs::metadata(&token).unwrap().permissions().mode() & 0o777, 0o600);
    let status = world.ok(&["status"]);
    assert_eq!(status["headend"], "vpn-1");
    assert_eq!(status["repository"], "repo");
}

#[test]
fn a_root_is_needed_and_must_be_the_servers() {
    let world = World::new();
    let server = &world.server.url;
    let (code, reason, message) = world.fails(&["enroll", "--server", server]);
    assert_eq!((code, reason.as_str()), (2, "bad_request"));
    assert!(message.contains("--root FILE or --fingerprint SHA256 is needed"), "{message}");

    let another = world.path("another.json");
    fs::write(&another, Origin::new("repo").root_file()).unwrap();
    let enroll = |root: &str| world.fails(&["enroll", "--server", server, "--root", root]);
    let (code, reason, _) = enroll(text(&another));
    assert_eq!((code, reason.as_str()), (12, "signature"));

    fs::write(&another, "<html>").unwrap();
    let (code, reason, _) = enroll(text(&another));
    assert_eq!((code, reason.as_str()), (2, "bad_request"));
    let (code, _, message) = enroll("/nowhere/root.json");
    assert_eq!(code, 15);
    assert!(message.contains("/nowhere/root.json") && !message.contains("space"), "{message}");
    assert!(!world.data("enrolment.json").exists());

    let (code, reason, _) = world.fails(&["update"]);
    assert_eq!((code, reason.as_str()), (2, "bad_request"));
}

/// `feed-client enroll --server URL` on a terminal of its own, by util-linux's `script`: what is typed there, the exit code and
/// what is shown. Where nothing more is typed, the terminal's input ends.
fn at_a_terminal(world: &World, typed: &str, redirected: &str) -> (Option<i32>, String) {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    let program = world.command();
    let words: Vec<_> =
        std::iter::once(program.get_program()).chain(program.get_args()).map(|it| it.to_str().unwrap()).collect();
    let line = format!("{} enroll --server {} --id vpn-1 {redirected}", words.join(" "), world.server.url);
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]).current_dir(world.directory.path());
    for (name, value) in program.get_envs() {
        assert_eq!(value, None, "{name:?} is only taken away");
        script.env_remove(name);
    }
    script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = script.spawn().expect("script (util-linux) is missing");
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn at_a_terminal_the_servers_root_is_shown_and_asked_about() {
    let mut world = World::new();
    // The newest one, and not the first.
    world.origin.rotate();
    world.origin.publish(&world.server);
    let fingerprint = bundles::Digest::of(world.origin.root_file()).to_string();
    // Anything but a clear yes is none: another word, only a return, and the end of the input.
    for typed in ["no\n", "y\n", "\n", ""] {
        let (ended, shown) = at_a_terminal(&world, typed, "");
        assert_eq!(ended, Some(2), "{typed:?}: {shown}");
        assert!(shown.contains(&fingerprint) && shown.contains("Is it the same? (yes/no)"), "{typed:?}: {shown}");
        assert!(shown.contains("nothing is trusted and nothing was changed"), "{typed:?}: {shown}");
        assert!(!world.data("enrolment.json").exists() && !world.data("root.json").exists(), "{typed:?}");
    }
    // Ctrl-C, before or at the question; `script` does not say how that ended.
    let (_, shown) = at_a_terminal(&world, "\x03", "");
    assert!(!shown.contains("Enrolled"), "{shown}");
    assert!(!world.data("enrolment.json").exists() && !world.data("root.json").exists());
    // A terminal that the question is not shown on is nobody to ask.
    let (ended, _) = at_a_terminal(&world, "yes\n", "2> said");
    assert_eq!(ended, Some(2));
    let said = fs::read_to_string(world.path("said")).unwrap();
    assert!(said.contains("--fingerprint") && said.contains(&fingerprint) && !said.contains("(yes/no)"), "{said}");
    assert!(!world.data("enrolment.json").exists());

    let (ended, shown) = at_a_terminal(&world, " Yes\n", "");
    assert_eq!(ended, Some(0), "{shown}");
    assert!(shown.contains(&fingerprint) && shown.contains("Enrolled as vpn-1"), "{shown}");
    assert_eq!(fs::read(world.data("root.json")).unwrap(), world.origin.root_file());
    assert_eq!(world.ok(&["update"])["serial"], 1);
}

#[test]
fn enrolling_again_says_what_it_replaces_and_keeps_the_token_for_the_same_server_and_id() {
    let world = World::enrolled();
    let root = world.path("root.json");
    let again = ["enroll", "--server", &world.server.url, "--root", text(&root), "--id"];
    let again = |id: &str| world.ok(&[&again[..], &[id]].concat());
    let facts = again("vpn-1");
    assert_eq!(facts["replaced"]["id"], "vpn-1");
    assert_eq!(facts["reports"], true);
    assert!(facts["notes"].to_string().contains("is kept"), "{facts}");
    assert_eq!(fs::read_to_string(world.data("token")).unwrap(), TOKEN);

    let facts = again("vpn-2");
    assert_eq!(facts["reports"], false);
    assert!(facts["notes"].to_string().contains("is removed"), "{facts}");
    assert!(!world.data("token").exists());
}

#[test]
fn a_configuration_from_elsewhere_is_needed_later_too() {
    let world = World::new();
    let (root, elsewhere) = (world.path("root.json"), world.path("elsewhere.toml"));
    fs::write(&elsewhere, "").unwrap();
    world.configure("");
    let usual = world.data("feed-client.toml");
    for (config, noted) in [(&elsewhere, true), (&usual, false)] {
        let facts =
            world.ok(&["enroll", "--server", &world.server.url, "--root", text(&root), "--config", text(config)]);
        assert_eq!(facts["notes"].to_string().contains("need the same --config"), noted, "{facts}");
    }
}

#[test]
fn a_feed_url_is_no_base_url() {
    let world = World::new();
    let url = format!("{}/web/secure/spa/posture-update.xml", world.server.url);
    let output = world.run(&["enroll", "--server", &url, "--root", "root.json"]);
    assert_eq!(output.status.code(), Some(2));
    let said = crate::world::stderr(&output);
    assert!(said.contains(&format!("base URL only, such as {}", world.server.url.trim_end_matches('/'))), "{said}");
}

#[test]
fn a_configuration_with_mistakes_names_them_all() {
    let world = World::enrolled();
    world.configure("[server]\nurl = \"nonsense\"\n[apply]\nkeep = 3\nkeep_releases = 0\n");
    let (code, reason, message) = world.fails(&["update"]);
    assert_eq!((code, reason.as_str()), (2, "bad_request"));
    for expected in ["toml:2: server.url: ", "toml:4: unknown key `apply.keep`", "toml:5: apply.keep_releases: "] {
        assert!(message.contains(expected), "{message}");
    }
    let (code, _, message) = world.fails(&["update", "--config", "/nowhere/feed-client.toml"]);
    assert_eq!(code, 2);
    assert!(message.contains("/nowhere/feed-client.toml"), "{message}");
}
