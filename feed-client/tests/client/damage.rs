//! Files of the data directory that are torn, changed or gone: it is noticed, the next honest server heals it, and nobody gets
//! anything older past it than what is left proves.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bundles::{Reason, Reasoned as _};
use feed_client::repository::{Repository, Store};
use feed_client::settings::{Local, Settings};
use proptest::prelude::*;

use crate::crash::copy_tree;
use crate::import::{enclave_before, put};
use crate::origin::now;
use crate::world::{World, files_below, release, text};

/// What happens to a file.
#[derive(Debug, Clone)]
enum Harm {
    None,
    Gone,
    /// Cut off at this part of it, in thousandths.
    Cut(usize),
    /// One bit at this part of it is another.
    Flip(usize, u8),
    /// As long as it was, and nothing in it: what a cut of power leaves on many file systems.
    Zeros,
}

impl Harm {
    /// Does it; whether the file is another one now.
    fn to(&self, path: &Path) -> bool {
        let before = fs::read(path).unwrap();
        let mut bytes = before.clone();
        let at = |part: usize| (before.len() - 1) * part / 1_000;
        match self {
            Self::None => return false,
            Self::Gone => {
                fs::remove_file(path).unwrap();
                return true;
            }
            Self::Cut(part) => bytes.truncate(at(*part)),
            Self::Flip(part, bit) => bytes[at(*part)] ^= 1 << bit,
            Self::Zeros => bytes.fill(0),
        }
        fs::write(path, &bytes).unwrap();
        bytes != before
    }

    fn any() -> impl Strategy<Value = Self> {
        prop_oneof![
            3 => Just(Self::None),
            1 => Just(Self::Gone),
            2 => (0..1_000_usize).prop_map(Self::Cut),
            2 => (0..1_000_usize, 0..8_u8).prop_map(|(part, bit)| Self::Flip(part, bit)),
            1 => Just(Self::Zeros),
        ]
    }
}

type Files = BTreeMap<String, Vec<u8>>;

/// A headend that has seen four roots, the third with other keys, and what its server answered with at the time of each.
struct Past {
    world: World,
    settings: Settings,
    runtime: tokio::runtime::Runtime,
    then: Vec<Files>,
    /// What comes next.
    next: Files,
}

/// What is held, in the order of [`Past::harm`].
const HELD: [&str; 8] = [
    "root.json",
    "root_history/1.root.json",
    "root_history/2.root.json",
    "root_history/3.root.json",
    "root_history/4.root.json",
    "timestamp.json",
    "snapshot.json",
    "targets.json",
];

impl Past {
    fn new() -> Self {
        let world = World::enrolled();
        let settings = Local::load(None, &world.path("data")).unwrap().settings().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut past = Self { world, settings, runtime, then: Vec::new(), next: Files::new() };
        for serial in 1..=4 {
            match serial {
                1 => {}
                3 => past.world.origin.rotate(),
                _ => past.world.origin.renew_root(),
            }
            past.world.publish(&release(serial));
            past.refresh(0).unwrap();
            past.then.push(past.world.server.files());
        }
        copy_tree(&past.directory(), &past.world.path("template"));
        past.world.publish(&release(5));
        past.next = past.world.server.files();
        let held: Vec<_> = files_below(&past.directory()).into_keys().collect();
        assert_eq!(held.len(), HELD.len(), "{held:?}");
        past
    }

    fn directory(&self) -> PathBuf {
        self.settings.paths.metadata(self.settings.side)
    }

    fn store(&self) -> Store {
        Store::open(&self.directory())
    }

    /// In this process, as an update does it; `root_seen` is what the state remembers.
    fn refresh(&self, root_seen: u64) -> Result<(), Reason> {
        let remote = self.settings.remote().unwrap();
        let (http, location, root) = (&remote.http, &remote.location, &self.settings.pinned_root);
        let store = self.store().having_seen_root(root_seen);
        let refreshed = self.runtime.block_on(Repository::refresh(http, location, root, &store, now()));
        refreshed.map(drop).map_err(|error| error.reason())
    }

