//! Who did what: every act that changes something goes by here, and is in the trail before anybody is told of it.

use std::net::IpAddr;

use bundles::{Reason, Reasoned};
use jiff::SignedDuration;

use super::App;
use super::refusals::Source;
use crate::store::audit::{Act, AuditResult, Doing, NewRecord};
use crate::store::imports::{BroughtBy, ImportRecord};
use crate::store::{Batch, Store, StoreError, Who};

impl App {
    /// Looks at the store and changes it without anybody else changing in between; the change and the record of it are one. Where
    /// `plan` fails, nothing is changed, and that is recorded.
    ///
    /// # Errors
    /// Those of `plan`, or the store cannot be read or written.
    pub fn audited<E: Reasoned + From<StoreError>>(
        &self,
        doing: Doing,
        plan: impl FnOnce(&Store) -> Result<Batch, E>,
    ) -> Result<(), E> {
        let only = self.lock_changes();
        match plan(&self.store) {
            Ok(batch) => Ok(self.put(batch, &[NewRecord::new(doing, AuditResult::Done)])?),
            Err(error) => {
                drop(only);
                self.tell(doing, AuditResult::Failed(error.reason()));
                Err(error)
            }
        }
    }

    /// Records an act that changes something by itself.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub fn record(&self, doing: Doing, result: AuditResult) -> Result<(), StoreError> {
        let _only = self.lock_changes();
        self.put(Batch::new(), &[NewRecord::new(doing, result)])
    }

    /// The same where the act has happened, or will not: nothing hangs on the record any more, and the log says where there
    /// is none.
    pub fn tell(&self, doing: Doing, result: AuditResult) {
        let (act, object) = (doing.act.as_str(), doing.object.clone());
        if let Err(error) = self.record(doing, result) {
            let (reason, error) = (error.reason().as_str(), error.whole_message());
            tracing::error!(act, object, result = result.as_str(), reason, error, "an act is not in the audit trail");
        }
    }

    /// Puts an import, and that it began or how it ended.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub fn keep_import(&self, import: &ImportRecord, from: Option<String>) -> Result<(), StoreError> {
        let _only = self.lock_changes();
        let who = match &import.by {
            BroughtBy::Operator { user } => Who::User { name: user.clone().unwrap_or_else(|| "unknown".to_owned()) },
            BroughtBy::Token { name } => Who::Token { name: name.clone() },
            BroughtBy::WatchedFolder => Who::Program,
        };
        let result = match (&import.outcome, import.failure()) {
            (None, _) => AuditResult::Begun,
            (Some(_), None) => AuditResult::Done,
            (Some(_), Some(failure)) => AuditResult::Failed(failure.reason),
        };
        let doing =
            Doing { who, from, act: Act::Import, object: Some(import.id.to_string()), detail: import.name.clone() };
        self.put(self.store.import_batch(import)?, &[NewRecord::new(doing, result)])
    }

    /// Records that somebody was refused; attempts of one kind at once only the first time in an hour.
    pub fn refused(&self, doing: Doing, reason: Reason, from: Option<IpAddr>) {
        // Whoever goes on knocking costs no look at the store.
        if let Some(first) = self.refusals.note(doing, reason, from.map(Source::from), self.now()) {
            self.put_refusals(&[first]);
        }
    }

    /// Records how many more attempts there were of the kinds whose hour is over; of all of them where the server stops. And
    /// forgets what is old.
    pub fn keep_refusals(&self, is_stopping: bool) {
        let repeated = self.refusals.ended(self.now(), is_stopping);
        self.put_refusals(&repeated);
    }

    fn put_refusals(&self, records: &[NewRecord]) {
        let _only = self.lock_changes();
        if let Err(error) = self.put(Batch::new(), records) {
            let (reason, error) = (error.reason().as_str(), error.whole_message());
            tracing::error!(refused = records.len(), reason, error, "refused attempts are not in the audit trail");
        }
    }

    /// Who calls this holds the lock on changes.
    pub(super) fn put(&self, batch: Batch, records: &[NewRecord]) -> Result<(), StoreError> {
        self.store.audit(batch, records, self.now(), kept_for(self.config.data.audit_days))
    }
}

/// How long records are kept.
pub(super) fn kept_for(days: u32) -> SignedDuration {
    SignedDuration::from_hours(24 * i64::from(days))
}
