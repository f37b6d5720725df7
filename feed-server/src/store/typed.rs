//! The catalog's records by type.

use bundles::Serial;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::batch::serial_key;
use super::holding::Holding;
use super::imports::{ImportOutcome, ImportRecord};
use super::records::{HeadendRecord, Outcome, ReleaseRecord, ReportRecord, RunRecord, TokenRecord};
use super::{Batch, Catalog, Learned, Pair, Store, StoreError, Table};
use crate::sync::checked::Validator;

/// Runs that are remembered: eleven weeks of one every two hours, each some hundreds of bytes.
pub const KEPT_RUNS: usize = 1_000;

pub(super) const HIGHEST_SERIAL: &str = "highest_serial";
pub(super) const RUN_FACTS: &str = "run_facts";
const TOKEN_USES: &str = "token_uses";

/// When tokens were last used, by their digests.
type LastUses = std::collections::BTreeMap<bundles::Digest, Timestamp>;

/// What metrics and Update Information say of runs; kept beside them, so that it outlives those that are forgotten.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunFacts {
    /// When the last run started, whether or not it has ended.
    pub last_attempt: Option<Timestamp>,
    /// How the last run that ended went.
    pub last_outcome: Option<Outcome>,
    /// When a run or an import last ended well, with or without anything new.
    pub last_success: Option<Timestamp>,
    /// When a run last made a release, an import brought one, or an earlier one was released again.
    pub content_changed_at: Option<Timestamp>,
    /// What runs taught of upstream.
    pub learned: Learned,
}

impl RunFacts {
    fn learn(&mut self, run: &RunRecord) {
        self.last_attempt = self.last_attempt.max(Some(run.started));
        self.learned.learn(run);
        let Some(outcome) = &run.outcome else { return };
        let ended = run.ended.or(Some(run.started));
        self.last_outcome = Some(outcome.clone());
        match outcome {
            Outcome::Released { .. } => {
                self.last_success = self.last_success.max(ended);
                self.content_changed_at = self.content_changed_at.max(ended);
            }
            Outcome::Unchanged | Outcome::Held { .. } => self.last_success = self.last_success.max(ended),
            Outcome::Failed { .. } => {}
        }
    }

    pub(super) fn learn_import(&mut self, import: &ImportRecord) {
        let ended = import.ended.or(Some(import.started));
        match &import.outcome {
            Some(ImportOutcome::Imported { .. }) => {
                self.last_success = self.last_success.max(ended);
                self.content_changed_at = self.content_changed_at.max(ended);
            }
            Some(ImportOutcome::Refreshed { .. } | ImportOutcome::UpToDate { .. }) => {
                self.last_success = self.last_success.max(ended);
            }
            Some(ImportOutcome::Failed { .. }) | None => {}
        }
    }
}

/// A single value by name.
pub(super) fn state<T: DeserializeOwned>(catalog: &dyn Catalog, name: &str) -> Result<Option<T>, StoreError> {
    get(catalog, Table::State, name.as_bytes())
}

pub(super) fn get<T: DeserializeOwned>(
    catalog: &dyn Catalog,
    table: Table,
    key: &[u8],
) -> Result<Option<T>, StoreError> {
    catalog.get(table, key)?.map(|value| read(table, &value)).transpose()
}

pub(super) fn read<T: DeserializeOwned>(table: Table, value: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(value).map_err(|source| StoreError::Record { table: table.name(), source })
}

impl Store {
    pub(super) fn all<T: DeserializeOwned>(&self, table: Table) -> Result<Vec<T>, StoreError> {
        self.catalog.scan(table, false, usize::MAX)?.iter().map(|(_, value)| read(table, value)).collect()
    }

    pub(super) fn newest<T: DeserializeOwned>(&self, table: Table, limit: usize) -> Result<Vec<T>, StoreError> {
        self.catalog.scan(table, true, limit)?.iter().map(|(_, value)| read(table, value)).collect()
    }

    pub(super) fn put<T: Serialize + ?Sized>(
        &self,
        table: Table,
        key: impl AsRef<[u8]>,
        value: &T,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.put(table, key, value)?;
        self.commit(batch)
    }

    /// The release with the highest number.
    ///
    /// # Errors
    /// The catalog cannot be read, as everywhere below.
    pub fn newest_release(&self) -> Result<Option<ReleaseRecord>, StoreError> {
        Ok(self.releases(1)?.pop())
    }

    /// One release.
    ///
    /// # Errors
    /// As above.
    pub fn release(&self, serial: Serial) -> Result<Option<ReleaseRecord>, StoreError> {
        get(&*self.catalog, Table::Releases, &serial_key(serial))
    }

    /// At most `limit` releases, newest first.
    ///
    /// # Errors
    /// As above.
    pub fn releases(&self, limit: usize) -> Result<Vec<ReleaseRecord>, StoreError> {
        self.newest(Table::Releases, limit)
    }

    /// The highest number that a release ever had, whether or not it is still here.
    ///
    /// # Errors
    /// As above.
    pub fn highest_serial(&self) -> Result<Option<Serial>, StoreError> {
        self.state(HIGHEST_SERIAL)
    }

    /// A batch that puts a release, its number as the highest, and `validators` in place of all that there were. All
    /// of that happens when the caller commits it.
    ///
    /// # Errors
    /// As above.
    pub fn release_batch(&self, record: &ReleaseRecord, validators: &[Validator]) -> Result<Batch, StoreError> {
        let mut batch = self.validators_batch(validators)?;
        batch.put_release(record)?;
        Ok(batch)
    }

