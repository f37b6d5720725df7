//! An origin whose bundles are carried, with an upstream of its own.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bundles::TargetName;
use bundles::bundle::{self, Contents};
use bundles::release::FileRef;
use bundles::signed::{self, Metadata, peek};

use crate::running::Site;
use crate::support::archives::{chart, conditions};
use crate::support::server::{Reply, Server, chain};
use crate::support::world::{INDEX, SOUND};

pub(crate) struct Origin {
    upstream: Server,
    pub(crate) site: Site,
    version: u64,
}

impl Origin {
    /// With release 1.
    pub(crate) fn new() -> Self {
        let chain = chain();
        let upstream = Server::start(&chain);
        let root = chain.presented_pem().split_inclusive("-----END CERTIFICATE-----\n").last().unwrap().to_owned();
        let url = format!("https://127.0.0.1:{}{INDEX}", upstream.address.port());
        let proxy = "[upstream.proxy]\nurl = \"none\"\n";
        let site = Site::new(&format!("[upstream]\nurl = \"{url}\"\ntrust_anchors = [\"root.pem\"]\n{proxy}"));
        fs::write(site.path().join("root.pem"), root).unwrap();
        let mut origin = Self { upstream, site, version: 300_417 };
        origin.put("chart-linux.xml.gz", chart());
        origin.put("osgroups.xml", b"<os>one</os>".to_vec());
        origin.put("osgroupsV2.xml", b"<os>two</os>".to_vec());
        origin.next();
        origin
    }

    fn put(&self, name: &str, bytes: Vec<u8>) {
        self.upstream.put(&format!("/web/secure/spa/{name}"), Reply::file(bytes));
    }

    /// The next release.
    pub(crate) fn next(&mut self) {
        self.version += 1;
        let version = format!("{}.0.0.0", self.version);
        self.upstream.put(INDEX, Reply::file(SOUND.replace("300418.0.0.0", &version)));
        self.put("conditions.tar.gz", conditions(&version));
        self.site.prints(&["sync"]);
    }

    /// The version of the conditions in the newest release.
    pub(crate) fn version(&self) -> String {
        format!("{}.0.0.0", self.version)
    }

    /// The offline root's file.
    pub(crate) fn root(&self) -> PathBuf {
        let path = self.site.path().join("offline-root.json");
        self.site.prints(&["keys", "export-root", "--offline", "--out", path.to_str().unwrap()]);
        path
    }

    /// Writes the newest release's bundle into a directory.
    pub(crate) fn bundle(&self, serial: u64, directory: &Path) -> PathBuf {
        let path = directory.join(format!("posture-bundle-{serial}.zip"));
        fs::write(&path, self.bundle_bytes()).unwrap();
        path
    }

    pub(crate) fn bundle_bytes(&self) -> Vec<u8> {
        self.bundle_of("offline")
    }

    /// The bundle that anybody can make of what one of the repositories serves.
    pub(crate) fn bundle_of(&self, repository: &str) -> Vec<u8> {
        let repository = self.site.data().join("tree").join(repository);
        let metadata = |name: String| fs::read_to_string(repository.join("metadata").join(name)).unwrap();
        let timestamp = metadata("timestamp.json".to_owned());
        let snapshot = metadata(format!("{}.snapshot.json", peek::snapshot_version(&timestamp).unwrap()));
        let targets = metadata(format!("{}.targets.json", peek::targets_version(&snapshot).unwrap()));
        let roots = vec![metadata("1.root.json".to_owned())];
        let metadata = Metadata { roots, timestamp, snapshot, targets };
        let verified = signed::authenticate(metadata.roots[0].as_bytes(), &metadata, None).unwrap();
        let stable = verified.target(&TargetName::of_channel_stable()).unwrap();
        let manifest = fs::read(repository.join("targets").join(format!("{}.stable.json", stable.sha256()))).unwrap();
        let blobs = self.site.data().join("blobs");
        let open = |file: &FileRef| -> io::Result<Box<dyn Read>> {
            let name = file.sha256.to_string();
            Ok(Box::new(File::open(blobs.join(&name[..2]).join(name))?))
        };
        let contents = Contents::new(&manifest, &metadata, &open).unwrap();
        bundle::write(io::Cursor::new(Vec::new()), &contents, &mut |_| {}).unwrap().into_inner()
    }
}

/// A relay that trusts an origin, without a data directory yet.
pub(crate) fn relay(origin: &Origin, more: &str) -> Site {
    let site = Site::new(&format!("[upstream]\nkind = \"mirror\"\nroot = \"origin-root.json\"\n{more}"));
    fs::copy(origin.root(), site.path().join("origin-root.json")).unwrap();
    site
}
