//! Verbs, with and without a server.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::running::{NO_FETCHING, Site};

#[test]
fn usage_mistakes_end_with_2() {
    let site = Site::new("");
    assert_eq!(site.fails(&["no-such-verb"]).0, 2);
    assert_eq!(site.fails(&["token", "add", "x", "--scope", "everything"]).0, 2);
    assert_eq!(site.fails(&["bundle", "build", "0", "--ise"]).0, 2);
    assert!(!site.data().exists(), "nothing is made before the command line is understood");
}

#[test]
fn every_mistake_in_a_configuration_is_told_at_once() {
    let site = Site::new("[schedule]\nevery = \"soon\"\n[data]\nretain_releases = 0\nnonsense = 1\n");
    for verb in ["check-config", "serve", "status"] {
        let (code, error) = site.fails(&[verb]);
        assert_eq!(code, 2, "{verb}");
        for mistake in ["server.toml:2: schedule.every", "server.toml:4: data.retain_releases", "nonsense"] {
            assert!(error.contains(mistake), "{verb}: {mistake} is not in {error}");
        }
        assert!(error.lines().all(|line| line.starts_with("feed-server: ")), "{error}");
    }
    assert!(!site.data().exists());
}

#[test]
fn check_config_opens_the_files_that_it_names() {
    let site = Site::new(NO_FETCHING);
    assert!(site.prints(&["check-config"]).contains("is good"));
    let site = Site::new("[listen]\naddress = \"127.0.0.1:0\"\ntls_certificate = \"no.pem\"\ntls_key = \"no.pem\"\n");
    let (code, error) = site.fails(&["check-config"]);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("no.pem"), "{error}");
    let chain = certs::lab::Chain::builder().loopback().build().unwrap();
    for (file, key) in
        [("cert.pem", "tls_key: there is no private key in it"), ("key.pem", "there is no certificate in it")]
    {
        let both = format!("tls_certificate = \"{file}\"\ntls_key = \"{file}\"\n");
        let site = Site::new(&format!("[listen]\naddress = \"127.0.0.1:0\"\n{both}"));
        std::fs::write(site.path().join("cert.pem"), chain.presented_pem()).unwrap();
        std::fs::write(site.path().join("key.pem"), chain.leaf_key_pem()).unwrap();
        let (code, error) = site.fails(&["check-config"]);
        assert!(code == 2 && error.contains(key), "{error}");
    }
}

#[test]
fn check_config_reads_the_proxys_password_and_says_nothing_of_it() {
    let keys = "url = \"http://proxy.example:3128\"\nusername = \"feed\"\npassword_file = \"password\"\n";
    let site = Site::new(&format!("{NO_FETCHING}[upstream.proxy]\n{keys}"));
    let (code, error) = site.fails(&["check-config"]);
    assert!(code == 2 && error.contains("password_file") && error.contains("cannot be opened"), "{error}");
    let file = site.path().join("password");
    std::fs::write(&file, "hunter2\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, error) = site.fails(&["check-config"]);
    assert!(code == 2 && error.contains("chmod 0400"), "{error}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).unwrap();
    let output = site.run(&["check-config", "-vv"]);
    assert!(output.status.success());
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("is good") && !said.contains("hunter2") && !said.contains("ZmVlZDpodW50ZXIy"), "{said}");
}

#[test]
fn check_config_names_the_variable_that_is_no_proxy_and_not_what_is_in_it() {
    let site = Site::new(NO_FETCHING);
    let mut command = site.bare(&["check-config", "-vv", "--config"]);
    let output =
        command.arg(site.config()).env("HTTPS_PROXY", "socks5://feed:hunter2@proxy.example:1080").output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("HTTPS_PROXY names a SOCKS proxy") && !error.contains("hunter2"), "{error}");
}

#[test]
fn errors_are_json_where_asked_for() {
    let site = Site::new(NO_FETCHING);
    let (code, error) = site.fails(&["sync", "--json"]);
    let last: Value = serde_json::from_str(error.lines().last().unwrap()).unwrap();
    assert_eq!((code, last["reason"].as_str()), (2, Some("bad_request")));
}

#[test]
fn a_failed_run_ends_with_the_code_of_its_reason_and_is_remembered() {
    let site = Site::new("");
    let (code, error) = site.fails(&["sync"]);
    assert_eq!(code, 10, "{error}");
    assert!(error.contains("(connect)"), "{error}");
    let status: Value = serde_json::from_str(&site.prints(&["status", "--json"])).unwrap();
    assert_eq!(status["last_failure"]["reason"], "connect");
    assert_eq!(status["update_information"]["last_status"]["status"], "failed");
    assert!(site.prints(&["status"]).contains("No Update since Installation"));
}