    /// A batch that puts a release that has the content of an earlier one, and what is held back from then on.
    ///
    /// # Errors
    /// As above.
    pub fn again_batch(&self, record: &ReleaseRecord, holding: &Holding, now: Timestamp) -> Result<Batch, StoreError> {
        let mut batch = Batch::new();
        batch.put_release(record)?;
        batch.put_holding(holding)?;
        let mut facts = self.run_facts()?;
        facts.content_changed_at = facts.content_changed_at.max(Some(now));
        batch.put_state(RUN_FACTS, &facts)?;
        Ok(batch)
    }

    /// A batch that puts `validators` in place of all that there were.
    ///
    /// # Errors
    /// As above.
    pub fn validators_batch(&self, validators: &[Validator]) -> Result<Batch, StoreError> {
        let mut batch = Batch::new();
        for (url, _) in self.catalog.scan(Table::Validators, false, usize::MAX)? {
            batch.remove(Table::Validators, url);
        }
        for validator in validators {
            batch.put_validator(validator)?;
        }
        Ok(batch)
    }

    /// Puts `validators` in place of all that there were, where they differ: most runs hear what they heard before.
    ///
    /// # Errors
    /// As above; or the catalog cannot be written.
    pub fn put_validators(&self, validators: &[Validator]) -> Result<(), StoreError> {
        let known = self.validators()?;
        if known.len() == validators.len() && validators.iter().all(|validator| known.contains(validator)) {
            return Ok(());
        }
        self.commit(self.validators_batch(validators)?)
    }

    /// What upstream said of the URLs of its feed.
    ///
    /// # Errors
    /// As above.
    pub fn validators(&self) -> Result<Vec<Validator>, StoreError> {
        self.all(Table::Validators)
    }

    /// At most `limit` runs, newest first.
    ///
    /// # Errors
    /// As above.
    pub fn runs(&self, limit: usize) -> Result<Vec<RunRecord>, StoreError> {
        self.newest(Table::Runs, limit)
    }

    /// One run.
    ///
    /// # Errors
    /// As above.
    pub fn run(&self, id: u64) -> Result<Option<RunRecord>, StoreError> {
        get(&*self.catalog, Table::Runs, &id.to_be_bytes())
    }

    /// The number after that of the newest run.
    ///
    /// # Errors
    /// As above.
    pub fn next_run_id(&self) -> Result<u64, StoreError> {
        Ok(self.runs(1)?.first().map_or(1, |run| run.id + 1))
    }

    /// Puts a run, what it teaches ([`RunFacts`]), and forgets the oldest ones, all in one.
    ///
    /// # Errors
    /// As above; or the catalog cannot be written.
    pub fn put_run(&self, run: &RunRecord) -> Result<(), StoreError> {
        let mut facts = self.run_facts()?;
        facts.learn(run);
        let mut batch = Batch::new();
        batch.put(Table::Runs, run.id.to_be_bytes(), run)?;
        batch.put_state(RUN_FACTS, &facts)?;
        let runs = self.catalog.scan(Table::Runs, true, usize::MAX)?;
        let others = runs.into_iter().map(|(key, _)| key).filter(|key| *key != run.id.to_be_bytes());
        for key in others.skip(KEPT_RUNS - 1) {
            batch.remove(Table::Runs, key);
        }
        self.commit(batch)
    }

    /// What runs taught, including those that are no longer here.
    ///
    /// # Errors
    /// As above.
    pub fn run_facts(&self) -> Result<RunFacts, StoreError> {
        Ok(self.state(RUN_FACTS)?.unwrap_or_default())
    }

    /// All headends, by id.
    ///
    /// # Errors
    /// As above.
    pub fn headends(&self) -> Result<Vec<HeadendRecord>, StoreError> {
        self.all(Table::Headends)
    }

    /// One headend.
    ///
    /// # Errors
    /// As above.
    pub fn headend(&self, id: &str) -> Result<Option<HeadendRecord>, StoreError> {
        get(&*self.catalog, Table::Headends, id.as_bytes())
    }

    /// The last report of a headend.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub fn report(&self, id: &str) -> Result<Option<ReportRecord>, StoreError> {
        get(&*self.catalog, Table::Reports, id.as_bytes())
    }

    /// The last report of each headend, with its id.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub fn reports(&self) -> Result<Vec<(String, ReportRecord)>, StoreError> {
        let with_id =
            |(key, value): &Pair| Ok((String::from_utf8_lossy(key).into_owned(), read(Table::Reports, value)?));
        self.catalog.scan(Table::Reports, false, usize::MAX)?.iter().map(with_id).collect()
    }

    /// Puts each report in place of the last one of the headend with that id, all in one.
    ///
    /// # Errors
    /// The catalog cannot be written; then none was put.
    pub fn put_reports<'r>(
        &self,
        reports: impl IntoIterator<Item = (&'r str, &'r ReportRecord)>,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        for (id, report) in reports {
            batch.put(Table::Reports, id, report)?;
        }
        self.commit(batch)
    }

    /// All administrators' tokens, by name.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        self.all(Table::Tokens)
    }

    /// When tokens were last used, as far as that was written down.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub fn token_uses(&self) -> Result<LastUses, StoreError> {
        Ok(self.state(TOKEN_USES)?.unwrap_or_default())
    }

    /// Puts when tokens were last used in place of what was known.
    ///
    /// # Errors
    /// The catalog cannot be written.
    pub fn put_token_uses(&self, uses: &LastUses) -> Result<(), StoreError> {
        self.put_state(TOKEN_USES, uses)
    }

    /// A single value by name.
    ///
    /// # Errors
    /// The catalog cannot be read, or holds another type under that name.
    pub fn state<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        state(&*self.catalog, name)
    }

    /// Puts a single value by name.
    ///
    /// # Errors
    /// The catalog cannot be written.
    pub fn put_state<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<(), StoreError> {
        self.put(Table::State, name, value)
    }
}
