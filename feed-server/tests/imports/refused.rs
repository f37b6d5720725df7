//! What is wrong is refused with its reason, and leaves nothing.

use crate::origin::{Origin, relay};
use crate::running::{NO_FETCHING, Site};
use crate::support::server::{Reply, Server, chain};
use crate::{nothing_is_staged, status, text};

/// Trusts a file beside its configuration.
const NO_FETCHING_RELAY: &str = "[upstream]\nkind = \"mirror\"\nroot = \"origin-root.json\"\n";

fn refused(relay: &Site, bytes: &[u8], code: i32, reason: &str) -> String {
    let media = tempfile::tempdir().unwrap();
    let path = media.path().join("posture-bundle-1.zip");
    std::fs::write(&path, bytes).unwrap();
    let (found, error) = relay.fails(&["bundle", "import", text(&path)]);
    assert!(found == code && error.contains(&format!("({reason})")), "{code} {reason}: {found} {error}");
    nothing_is_staged(relay);
    let status = status(relay);
    assert_eq!(status["last_import"]["reason"], reason);
    assert!(status["release"].is_null(), "{status}");
    assert_eq!(std::fs::read_dir(relay.data().join("blobs")).unwrap().count(), 0, "nothing of it is kept");
    error
}

#[test]
fn damaged_and_forged_bundles_are_refused_and_leave_nothing() {
    let origin = Origin::new();
    let relay = relay(&origin, "");
    let bundle = origin.bundle_bytes();
    refused(&relay, &bundle[..bundle.len() - 100], 14, "truncated");
    refused(&relay, &bundle[..bundle.len() / 2], 14, "truncated");
    refused(&relay, &[bundle.as_slice(), b"more"].concat(), 14, "bad_archive");
    refused(&relay, b"\x1f\x8b\x08\0 a tar.gz", 14, "bad_archive");

    let forged = Origin::new().bundle_bytes();
    let error = refused(&relay, &forged, 12, "signature");
    assert!(error.contains("not signed by the origin that is trusted here"), "{error}");

    // A bit of an archive's content: the zip's own checksum tells.
    let needle = crate::support::archives::chart();
    let at = bundle.windows(needle.len()).position(|window| window == needle).expect("archives are stored as they are");
    let mut flipped = bundle.clone();
    flipped[at + needle.len() / 2] ^= 1;
    refused(&relay, &flipped, 14, "bad_archive");

    // And the whole one is taken after all that.
    let media = tempfile::tempdir().unwrap();
    let path = origin.bundle(1, media.path());
    relay.prints(&["bundle", "import", text(&path)]);
}

#[test]
fn each_role_refuses_what_is_for_the_other() {
    let origin = Origin::new();
    let relay = relay(&origin, "");
    let media = tempfile::tempdir().unwrap();
    let bundle = origin.bundle(1, media.path());
    let (code, error) = origin.site.fails(&["bundle", "import", text(&bundle)]);
    assert!(code == 2 && error.contains("import the bundle on a relay"), "{error}");
    relay.prints(&["bundle", "import", text(&bundle)]);
    let (code, error) = relay.fails(&["bundle", "import", "--vendor", text(&bundle)]);
    assert!(code == 2 && error.contains("on the origin"), "{error}");
    assert_eq!(status(&origin.site)["release"]["serial"], 1);
    // A forgotten --config makes no origin of what was to be a relay.
    let fresh = Site::new(NO_FETCHING);
    let (code, error) = fresh.fails(&["bundle", "import", text(&bundle)]);
    assert!(code == 13 && error.contains("there is no mirror in"), "{error}");
    assert!(!fresh.data().exists());
    nothing_is_staged(&origin.site);
}

#[test]
fn the_online_repository_in_a_bundle_is_not_the_offline_one() {
    let origin = Origin::new();
    let relay = relay(&origin, "");
    // As where it follows its origin over the network as well.
    let root = relay.path().join("origin-root.json");
    std::fs::remove_file(&root).unwrap();
    origin.site.prints(&["keys", "export-root", "--out", text(&root)]);
    let error = refused(&relay, &origin.bundle_of("repo"), 12, "signature");
    assert!(error.contains("online repository"), "{error}");
}

