//! The doctor: takes every step of an update run, tells what it sees at each, and changes nothing. No store is opened, no
//! directory made; archives go to a temporary directory that is deleted at the end.

mod disk;
mod feed;
mod following;
mod report;
pub mod request;
mod server;
mod settings;
mod time;

use std::path::Path;
use std::sync::Arc;

use bundles::diagnosis::Verdict;
use bundles::report::Failure;
use jiff::Timestamp;

use crate::config::{Config, UpstreamKind};
use crate::sync::Progress;
use crate::upstream::doctor::{Check, Line, Mark, Network, Notes};
use crate::upstream::{Environment, Setup, Vendor, trusted_root};

pub use disk::{Disk, DiskFacts, Need};
pub use feed::{ArchivesFacts, Fallback, IndexFacts};
pub use following::{MetadataFacts, ReleaseFacts};
pub use report::Report;
pub use server::{Pause, Server, ServerFacts};
pub(super) use settings::AnchorFacts;
pub use settings::Settings;
pub use time::ClockFacts;

use super::update::USER_AGENT;

/// What is to be examined.
pub struct Examination<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// Where it was read from.
    pub file: Option<&'a Path>,
    /// Where a proxy may be named.
    pub environment: Environment,
    /// The server on the data directory.
    pub server: Server,
    /// What came of opening the files of `[listen]`, where there are any.
    pub tls: Option<Result<(), Failure>>,
    /// Who wants to see how far the archives are.
    pub progress: &'a dyn Progress,
    /// What time it is.
    pub now: Timestamp,
}

impl Examination<'_> {
    /// Examines; `notes` hears each line as it is made.
    pub async fn run(self, notes: Arc<Notes>) -> Report {
        let mut report = Report::new(self.now, Settings::of(self.config, self.file));
        let network = Arc::new(Network::new(Arc::clone(&notes), Check::of_network(self.config.upstream.role())));
        let vendor = self.vendor(&network, &notes, &mut report);
        notes.note(self.server.line());
        let looked = match (vendor, self.config.upstream.kind) {
            (_, UpstreamKind::None) => {
                network.none_tried(Mark::None, "nothing is fetched here ([upstream] kind = \"none\")");
                feed::Looked::default()
            }
            (_, UpstreamKind::Mirror) if !self.config.upstream.fetches() => {
                network
                    .none_tried(Mark::None, "nothing is fetched here: this relay is fed by hand (no [upstream] url)");
                feed::Looked::default()
            }
            (None, UpstreamKind::Vendor | UpstreamKind::Mirror) => feed::Looked::default(),
            (Some(vendor), UpstreamKind::Mirror) => {
                following::look(&vendor, &network, &notes, self.config, self.progress, self.now).await
            }
            (Some(vendor), UpstreamKind::Vendor) => {
                feed::look(&vendor, &network, &notes, self.config, self.progress).await
            }
        };
        network.none_tried(Mark::NotTried, "");
        for fallback in &looked.fallbacks {
            notes.note(fallback.line());
        }
        let needed = looked.need.unwrap_or(Need::unknown());
        let disk = Disk::examine(&self.config.data.directory, needed, self.tls.as_ref());
        notes.note(disk.line());
        let chains = network.chains();
        let clock = ClockFacts::of(self.now, looked.clock_offset, &chains);
        notes.note(clock.line());

        report.server = self.server.into_facts();
        report.chains = chains;
        report.index = looked.index;
        report.metadata = looked.metadata;
        report.release = looked.release;
        report.archives = looked.archives;
        report.offline_zip_bytes = looked.offline_zip;
        report.fallbacks = looked.fallbacks;
        report.disk = Some(disk.facts);
        report.clock = Some(clock);
        report.verdict = Verdict::of(notes.lines());
        report
    }

    fn vendor(&self, network: &Arc<Network>, notes: &Notes, report: &mut Report) -> Option<Vendor> {
        let watch = Arc::clone(network);
        let setup = Setup { environment: self.environment.clone(), watch, ..Setup::default() };
        if let Err(error) = trusted_root(&self.config.upstream) {
            notes.note(Line::failed(Check::Settings, Failure::of(&error)));
            return None;
        }
        let opened = Vendor::open(&self.config.upstream, USER_AGENT, setup);
        match opened {
            Ok(vendor) => {
                report.settings.learn(&vendor, self.config);
                network.opened(&vendor, settings::route(&vendor, &report.settings));
                notes.note(Line::new(Check::Settings, Mark::Ok, report.settings.seen()));
                Some(vendor)
            }
            // Where nothing is fetched, nobody needs them to be right.
            Err(_) if !self.config.upstream.fetches() => {
                notes.note(Line::new(Check::Settings, Mark::Ok, report.settings.seen()));
                None
            }
            Err(error) => {
                notes.note(Line::failed(Check::Settings, Failure::of(&error)));
                None
            }
        }
    }
}