#[test]
fn verbs_do_the_same_with_and_without_a_server() {
    for with_server in [false, true] {
        let site = if with_server { Site::serving("") } else { Site::made("") };
        let token = site.prints(&["headend", "add", "branch-7"]);
        assert!(token.starts_with("pf_") && token.lines().count() == 1, "{token}");
        let (code, error) = site.fails(&["headend", "add", "branch-7"]);
        assert!(code == 2 && error.contains("already"), "{error}");
        let headends: Value = serde_json::from_str(&site.prints(&["headend", "list", "--json"])).unwrap();
        assert_eq!((&headends[0]["id"], &headends[0]["state"]), (&"branch-7".into(), &"silent".into()));
        site.prints(&["headend", "remove", "branch-7"]);
        let (code, error) = site.fails(&["headend", "remove", "branch-7"]);
        assert!(code == 13 && error.contains("no headend \"branch-7\"") && error.contains("headend list"), "{error}");
        let (code, error) = site.fails(&["token", "revoke", "nobody"]);
        assert!(code == 13 && error.contains("no token \"nobody\""), "{error}");
        assert_eq!(site.fails(&["headend", "remove", "../tokens"]).0, 13);

        site.prints(&["token", "add", "ops", "--scope", "operate"]);
        assert!(site.prints(&["token", "list"]).contains("ops    operate"));
        site.prints(&["token", "revoke", "ops"]);
        assert!(!site.prints(&["token", "list"]).contains("ops"));

        assert_eq!(site.prints(&["release", "list", "--json"]).trim(), "[]");
        assert_eq!(site.fails(&["release", "show", "1"]).0, 13);
        for newest in [&["release", "show"][..], &["bundle", "build"], &["bundle", "build", "--ise"]] {
            let (code, error) = site.fails(newest);
            assert!(code == 13 && error.contains("there is no release yet"), "{newest:?}: {error}");
        }
        let status = site.prints(&["status"]);
        let server = status.lines().find_map(|line| line.strip_prefix("Server ")).unwrap().trim();
        assert_eq!(server, if with_server { "running" } else { "not running" });
        assert!(!site.data().join("token").exists());
    }
}

#[test]
fn only_serve_and_sync_make_a_mirror() {
    let site = Site::new("");
    let everything = || {
        let mut files: Vec<_> = std::fs::read_dir(site.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    };
    let before = everything();
    let verbs: [&[&str]; 13] = [
        &["status"],
        &["release", "list"],
        &["release", "show", "1"],
        &["bundle", "build", "--out", "zips"],
        &["bundle", "build", "--ise", "--out", "zips"],
        &["headend", "add", "one"],
        &["headend", "add", "one", "--token-file", "token"],
        &["headend", "list"],
        &["headend", "remove", "one"],
        &["token", "add", "ops", "--scope", "admin"],
        &["token", "list"],
        &["keys", "list"],
        &["keys", "export-root", "--out", "root.json"],
    ];
    for verb in verbs {
        let output = site.bare(verb).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(13), "{verb:?}: {error}");
        assert!(error.contains("there is no mirror in ") && error.contains("feed-data"), "{verb:?}: {error}");
        assert!(output.stdout.is_empty());
        assert_eq!(everything(), before, "{verb:?}");
    }
    // A directory that is there and is no mirror's stays as it is, too.
    std::fs::create_dir(site.data()).unwrap();
    assert_eq!(site.fails(&["status"]).0, 13);
    assert_eq!(std::fs::read_dir(site.data()).unwrap().count(), 0);
    site.fails(&["sync"]);
    site.prints(&["status"]);
}

