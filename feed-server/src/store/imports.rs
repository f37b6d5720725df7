//! Imports: zips that were brought in by hand, and what came of them.

use std::collections::BTreeMap;

use bundles::report::Failure;
use bundles::{Component, Digest, Reason, Serial, Version};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::typed::{RUN_FACTS, get};
use super::{Batch, Store, StoreError, Table};

/// Imports that are remembered: years of one a day, each some hundreds of bytes.
pub const KEPT_IMPORTS: usize = 1_000;

/// One import, from its start: one without an end was cut off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportRecord {
    /// 1, 2, 3, …
    pub id: u64,
    /// When it began.
    pub started: Timestamp,
    /// When it ended; absent while it goes on, or where the process was killed.
    pub ended: Option<Timestamp>,
    /// Who brought it.
    pub by: BroughtBy,
    /// What it was said to be.
    pub kind: ImportKind,
    /// The file's name as whoever brought it gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Bytes that came.
    pub length: u64,
    /// Of the whole file; absent where it did not come whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// What its signatures and its manifest say; absent until they were verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<VerifiedFacts>,
    /// How it went; absent while it goes on.
    pub outcome: Option<ImportOutcome>,
}

impl ImportRecord {
    /// An import that begins.
    #[must_use]
    pub fn begun(id: u64, started: Timestamp, by: BroughtBy, kind: ImportKind, name: Option<String>) -> Self {
        Self { id, started, ended: None, by, kind, name, length: 0, sha256: None, verified: None, outcome: None }
    }

    /// Why it failed, where it did.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.outcome.as_ref().and_then(ImportOutcome::failure)
    }
}

/// What verified signatures vouch for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedFacts {
    /// The release in the bundle.
    pub serial: Serial,
    /// The highest release number that was known here before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub highest_before: Option<Serial>,
    /// SHA-256 of the root whose keys signed it.
    pub signer: Digest,
    /// When the signatures end.
    pub valid_until: Timestamp,
    /// The versions that it brings.
    pub versions: BTreeMap<Component, Version>,
}

/// Who brought a zip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum BroughtBy {
    /// `feed-server bundle import` on this machine.
    Operator {
        /// The name of the system's user, or `#` and the number where there is no name; absent where it was not recorded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
    },
    /// An upload with an administrator's token.
    Token {
        /// The token's name.
        name: String,
    },
    /// The watched folder.
    WatchedFolder,
}

impl std::fmt::Display for BroughtBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Operator { user: Some(user) } => write!(f, "{user} on the server itself"),
            Self::Operator { user: None } => f.write_str("an operator on the server itself"),
            Self::Token { name } => write!(f, "the token {name}"),
            Self::WatchedFolder => f.write_str("the watched folder"),
        }
    }
}

/// What a zip is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImportKind {
    /// `posture-bundle-<serial>.zip`
    Bundle,
    /// The vendor's own `posture-offline.zip`.
    VendorZip,
}

/// How an import went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum ImportOutcome {
    /// A release came that was not here.
    Imported {
        /// Its number.
        serial: Serial,
    },
    /// The release was here; its signatures are newer than those that were.
    Refreshed {
        /// Its number.
        serial: Serial,
    },
    /// Nothing was new.
    UpToDate {
        /// The newest release; absent where there is none.
        serial: Option<Serial>,
    },
    /// It failed and changed nothing.
    Failed {
        /// Why.
        #[serde(flatten)]
        failure: Failure,
    },
}

impl ImportOutcome {
    /// The metric label: `imported`, `refreshed`, `up_to_date` or a reason.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Imported { .. } => "imported",
            Self::Refreshed { .. } => "refreshed",
            Self::UpToDate { .. } => "up_to_date",
            Self::Failed { failure } => failure.reason.as_str(),
        }
    }

    /// Why it failed, where it did.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Imported { .. } | Self::Refreshed { .. } | Self::UpToDate { .. } => None,
            Self::Failed { failure } => Some(failure),
        }
    }

    /// The release that it is about.
    #[must_use]
    pub fn serial(&self) -> Option<Serial> {
        match self {
            Self::Imported { serial } | Self::Refreshed { serial } => Some(*serial),
            Self::UpToDate { serial } => *serial,
            Self::Failed { .. } => None,
        }
    }

    /// The reason of a failed import.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.failure().map(|failure| failure.reason)
    }
}