#[test]
fn the_offline_repository_in_the_online_ones_place_is_not_followed() {
    let origin = Origin::new();
    let chain = chain();
    let server = Server::start(&chain);
    let serve = |repository: &str, at: &str| {
        for folder in ["metadata", "targets"] {
            let from = origin.site.data().join("tree").join(repository).join(folder);
            for file in std::fs::read_dir(from).unwrap() {
                let (path, name) = (file.as_ref().unwrap().path(), file.unwrap().file_name());
                let url = format!("/{at}/{folder}/{}", name.to_str().unwrap());
                server.put(&url, Reply::file(std::fs::read(path).unwrap()));
            }
        }
    };
    let url = format!("https://127.0.0.1:{}/", server.address.port());
    let more = format!("url = \"{url}\"\ntrust_anchors = [\"root.pem\"]\n[upstream.proxy]\nurl = \"none\"\n");
    let relay = relay(&origin, &more);
    let root = chain.presented_pem().split_inclusive("-----END CERTIFICATE-----\n").last().unwrap().to_owned();
    std::fs::write(relay.path().join("root.pem"), root).unwrap();
    serve("offline", "repo");
    let (code, error) = relay.fails(&["sync"]);
    assert!(code == 12 && error.contains("(signature)"), "{code} {error}");
    assert!(status(&relay)["release"].is_null());
    // It would else be looked for in the wrong place from then on.
    serve("repo", "repo");
    serve("offline", "offline");
    relay.prints(&["sync"]);
    assert_eq!(status(&relay)["release"]["serial"], 1);
}

#[test]
fn a_first_root_that_somebody_made_up_keeps_nothing_genuine_out() {
    let now = feed_server::clock::now().round(jiff::Unit::Second).unwrap();
    let mut origin = bundles::fake::Origin::new(1, now);
    origin.rotate();
    let relay = Site::new(NO_FETCHING_RELAY);
    std::fs::write(relay.path().join("origin-root.json"), &origin.roots()[1]).unwrap();
    let edition = bundles::fake::Edition::before();
    let feed = bundles::fake::Feed::make(&edition, &bundles::fake::Options::small());
    let release = bundles::fake::Release::of(&feed, bundles::Serial::new(1).unwrap(), now);
    let end = now + jiff::SignedDuration::from_hours(24);
    let genuine = origin.metadata(1, end, &release.targets());
    let mut forged = genuine.clone();
    forged.roots[0] = origin.made_up_first_root();
    let media = tempfile::tempdir().unwrap();
    let path = media.path().join("bundle.zip");
    let import = |metadata| {
        std::fs::write(&path, bundles::fake::bundle_of(&release, metadata)).unwrap();
        relay.prints(&["bundle", "import", text(&path)])
    };
    // What was before the trusted root, nobody can vouch for.
    import(&forged);
    let inspected = relay.prints(&["bundle", "inspect", text(&path)]);
    let trusted = bundles::Digest::of(origin.roots()[1].as_bytes());
    assert!(inspected.contains(&format!("Trusted      root with SHA-256 {trusted}")), "{inspected}");
    import(&genuine);
    let served = relay.data().join("tree/offline/metadata/1.root.json");
    assert_eq!(std::fs::read_to_string(served).unwrap(), origin.roots()[0]);
}

#[test]
fn an_ise_zip_is_not_taken_for_a_bundle() {
    let origin = Origin::new();
    let relay = relay(&origin, "");
    let out = tempfile::tempdir().unwrap();
    origin.site.prints(&["bundle", "build", "--ise", "--out", text(out.path())]);
    let zip = out.path().join("posture-offline-1.zip");
    let (code, error) = relay.fails(&["bundle", "import", text(&zip)]);
    assert!(code == 2 && error.contains("is no bundle") && error.contains("posture-update.xml"), "{error}");
}