#[test]
fn verbs_wait_for_a_server_that_starts_for_the_first_time() {
    let mut site = Site::new(NO_FETCHING);
    std::fs::create_dir(site.data()).unwrap();
    std::fs::write(site.data().join("lock"), "").unwrap();
    let waiting = site.spawn(&["status"]);
    site.serve();
    let output = waiting.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_environment_says_where_the_mirror_is() {
    let site = Site::made("");
    let mut status = site.bare(&["status", "--json"]);
    status.env("POSTURE_FEED_SERVER_CONFIG", site.config()).env("POSTURE_FEED_SERVER_DATA", site.data());
    let output = status.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut elsewhere = site.bare(&["status", "--data", "elsewhere"]);
    let output = elsewhere.env("POSTURE_FEED_SERVER_DATA", site.data()).output().unwrap();
    assert_eq!(output.status.code(), Some(13), "the command line goes before the environment");
    let mut wrong = site.bare(&["check-config"]);
    let output = wrong.env("POSTURE_FEED_SERVER_CONFIG", site.path().join("no.toml")).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "the file that the environment names is read");
}

#[test]
fn a_token_file_is_its_owners_alone_and_nothing_is_overwritten() {
    let site = Site::made("");
    let file = site.path().join("token");
    let told = site.prints(&["headend", "add", "one", "--token-file", "token"]);
    assert!(!told.contains("pf_"), "{told}");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let token = std::fs::read_to_string(&file).unwrap();
    assert!(token.starts_with("pf_"));

    let (code, error) = site.fails(&["headend", "add", "two", "--token-file", "token"]);
    assert!(code == 2 && error.contains("token is there already") && error.contains("name another file"), "{error}");
    assert_eq!(site.fails(&["token", "add", "ops", "--scope", "read", "--token-file", "token"]).0, 2);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), token);
    assert!(!site.prints(&["headend", "list"]).contains("two"), "no headend whose token went nowhere");
    assert!(!site.prints(&["token", "list"]).contains("ops"));
    assert_eq!(site.fails(&["headend", "add", "two", "--token-file", "no/such/folder"]).0, 15);

    site.prints(&["token", "add", "ops", "--scope", "read", "--token-file", "ops-token"]);
    assert!(std::fs::read_to_string(site.path().join("ops-token")).unwrap().starts_with("pf_"));

    site.fails(&["headend", "add", "one", "--token-file", "other"]);
    assert!(!site.path().join("other").exists(), "no empty file where nothing was added");
}

#[test]
fn the_exported_root_is_the_one_that_is_listed() {
    let site = Site::made("");
    let keys: Value = serde_json::from_str(&site.prints(&["keys", "list", "--json"])).unwrap();
    for (repository, arguments) in
        [("online", vec!["keys", "export-root"]), ("offline", vec!["keys", "export-root", "--offline"])]
    {
        let root = site.prints(&arguments);
        let roots = keys["roots"].as_array().unwrap();
        let listed = roots.iter().find(|root| root["repository"] == repository).unwrap();
        assert_eq!(bundles::Digest::of(root.as_bytes()).to_string(), listed["fingerprint"].as_str().unwrap());
        site.prints(&[&arguments[..], &["--out", "root.json"]].concat());
        assert_eq!(std::fs::read_to_string(site.path().join("root.json")).unwrap(), root);
    }
}

#[test]
fn verbs_leave_nothing_behind_that_says_a_server_runs() {
    let site = Site::made("");
    site.prints(&["status"]);
    assert!(!site.data().join("control.sock").exists());
    assert!(!site.data().join("listening.json").exists());
}

#[test]
fn root_leaves_no_files_in_another_users_data() {
    let site = Site::made("");
    let everything = || {
        let mut files: Vec<_> = std::fs::read_dir(site.data()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    };
    let before = everything();
    // 65534 is `nobody` on every Linux.
    if std::os::unix::fs::chown(site.data(), Some(65_534), None).is_err() {
        println!("skipped: only root can give a directory away");
        return;
    }
    for verb in [&["status"][..], &["sync"], &["serve"]] {
        let (code, error) = site.fails(verb);
        assert!(code == 2 && error.contains("sudo -u 'nobody'"), "{verb:?}: {error}");
    }
    assert_eq!(everything(), before);
}

#[test]
fn log_lines_are_json_where_asked_for() {
    let site = Site::new("");
    let output = site.run(&["sync", "-v", "--log-format", "json"]);
    let text = String::from_utf8(output.stderr).unwrap();
    let line = |message: &str| -> Value {
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.into_iter().find(|line| line["message"] == message).unwrap_or_else(|| panic!("{message}: {text}"))
    };
    assert_eq!(line("Starting posture update")["run"], 1);
    let failed = line("Posture update failed");
    assert_eq!((&failed["run"], &failed["reason"]), (&1.into(), &"connect".into()));
    assert!(failed["error"].as_str().unwrap().contains("127.0.0.1:9"), "{failed}");
}
