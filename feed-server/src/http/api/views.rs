//! What the API says, as types: the server writes them, the command line reads them.

mod imports;
mod manners;

pub use imports::{ImportProgressView, ImportView, ImportsView, TrustView};
pub use manners::{CooldownView, PasswordRefusedView};

use bundles::release::Source;
use bundles::report::Failure;
use bundles::update_information::UpdateInformation;
use bundles::{Digest, Manifest, Reason, Serial};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::runs::Progress;
use crate::app::warnings::Warning;
use crate::headends::HeadendState;
use crate::publish::{Lacking, Rotated, Waiting};
use crate::store::chain_facts::PresentedIn;
use crate::store::evidence::ChainRecord;
use crate::store::records::{Outcome, ReportRecord, RunRecord, Scope, TokenRecord, Trigger};

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
    /// When the next update run is due; absent where nothing is scheduled.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_run: Option<Timestamp>,
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
}

/// A component's version.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ComponentView {
    /// Which one.
    pub component: String,
    /// As upstream gave it, or `sha256:` with a digest.
    pub version: String,
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
        }
    }
}

/// How far the update run is that is going on.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ProgressView {
    /// The run's number.
    pub run: u64,
    /// When it began; absent while it waits to begin.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started: Option<Timestamp>,
    /// Who asked for it: `schedule`, `retry` or `operator`.
    #[schema(value_type = String)]
    pub trigger: Trigger,
    /// Entries in the index; 0 until it was read.
    pub entries: usize,
    /// Files that arrived whole.
    pub files_done: usize,
    /// Bytes received from upstream.
    pub received_bytes: u64,
    /// The file that arrives right now.
    pub file: Option<FileProgress>,
}

/// The file that arrives right now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileProgress {
    /// Its name.
    pub name: String,
    /// How long it is said to be.
    pub length: Option<u64>,
    /// How much of it came.
    pub received_bytes: u64,
}

impl From<&Progress> for ProgressView {
    fn from(progress: &Progress) -> Self {
        Self {
            run: progress.run,
            started: Some(progress.started),
            trigger: progress.trigger,
            entries: progress.entries(),
            files_done: progress.files_done(),
            received_bytes: progress.received(),
            file: progress.file().map(|file| FileProgress {
                name: file.name,
                length: file.length,
                received_bytes: file.received,
            }),
        }
    }
}

/// An update run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunView {
    /// Its number.
    pub id: u64,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started: Timestamp,
    /// When it ended; absent while it is going on.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended: Option<Timestamp>,
    /// Who asked for it: `schedule`, `retry` or `operator`.
    #[schema(value_type = String)]
    pub trigger: Trigger,
    /// `ok`, `unchanged` or a reason; absent while it is going on.
    pub result: Option<String>,
    /// The release that it made.
    #[schema(value_type = Option<u64>)]
    pub serial: Option<Serial>,
    /// Why it failed.
    #[schema(value_type = Option<String>)]
    pub reason: Option<Reason>,
    /// Why it failed, in a sentence.
    pub message: Option<String>,
    /// Bytes received from upstream.
    pub received_bytes: u64,
    /// The fallback URL that served; absent where none had to.
    #[serde(default)]
    pub source_url: Option<String>,
}

impl From<&RunRecord> for RunView {
    fn from(run: &RunRecord) -> Self {
        let (serial, failure) = match &run.outcome {
            Some(Outcome::Released { serial }) => (Some(*serial), None),
            Some(Outcome::Failed { failure }) => (None, Some(failure)),
            Some(Outcome::Unchanged) | None => (None, None),
        };
        Self {
            id: run.id,
            started: run.started,
            ended: run.ended,
            trigger: run.trigger,
            result: run.outcome.as_ref().map(|outcome| outcome.label().to_owned()),
            serial,
            reason: failure.map(|failure| failure.reason),
            message: failure.map(|failure| failure.message.clone()),
            received_bytes: run.received_bytes,
            source_url: run.source_url.clone(),
        }
    }
}

/// The certificates that upstream presented in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PresentedView {
    /// The run's number.
    pub run: u64,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// A chain for each host, the index's first.
    pub chains: Vec<ChainRecord>,
}

impl From<PresentedIn> for PresentedView {
    fn from(PresentedIn { run, at, chains }: PresentedIn) -> Self {
        Self { run, at, chains }
    }
}

/// An update run, and the certificates that it was presented.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunDetails {
    /// How it went.
    #[serde(flatten)]
    pub run: RunView,
    /// A chain for each host that presented one, accepted or not.
    #[serde(default)]
    pub chains: Vec<ChainRecord>,
}

impl From<RunRecord> for RunDetails {
    fn from(run: RunRecord) -> Self {
        Self { run: RunView::from(&run), chains: run.chains }
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

/// What `POST /api/v1/sync` asks for.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SyncRequest {
    /// Take a component even where its version goes backwards.
    pub accept_version_rollback: bool,
    /// Ask upstream even where it cools down after it asked for a pause.
    pub ignore_cooldown: bool,
}

/// The run that was asked for.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
pub struct SyncAccepted {
    /// Its number, for `GET /api/v1/runs/{id}`.
    pub run: u64,
}

/// The run that is going on, and the last one.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SyncView {
    /// The run that is going on or waits to begin.
    pub running: Option<ProgressView>,
    /// The newest run that ended.
    pub last: Option<RunView>,
}