    fn damage(&self) -> Vec<String> {
        self.store().damage(&self.settings.pinned_root, true).unwrap()
    }

    /// What is held, harmed so: which files are as they were.
    fn harm(&self, harms: &[Harm]) -> Vec<&'static str> {
        copy_tree(&self.world.path("template"), &self.directory());
        let harmed = HELD.into_iter().zip(harms).filter(|(name, harm)| !harm.to(&self.directory().join(name)));
        harmed.map(|(name, _)| name).collect()
    }

    /// Every older answer: as of each earlier root, and the timestamp before under all roots.
    fn replays(&self) -> Vec<(u64, Files)> {
        let mut replays: Vec<(u64, Files)> = (1..).zip(self.then[..3].iter().cloned()).collect();
        let mut before = self.then[3].clone();
        let timestamp = "/repo/metadata/timestamp.json".to_owned();
        before.insert(timestamp.clone(), self.then[2][&timestamp].clone());
        replays.push((4, before));
        replays
    }
}

#[test]
fn whatever_is_torn_an_honest_server_heals_and_nothing_older_is_taken_than_the_rest_proves() {
    let past = Past::new();
    let config =
        ProptestConfig { cases: 16, max_shrink_iters: 20, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(harms in prop::collection::vec(Harm::any(), HELD.len()), remembers in any::<bool>())| {
        let root_seen = if remembers { 4 } else { 0 };
        for (root, files) in past.replays() {
            let left = past.harm(&harms);
            let there = |names: &[&str]| names.iter().any(|name| left.contains(name));
            // The roots say which keys count, and the rest is proved by those of the third and the fourth.
            let proved = there(&["timestamp.json", "snapshot.json", "targets.json"]) && root >= 3
                || there(&["root.json", HELD[3], HELD[4]]) && root < 3
                || remembers && root < 4 && !there(&["root.json", HELD[4]]);
            past.world.server.set_files(files);
            let refused = past.refresh(root_seen);
            let by_keys = refused == Err(Reason::Signature) && root < 3;
            prop_assert!(!proved || by_keys || refused == Err(Reason::Rollback), "as of root {}: {:?}", root, refused);
        }

        let left = past.harm(&harms);
        let noticed = past.damage();
        // Where nothing is left of the roots that they were signed under, whole files are of no use either.
        let roots_are_left = ["root.json", HELD[3], HELD[4]].iter().any(|name| left.contains(name));
        for name in HELD.iter().filter(|name| roots_are_left || name.contains("root")) {
            let is_noticed = noticed.iter().any(|damaged| damaged == name);
            prop_assert!(!is_noticed || !left.contains(name), "{} is called damaged: {:?}", name, noticed);
        }
        past.world.server.set_files(past.next.clone());
        prop_assert_eq!(past.refresh(root_seen), Ok(()));
        prop_assert_eq!(past.damage(), Vec::<String>::new());
        for (root, files) in past.replays() {
            past.world.server.set_files(files);
            let by = if root < 3 { Reason::Signature } else { Reason::Rollback };
            prop_assert_eq!(past.refresh(0), Err(by), "as of root {}", root);
        }
    });
}

#[test]
fn each_file_that_is_torn_is_noticed_wherever() {
    let past = Past::new();
    for (number, name) in HELD.iter().enumerate() {
        for harm in [Harm::Gone, Harm::Cut(0), Harm::Cut(500), Harm::Cut(999), Harm::Zeros, Harm::Flip(400, 0)] {
            let mut harms = vec![Harm::None; HELD.len()];
            harms[number] = harm.clone();
            past.harm(&harms);
            // What the pinned root says is in the pinned root.
            let expected: &[&str] = if number == 1 { &[] } else { &[name] };
            assert_eq!(past.damage(), expected, "{harm:?}");
        }
    }
}

