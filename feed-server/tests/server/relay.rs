//! A relay's verbs and routes before anything was brought to it, and that a data directory keeps its role.

use serde_json::Value;

use crate::running::{NO_FETCHING, Site, plain};

const RELAY: &str = "[upstream]\nkind = \"mirror\"\nroot = \"root.json\"\n";

/// The root file of an origin of one's own.
fn root() -> String {
    Site::made("").prints(&["keys", "export-root", "--offline"])
}

fn relay() -> Site {
    let site = Site::new(RELAY);
    std::fs::write(site.path().join("root.json"), root()).unwrap();
    site
}

#[tokio::test]
async fn a_relay_has_no_keys_and_says_what_it_waits_for() {
    let mut site = relay();
    for is_running in [false, true] {
        if is_running {
            site.serve();
        }
        let (code, error) = site.fails(&["sync"]);
        assert!(code == 2 && error.contains("bundle import") && error.contains("[upstream] url"), "{error}");
        let keys = site.run(&["keys", "list"]);
        let (listed, said) = (String::from_utf8(keys.stdout).unwrap(), String::from_utf8(keys.stderr).unwrap());
        assert!(said.contains("has no signing keys") && listed.lines().count() == 2, "{listed}{said}");
        let trusted = std::fs::read(site.path().join("root.json")).unwrap();
        assert!(listed.contains(&bundles::Digest::of(&trusted).to_string()), "{listed}");
        for offline in [&["keys", "export-root"][..], &["keys", "export-root", "--offline"]] {
            let (code, error) = site.fails(offline);
            assert!(code == 13 && error.contains("received no release yet"), "{error}");
        }
        let status: Value = serde_json::from_str(&site.prints(&["status", "--json"])).unwrap();
        assert_eq!((&status["role"], &status["next_run"]), (&"relay".into(), &Value::Null));
        assert!(site.prints(&["status"]).contains("a relay"));
        assert!(!site.data().join("keys").exists());
    }
    let missing = plain().get(site.url("/repo/metadata/timestamp.json")).send().await.unwrap();
    assert_eq!(missing.status(), 404);
    assert!(missing.text().await.unwrap().contains("received no release yet"));
    let layout = plain().get(site.url("/web/secure/spa/posture-update.xml")).send().await.unwrap();
    assert_eq!(layout.status(), 503);
    let metrics = plain().get(site.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("role=\"relay\"") && metrics.contains("kind=\"metadata_expiring\"} 0"), "{metrics}");
}

#[test]
fn a_data_directory_is_of_one_role_for_ever() {
    let become_other = |site: &Site, configuration: &str| {
        std::fs::write(site.config(), format!("{configuration}[listen]\naddress = \"127.0.0.1:0\"\n")).unwrap();
    };
    let made = relay();
    made.fails(&["sync"]);
    become_other(&made, NO_FETCHING);
    for verb in [&["status"][..], &["sync"], &["serve"], &["keys", "list"]] {
        let (code, error) = made.fails(verb);
        assert!(code == 2 && error.contains("is a relay's") && error.contains("never gets keys"), "{error}");
        assert!(!made.data().join("keys").exists());
    }
    become_other(&made, RELAY);
    made.prints(&["status"]);

    let origin = Site::made("");
    std::fs::write(origin.path().join("root.json"), root()).unwrap();
    let keys = origin.prints(&["keys", "list"]);
    become_other(&origin, RELAY);
    for verb in [&["status"][..], &["sync"], &["serve"], &["keys", "list"]] {
        let (code, error) = origin.fails(verb);
        assert!(code == 2 && error.contains("is an origin's") && error.contains("cannot become a relay"), "{error}");
    }
    become_other(&origin, NO_FETCHING);
    assert_eq!(origin.prints(&["keys", "list"]), keys);
}

#[test]
fn a_root_file_that_is_none_is_told_and_keeps_nothing_from_being_served() {
    let mut site = Site::new(RELAY);
    let (code, error) = site.fails(&["check-config"]);
    assert!(code == 2 && error.contains("root.json cannot be read"), "{error}");
    std::fs::write(site.path().join("root.json"), "{}").unwrap();
    let (code, error) = site.fails(&["check-config"]);
    assert!(code == 2 && error.contains("is no root file") && error.contains("export-root"), "{error}");
    let doctor = site.run(&["doctor", "--json"]);
    assert_eq!(doctor.status.code(), Some(2));
    let report: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    assert_eq!((&report["settings"]["role"], &report["settings"]["sources"]), (&"relay".into(), &Value::Array(vec![])));
    site.serve();
    assert_eq!(site.stop(), Some(0));
    std::fs::write(site.path().join("root.json"), root()).unwrap();
    assert!(site.prints(&["check-config"]).contains("is good"));
    assert!(site.prints(&["doctor"]).contains("fed by hand"));
}