/// A headend and what is known of it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct HeadendView {
    /// Its id.
    pub id: String,
    /// When it was added.
    #[schema(value_type = String, format = DateTime)]
    pub added: Timestamp,
    /// How it is.
    pub state: HeadendState,
    /// When its last report came, and what it said; absent where it never reported.
    #[schema(value_type = Option<Object>)]
    pub report: Option<ReportRecord>,
}

/// A headend to add.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewHeadend {
    /// Its id: 1 to 253 of `A-Z a-z 0-9 . _ -`, beginning with a letter or a digit.
    pub id: String,
}

/// A token, shown this once.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct IssuedToken {
    /// The headend's id, or the token's name.
    pub name: String,
    /// The token. It is not kept: who loses it gets a new one.
    pub token: String,
}

impl std::fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedToken").field("name", &self.name).finish_non_exhaustive()
    }
}

/// An administrator's token to make.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What to call it: as a headend's id.
    pub name: String,
    /// `read`, `operate` or `admin`; each includes those before it.
    #[schema(value_type = String)]
    pub scope: Scope,
}

/// An administrator's token in a list.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TokenView {
    /// Its name.
    pub name: String,
    /// What it allows.
    #[schema(value_type = String)]
    pub scope: Scope,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
}

impl From<TokenRecord> for TokenView {
    fn from(token: TokenRecord) -> Self {
        Self { name: token.name, scope: token.scope, created: token.created }
    }
}

/// A signing key.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct KeyView {
    /// `online` or `offline`.
    pub repository: String,
    /// What it signs.
    pub role: String,
    /// Its id in signed metadata.
    pub key_id: String,
    /// SHA-256 of the public key.
    pub fingerprint: String,
    /// Whether the server can sign with it; root keys may well be elsewhere.
    #[serde(default)]
    pub at_hand: bool,
}

/// The keys, and the roots that people compare when they enroll a headend.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct KeysView {
    /// Every signing key; a relay has none.
    pub keys: Vec<KeyView>,
    /// SHA-256 of each repository's root file; a relay has those that it received.
    pub roots: Vec<RootView>,
    /// SHA-256 of the root file that a relay trusts; absent on an origin, and where the file is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_root: Option<String>,
    /// Roots that wait for signatures of keys that are elsewhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<NextRootView>,
}

/// What is to be different in the next roots. Without anything, they are the same with a later end.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeysChange {
    /// `online`, `offline`; both where none is named.
    pub repositories: Vec<String>,
    /// Roles that get new keys: `root`, `targets`, `snapshot`, `timestamp`.
    pub roles: Vec<String>,
    /// Of the root keys, only these are replaced: ids, or at least their first 8 characters.
    pub remove: Vec<String>,
    /// New root keys whose private halves are elsewhere, as `feed-server keys generate` writes them.
    #[schema(value_type = Vec<Object>)]
    pub public: Vec<serde_json::Value>,
    /// How many new root keys the server makes; as many as were replaced, where this is absent.
    pub root_keys: Option<u64>,
    /// How many root keys have to sign from now on.
    pub threshold: Option<u64>,
}

/// A repository's next root.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NextRootView {
    /// `online` or `offline`.
    pub repository: String,
    /// Its version.
    pub version: u64,
    /// What it changes; absent where it waits no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// What is lacking before it takes the place of the one before; nothing where it has.
    pub lacking: Vec<LackingView>,
}

/// Signatures that are lacking.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LackingView {
    /// The version of the root whose keys they are.
    pub version: u64,
    /// How many.
    pub signatures: u64,
    /// The keys that have not signed yet.
    pub keys: Vec<SignerView>,
}

/// A key that may sign.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SignerView {
    /// Its id in signed metadata.
    pub key_id: String,
    /// SHA-256 of the public key.
    pub fingerprint: String,
}

impl From<Lacking> for LackingView {
    fn from(Lacking { version, signatures, keys }: Lacking) -> Self {
        let signer = |(key_id, fingerprint): (String, bundles::Digest)| SignerView {
            key_id,
            fingerprint: fingerprint.to_string(),
        };
        Self { version, signatures, keys: keys.into_iter().map(signer).collect() }
    }
}

impl From<Waiting> for NextRootView {
    fn from(waiting: Waiting) -> Self {
        let lacking = waiting.lacking.into_iter().map(LackingView::from).collect();
        let (repository, what) = (waiting.repository.to_string(), Some(waiting.what));
        Self { repository, version: waiting.version, what, lacking }
    }
}

impl From<Rotated> for NextRootView {
    fn from(rotated: Rotated) -> Self {
        let lacking = rotated.lacking.into_iter().map(LackingView::from).collect();
        Self { repository: rotated.repository.to_string(), version: rotated.version, what: None, lacking }
    }
}

/// A repository's root file.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RootView {
    /// `online` or `offline`.
    pub repository: String,
    /// SHA-256 of the root file.
    pub fingerprint: String,
}