/// With the program: what an operator sees of it.
#[test]
fn damage_is_said_in_the_log_and_in_status_and_ends_no_poll_early() {
    let mut world = World::enrolled();
    world.origin.renew_root();
    world.origin.set_target("offline-root.json", crate::origin::Origin::new("offline").root_file().to_vec());
    world.publish(&release(2));
    world.ok(&["update"]);
    for name in ["root.json", "root_history/2.root.json", "timestamp.json", "snapshot.json", "targets.json"] {
        assert_eq!(world.ok(&["update"])["result"], "unchanged");
        fs::write(world.data("tuf/repo").join(name), b"torn").unwrap();
        let shown = format!("tuf/repo/{name}");
        assert_eq!(world.ok(&["status"])["damaged"][0], shown.as_str());
        let output = world.run(&["update"]);
        assert!(output.status.success());
        assert!(crate::world::stderr(&output).contains(&shown), "{}", crate::world::stderr(&output));
        let status = world.ok(&["status"]);
        assert_eq!(status["damaged"], serde_json::json!([]), "{name}");
        assert_eq!(status["last_damage"]["files"][0], shown.as_str());
    }
    fs::write(world.data("offline-root.json"), b"torn").unwrap();
    world.ok(&["update"]);
    assert_eq!(world.ok(&["status"])["last_damage"]["files"][0], "offline-root.json");
    assert_eq!(fs::read(world.data("offline-root.json")).unwrap(), world.origin.target("offline-root.json"));
}

#[test]
fn a_bundle_is_held_to_what_is_left_too() {
    let (world, mut offline) = enclave_before();
    let mut bundles = Vec::new();
    // The same release each time, so that its number tells nothing.
    let one = release(1);
    for number in 1..=4 {
        match number {
            1 => {}
            3 => offline.rotate(),
            _ => offline.renew_root(),
        }
        bundles.push(put(&world, &format!("{number}.zip"), &offline.bundle(&one)));
        world.ok(&["import", text(&bundles[number - 1])]);
    }
    let newer = put(&world, "newer.zip", &offline.bundle(&one));
    let template = world.path("template");
    copy_tree(&world.path("data"), &template);
    let held = world.data("tuf/offline");
    let begin = || copy_tree(&template, &world.path("data"));
    for (number, name) in HELD.iter().enumerate() {
        for harm in [Harm::Cut(300), Harm::Gone] {
            begin();
            assert!(harm.to(&held.join(name)));
            for older in &bundles[..3] {
                let (_, reason) = world.refuses(&["import", text(older)]);
                assert!(["rollback", "signature"].contains(&&*reason), "{name} {harm:?}: {reason}");
            }
            let noticed = world.ok(&["status"])["damaged"].as_array().unwrap().len();
            assert_eq!(noticed, usize::from(number != 1), "{name}");
            world.ok(&["import", text(&newer)]);
            assert_eq!(world.ok(&["status"])["damaged"], serde_json::json!([]), "{name} {harm:?}");
        }
        // It alone is left, and the state.
        begin();
        for other in HELD.iter().filter(|other| *other != name) {
            Harm::Cut(300).to(&held.join(other));
        }
        world.refuses(&["import", text(&bundles[1])]);
        world.ok(&["import", text(&newer)]);
    }
}

