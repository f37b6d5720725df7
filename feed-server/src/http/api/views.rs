//! What the API says, as types: the server writes them, the command line reads them.

mod access;
mod audit;
mod evidence;
mod history;
mod imports;
mod ise;
mod keys;
mod manners;
mod releases;
mod runs;
mod server_certificate;
mod settings;

pub use access::{HeadendView, IssuedToken, NewHeadend, NewToken, TokenView};
pub use audit::AuditView;
pub use evidence::{EvidenceView, RunsIt};
pub use history::HistoryView;
pub use imports::{ImportProgressView, ImportView, ImportsView, TrustView};
pub use ise::{IseListView, IseView, NewIse};
pub use keys::{KeyView, KeysChange, KeysView, LackingView, NextRootView, RootView, SignerView};
pub use manners::{CooldownView, PasswordRefusedView};
pub use releases::{ReasonGiven, ReleaseDetails, RepublishRequest};
pub use runs::{FileProgress, PresentedView, ProgressView, RunDetails, RunView, SyncAccepted, SyncRequest, SyncView};
pub use server_certificate::ServerCertificateView;
pub use settings::{SettingView, SettingsView};

use bundles::release::Source;
use bundles::report::Failure;
use bundles::update_information::UpdateInformation;
use bundles::{Digest, Manifest, Serial};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::warnings::Warning;
use crate::headends::HeadendState;
use crate::store::holding::Holding;
use crate::store::records::ReleaseRecord;

/// The state of the server.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct StatusView {
    /// The server program's version.
    pub version: String,
    /// `origin` (holds keys) or `relay`.
    pub role: String,
    /// The feed-server that a relay follows; absent where it is fed by hand, and on an origin.
    pub follows: Option<String>,
    /// The panel that operators know from ISE.
    #[schema(value_type = Object)]
    pub update_information: UpdateInformation,
    /// The newest release; absent before the first one.
    pub release: Option<ReleaseSummary>,
    /// What keeps new releases from being made or followed.
    #[serde(default)]
    pub holding: Holding,
    /// When the next update run is due; absent where nothing is scheduled.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_run: Option<Timestamp>,
    /// Seconds between scheduled update runs; absent where nothing is fetched.
    #[serde(default)]
    pub sync_interval_seconds: Option<u64>,
    /// Bytes that could still be written to the data directory's file system; absent where that cannot be told.
    #[serde(default)]
    pub store_free_bytes: Option<u64>,
    /// The update run that is going on.
    pub running: Option<ProgressView>,
    /// The import that is going on.
    #[serde(default)]
    pub importing: Option<ImportProgressView>,
    /// The last import; absent where there was none.
    #[serde(default)]
    pub last_import: Option<ImportView>,
    /// What keeps the server from storing anything new, in a sentence; what was published is served all the same.
    #[serde(default)]
    pub cannot_store: Option<String>,
    /// Why what is published is not complete; zips may be missing.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub cannot_publish: Option<Failure>,
    /// The newest run that failed, if no later one succeeded.
    pub last_failure: Option<RunView>,
    /// What will stop updates, or may mean harm.
    #[serde(default)]
    pub warnings: Vec<Warning>,
    /// The certificate that the server presents; absent where it does not answer by TLS, or does not run.
    #[serde(default)]
    pub server_certificate: Option<ServerCertificateView>,
    /// The certificates that upstream presented last, accepted or not; absent where it never presented any.
    #[serde(default)]
    pub upstream_chain: Option<PresentedView>,
    /// URLs of upstream's that are left alone for a while.
    #[serde(default)]
    pub cooldowns: Vec<CooldownView>,
    /// Credentials that the proxy refused, so that they are not tried again before they change or an operator asks.
    #[serde(default)]
    pub proxy_password_refused: Option<PasswordRefusedView>,
    /// The last runs, newest first.
    pub runs: Vec<RunView>,
    /// When signed metadata expires.
    pub metadata_expires: Vec<ExpiryView>,
    /// Headends by state.
    pub headends: Vec<HeadendCount>,
    /// What the locators of the vendor's layout begin with; absent while it is not known.
    pub public_url: Option<String>,
}

/// A release in a list.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ReleaseSummary {
    /// Its number.
    #[schema(value_type = u64)]
    pub serial: Serial,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// Its components and their versions.
    pub components: Vec<ComponentView>,
    /// Bytes of its archives.
    pub archive_bytes: u64,
    /// Where it came from, and who vouched for it.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub source: Option<Source>,
    /// SHA-256 of the vendor's own zip, where the release carries it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub offline_zip_sha256: Option<Digest>,
    /// The release whose content it has again; absent where it is one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub content_of: Option<Serial>,
}

/// A component's version.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ComponentView {
    /// Which one.
    pub component: String,
    /// As upstream gave it, or `sha256:` with a digest.
    pub version: String,
}

impl From<&ReleaseRecord> for ReleaseSummary {
    fn from(record: &ReleaseRecord) -> Self {
        Self { content_of: record.content_of, ..Self::from(&record.manifest) }
    }
}

impl From<&Manifest> for ReleaseSummary {
    fn from(manifest: &Manifest) -> Self {
        let components = manifest.components.iter().map(|released| ComponentView {
            component: released.component.to_string(),
            version: released.version.to_string(),
        });
        let files = manifest.components.iter().flat_map(|released| &released.files);
        Self {
            serial: manifest.serial,
            created: manifest.created,
            components: components.collect(),
            archive_bytes: files.map(|file| file.archive.length).sum(),
            source: Some(manifest.source.clone()),
            offline_zip_sha256: manifest.offline_zip.as_ref().map(|zip| zip.sha256),
            content_of: None,
        }
    }
}

/// When a role's signed metadata expires.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ExpiryView {
    /// `online` or `offline`.
    pub repository: String,
    /// `root`, `targets`, `snapshot` or `timestamp`.
    pub role: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub expires: Timestamp,
}

/// How many headends are in a state.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
pub struct HeadendCount {
    /// The state.
    pub state: HeadendState,
    /// How many.
    pub count: u64,
}
