//! Where things lie.
//!
//! The data directory holds what the client must not lose: `state.json`, `enrolment.json`, `root.json` (the pinned
//! root), `offline-root.json` (what the server's signed metadata says bundles are signed with), `token`, `tuf/<repository>/` (verified metadata, the floor against rollback), `proxy-refusals.json`, `lock`,
//! `run.lock`. The apply directory, by default the same one, holds what others read: `current`, `releases/<serial>/`,
//! `policy/`; `.downloads/`, payloads that came in part; and `.staging/`, which belongs to the run that is going on, with a
//! `lock` of its own where it is not the data directory.

use std::path::{Path, PathBuf};

use bundles::Serial;

use crate::repository::Side;

/// The paths of both directories.
#[derive(Debug, Clone)]
pub struct Paths {
    data: PathBuf,
    apply: PathBuf,
}

impl Paths {
    /// `apply` is the data directory where it is not given.
    #[must_use]
    pub fn new(data: &Path, apply: Option<&Path>) -> Self {
        Self { data: data.to_owned(), apply: apply.unwrap_or(data).to_owned() }
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The apply directory.
    #[must_use]
    pub fn apply(&self) -> &Path {
        &self.apply
    }

    /// Held during every act that changes something.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.data.join("lock")
    }

    /// Held as well, where the apply directory is another one: two data directories may be set to share it by mistake.
    /// `None` where it is the data directory, by whichever name.
    #[must_use]
    pub fn apply_lock(&self) -> Option<PathBuf> {
        let same = match (self.data.canonicalize(), self.apply.canonicalize()) {
            (Ok(data), Ok(apply)) => data == apply,
            _ => self.data == self.apply,
        };
        (!same).then(|| self.apply.join("lock"))
    }

    /// Held for the life of `feed-client run`.
    #[must_use]
    pub fn run_lock(&self) -> PathBuf {
        self.data.join("run.lock")
    }

    /// See [`crate::state::State`].
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.data.join("state.json")
    }

    /// See [`crate::settings::Enrolment`].
    #[must_use]
    pub fn enrolment(&self) -> PathBuf {
        self.data.join("enrolment.json")
    }

    /// The report token that enrolment stored.
    #[must_use]
    pub fn token(&self) -> PathBuf {
        self.data.join("token")
    }

    /// See [`crate::refusals::Refusals`].
    #[must_use]
    pub fn proxy_refusals(&self) -> PathBuf {
        self.data.join("proxy-refusals.json")
    }

    /// The root that the operator vouched for at enrolment.
    #[must_use]
    pub fn pinned_root(&self) -> PathBuf {
        self.data.join("root.json")
    }

    /// The offline repository's root as the online one's signed metadata has it: whom to believe where a bundle is imported
    /// on a headend that polls the online repository.
    #[must_use]
    pub fn offline_root(&self) -> PathBuf {
        self.data.join("offline-root.json")
    }

    /// Verified metadata, of each repository by itself: enrolling with the other one and back loses no floor.
    #[must_use]
    pub fn metadata(&self, side: Side) -> PathBuf {
        self.data.join("tuf").join(side.path())
    }

    /// Whether default policies were created; see [`crate::apply::defaults`].
    #[must_use]
    pub fn defaults_marker(&self) -> PathBuf {
        self.data.join("defaults.json")
    }

    /// Default policies on their way into [`Paths::policy`]. Not in the staging directory, which each run empties.
    #[must_use]
    pub fn policy_staging(&self) -> PathBuf {
        self.apply.join(".policy-staging")
    }

    /// Default policies, once created, are the administrator's.
    #[must_use]
    pub fn policy(&self) -> PathBuf {
        self.apply.join("policy")
    }

    /// Releases, whole ones only.
    #[must_use]
    pub fn releases(&self) -> PathBuf {
        self.apply.join("releases")
    }

    /// One release.
    #[must_use]
    pub fn release(&self, serial: Serial) -> PathBuf {
        self.releases().join(serial.to_string())
    }

    /// The link that says which release runs.
    #[must_use]
    pub fn current(&self) -> PathBuf {
        self.apply.join("current")
    }

    /// A release in the making.
    #[must_use]
    pub fn staging(&self) -> PathBuf {
        self.apply.join(".staging")
    }

    /// See [`crate::download::Partials`].
    #[must_use]
    pub fn downloads(&self) -> PathBuf {
        self.apply.join(".downloads")
    }
}