#[test]
fn a_state_that_is_torn_or_gone_is_put_together_from_what_is_here() {
    let mut world = World::enrolled();
    for serial in [1, 2] {
        world.publish(&release(serial));
        world.ok(&["update"]);
    }
    let old = world.server.files();
    world.publish(&release(3));
    world.ok(&["update"]);
    let new = world.server.files();
    let template = world.path("template");
    copy_tree(&world.path("data"), &template);
    for (harm, why) in [
        (Harm::Cut(0), "damaged"),
        (Harm::Cut(700), "damaged"),
        (Harm::Zeros, "damaged"),
        (Harm::Flip(500, 1), "damaged"),
        (Harm::Gone, "missing"),
    ] {
        copy_tree(&template, &world.path("data"));
        harm.to(&world.data("state.json"));
        // The floor is in the releases, and in the signed metadata when those are gone too.
        let status = world.ok(&["status"]);
        assert_eq!((&status["highest_serial_seen"], &status["state_rebuilt"]["why"]), (&3.into(), &why.into()));
        fs::remove_dir_all(world.data("releases")).unwrap();
        fs::remove_file(world.data("current")).unwrap();
        assert_eq!(world.ok(&["status"])["highest_serial_seen"], 3, "{harm:?}");
        copy_tree(&template.join("releases"), &world.data("releases"));
        copy_tree(&template.join("current"), &world.data("current"));

        world.server.set_files(old.clone());
        assert_eq!(world.refuses(&["update"]), (12, "rollback".to_owned()));
        world.server.set_files(new.clone());
        world.ok(&["update"]);
        let status = world.ok(&["status"]);
        assert_eq!((&status["highest_serial_seen"], &status["serial"]), (&3.into(), &3.into()));
        assert!(status["state_rebuilt"]["at"].is_string(), "{status}");
        assert_eq!(world.data("state.json.damaged").exists(), why == "damaged");
        let said = String::from_utf8(world.run(&["status"]).stdout).unwrap();
        assert!(said.contains("State file        ") && said.contains(why), "{said}");
    }
}

#[test]
fn a_hold_whose_reason_is_lost_is_still_a_hold_and_the_hook_is_asked_again() {
    let mut world = World::enrolled();
    world.hook("echo $POSTURE_FEED_SERIAL >> hooked", "");
    for serial in [1, 2] {
        world.publish(&release(serial));
        world.ok(&["update"]);
    }
    world.ok(&["rollback"]);
    fs::write(world.data("state.json"), b"").unwrap();
    let status = world.ok(&["status"]);
    assert_eq!((&status["held"]["why"], &status["held"]["serial"]), (&"state_lost".into(), &2.into()));
    assert_eq!(world.current(), Some(1));
    assert_eq!(world.ok(&["update"])["serial"], 2, "asked for by a person");
    assert_eq!(world.ok(&["status"])["held"], serde_json::Value::Null);

    fs::write(world.path("hooked"), b"").unwrap();
    fs::write(world.data("state.json"), b"{").unwrap();
    world.ok(&["update"]);
    assert_eq!(fs::read_to_string(world.path("hooked")).unwrap(), "2\n", "no release runs without the hook's word");
}

#[test]
fn enrolling_with_another_origin_begins_anew_and_with_the_same_one_does_not() {
    let mut world = World::enrolled();
    world.origin.renew_root();
    world.publish(&release(2));
    world.ok(&["update"]);
    let root = world.path("newer-root.json");
    fs::write(&root, world.origin.root_file()).unwrap();
    world.ok(&["enroll", "--server", &world.server.url, "--root", text(&root), "--id", "vpn-1"]);
    assert!(world.data("tuf/repo/timestamp.json").exists(), "the same origin's floor stays");
    world.ok(&["update"]);

    // Its versions and release numbers count from 1.
    let mut other = crate::origin::Origin::new("repo");
    other.add(&release(1));
    world.server.set_files(Files::new());
    other.publish(&world.server);
    let root = world.path("other-root.json");
    fs::write(&root, other.root_file()).unwrap();
    let enroll = ["enroll", "--server", &world.server.url, "--root", text(&root), "--id", "vpn-1"];
    world.ok(&enroll);
    assert_eq!(world.refuses(&["update"]), (12, "rollback".to_owned()), "the floor of release numbers is one for all");
    world.ok(&[&enroll[..], &["--forget-release-numbers"]].concat());
    assert_eq!(world.ok(&["update"])["serial"], 1);
    assert_eq!(world.ok(&["status"])["damaged"], serde_json::json!([]));
}