impl Store {
    /// At most `limit` imports, newest first.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub fn imports(&self, limit: usize) -> Result<Vec<ImportRecord>, StoreError> {
        self.newest(Table::Imports, limit)
    }

    /// One import.
    ///
    /// # Errors
    /// As above.
    pub fn import(&self, id: u64) -> Result<Option<ImportRecord>, StoreError> {
        get(&*self.catalog, Table::Imports, &id.to_be_bytes())
    }

    /// The number after that of the newest import.
    ///
    /// # Errors
    /// As above.
    pub fn next_import_id(&self) -> Result<u64, StoreError> {
        Ok(self.imports(1)?.first().map_or(1, |import| import.id + 1))
    }

    /// A batch that puts an import, what it teaches ([`super::RunFacts`]), and forgets the oldest ones.
    ///
    /// # Errors
    /// As above.
    pub fn import_batch(&self, import: &ImportRecord) -> Result<Batch, StoreError> {
        let mut batch = Batch::new();
        batch.put(Table::Imports, import.id.to_be_bytes(), import)?;
        let mut facts = self.run_facts()?;
        facts.learn_import(import);
        batch.put_state(RUN_FACTS, &facts)?;
        let imports = self.catalog.scan(Table::Imports, true, usize::MAX)?;
        let others = imports.into_iter().map(|(key, _)| key).filter(|key| *key != import.id.to_be_bytes());
        for key in others.skip(KEPT_IMPORTS - 1) {
            batch.remove(Table::Imports, key);
        }
        Ok(batch)
    }

    /// The same, done.
    ///
    /// # Errors
    /// As above; or the catalog cannot be written.
    pub fn put_import(&self, import: &ImportRecord) -> Result<(), StoreError> {
        self.commit(self.import_batch(import)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start;

    #[test]
    fn imports_are_bounded_and_the_newest_ones_stay() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let record = |id| ImportRecord::begun(id, start(), BroughtBy::WatchedFolder, ImportKind::Bundle, None);
        let mut batch = Batch::new();
        for id in 1..=KEPT_IMPORTS as u64 {
            batch.put(Table::Imports, id.to_be_bytes(), &record(id)).unwrap();
        }
        store.commit(batch).unwrap();
        let next = store.next_import_id().unwrap();
        assert_eq!(next, KEPT_IMPORTS as u64 + 1);
        store.put_import(&record(next)).unwrap();
        let kept = store.imports(usize::MAX).unwrap();
        assert_eq!((kept.len(), kept[0].id), (KEPT_IMPORTS, next));
        assert_eq!(store.import(1).unwrap(), None);
        assert_eq!(store.run_facts().unwrap().last_success, None, "none has ended");
    }

    #[test]
    fn what_an_import_came_to_reads_back() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let by = BroughtBy::Token { name: "transfer".to_owned() };
        let mut import = ImportRecord::begun(1, start(), by, ImportKind::VendorZip, Some("x.zip".to_owned()));
        for outcome in [
            ImportOutcome::Failed { failure: Failure::new(Reason::Signature, "another origin's") },
            ImportOutcome::UpToDate { serial: None },
            ImportOutcome::Imported { serial: crate::testing::serial(7) },
        ] {
            let (is_good, is_new) = (outcome.failure().is_none(), outcome.label() == "imported");
            (import.ended, import.outcome) = (Some(start()), Some(outcome));
            store.put_import(&import).unwrap();
            assert_eq!(store.imports(9).unwrap(), [import.clone()]);
            let facts = store.run_facts().unwrap();
            assert_eq!((facts.last_success.is_some(), facts.content_changed_at.is_some()), (is_good, is_new));
            assert_eq!(facts.last_attempt, None, "that is for runs");
        }
    }
}
