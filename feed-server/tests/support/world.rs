//! An upstream with a sound feed, and a store that it goes into.

use std::sync::Arc;

use bundles::release::FORMAT;
use bundles::{Limits, Manifest, Serial};
use certs::lab::Chain;
use feed_server::config;
use feed_server::store::Store;
use feed_server::store::records::ReleaseRecord;
use feed_server::sync::{CheckedFeed, Known, Looked, NoProgress, SyncError, look};
use feed_server::upstream::proxy::Environment;
use feed_server::upstream::{Setup, Timeouts, UpstreamError, Vendor};
use tempfile::TempDir;

use super::archives::{chart, conditions};
use super::server::{Reply, Request, Server, chain};

pub(crate) const INDEX: &str = "/web/secure/spa/posture-update.xml";

/// A server with a sound feed, a store, and how both are configured.
pub(crate) struct World {
    pub(crate) server: Server,
    _directory: TempDir,
    pub(crate) store: Store,
    pub(crate) config: config::Upstream,
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
}

pub(crate) const SOUND: &str = r#"<feed>
  <component name="conditions" version="300418.0.0.0" url="conditions.tar.gz"/>
  <component name="chart-linux" url="chart-linux.xml.gz"/>
  <component name="os"><file>osgroups.xml</file></component>
  <component name="os"><file>osgroupsV2.xml</file></component>
</feed>"#;

impl World {
    pub(crate) fn new() -> Self {
        Self::with(&chain())
    }

    pub(crate) fn with(presented: &Chain) -> Self {
        Self::trusting(presented, presented)
    }

    pub(crate) fn trusting(presented: &Chain, trusted: &Chain) -> Self {
        let server = Server::start(presented);
        let directory = tempfile::tempdir().unwrap();
        let root = trusted.presented_pem().split_inclusive("-----END CERTIFICATE-----\n").last().unwrap().to_owned();
        std::fs::write(directory.path().join("root.pem"), root).unwrap();
        let config = config::Upstream {
            url: format!("https://127.0.0.1:{}{INDEX}", server.address.port()).parse().unwrap(),
            trust_anchors: vec!["root.pem".to_owned()],
            base_dir: directory.path().to_owned(),
            ..config::Upstream::default()
        };
        let store = Store::open(&directory.path().join("data")).unwrap();
        let world = Self {
            server,
            _directory: directory,
            store,
            config,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
        };
        world.publish(SOUND);
        world.put("conditions.tar.gz", &conditions("1"));
        world.put("chart-linux.xml.gz", &chart());
        world.put("osgroups.xml", b"<os>one</os>");
        world.put("osgroupsV2.xml", b"<os>two</os>");
        world
    }

    pub(crate) fn publish(&self, index: &str) {
        self.server.put(INDEX, Reply::file(index));
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        self.reply(name, Reply::file(bytes));
    }

    pub(crate) fn reply(&self, name: &str, reply: Reply) {
        self.server.put(&format!("/web/secure/spa/{name}"), reply);
    }

    pub(crate) fn known(&self) -> Known {
        let blobs = Arc::clone(&self.store.blobs);
        Known {
            validators: self.store.validators().unwrap(),
            blobs: Arc::new(move |digest| blobs.contains(digest).unwrap()),
            newest: self.store.newest_release().unwrap().map(|release| release.manifest),
        }
    }

    /// A client as configured, in an environment in which nothing is set.
    pub(crate) fn vendor(&self) -> Result<Vendor, UpstreamError> {
        let setup = Setup { timeouts: self.timeouts, environment: Environment::empty(), ..Setup::default() };
        Vendor::open(&self.config, "posture-feed/test", setup)
    }

    pub(crate) async fn look(&self) -> Result<Looked, SyncError> {
        let vendor = self.vendor()?;
        look(&vendor, self.known(), &self.store.staging, &self.limits, &NoProgress).await
    }

    pub(crate) async fn feed(&self) -> CheckedFeed {
        match self.look().await.unwrap() {
            Looked::Feed(feed) => *feed,
            Looked::Unchanged { .. } => panic!("nothing was new"),
        }
    }

    /// Does with a feed what a job would.
    pub(crate) fn keep(&self, feed: CheckedFeed) {
        let serial = self.store.highest_serial().unwrap().map_or(Serial::FIRST, |serial| serial.next().unwrap());
        let manifest = Manifest {
            format: FORMAT,
            serial,
            created: jiff::Timestamp::UNIX_EPOCH,
            source: feed.source,
            components: feed.components,
            index: feed.index,
            offline_zip: feed.offline_zip,
        };
        for file in feed.new_files {
            self.store.blobs.adopt(file).unwrap();
        }
        for file in manifest.files() {
            assert!(self.store.blobs.contains(&file.sha256).unwrap(), "{} was named and not brought", file.name);
        }
        let batch = self
            .store
            .release_batch(&ReleaseRecord { manifest, signed: None, taken: None, content_of: None }, &feed.validators)
            .unwrap();
        self.store.commit(batch).unwrap();
        self.server.requests();
    }

    pub(crate) fn staged(&self) -> usize {
        std::fs::read_dir(self.store.directory().join("staging")).unwrap().count()
    }

    /// What was asked: the last part of each path, and `?` where it was asked with a condition.
    pub(crate) fn asked(&self) -> Vec<String> {
        let shown = |request: Request| {
            let condition = if request.header("if-none-match").is_some() { "?" } else { "" };
            format!("{}{condition}", request.path.rsplit('/').next().unwrap())
        };
        let mut asked: Vec<String> = self.server.requests().into_iter().map(shown).collect();
        // Two may be under way at once.
        asked.sort();
        asked
    }

    pub(crate) async fn keep_asked(&self, expected: &[&str]) {
        let feed = self.feed().await;
        assert_eq!(self.asked(), expected);
        self.keep(feed);
    }
}
