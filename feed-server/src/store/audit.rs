//! The audit trail: who did what, when, from where, and what came of it. Records are only ever added, and go by age or number,
//! oldest first, which is recorded too. Those of refused attempts are counted apart, so that whoever knocks all day cannot push
//! out what was done.

use bundles::{Reason, Reasoned};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Batch, Pair, Store, StoreError, Table, Who};

/// Acts that are remembered: a hundred a day for years, some 30 MiB at most.
pub const MOST_ACTS: u64 = 100_000;

/// Refused attempts that are remembered.
pub const MOST_REFUSALS: u64 = 10_000;

/// What may go over the bounds before anything is forgotten, so that not every record costs another one about what it pushed
/// out: a day, and a hundredth.
const SLACK: SignedDuration = SignedDuration::from_hours(24);
const SLACK_PART: u64 = 100;

/// Forgotten in one batch; what is left goes with the next one.
const FORGOTTEN_AT_ONCE: usize = 2_000;

/// How many there are, and the newest number, in the table of single values.
const HEAD: &str = "audit";

/// What somebody did or wanted to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Make an administrator's token.
    TokenAdd,
    /// Revoke one.
    TokenRevoke,
    /// Add a headend.
    HeadendAdd,
    /// Give a headend another token.
    HeadendToken,
    /// Remove a headend.
    HeadendRemove,
    /// Log in to the console.
    Login,
    /// Log out of it.
    Logout,
    /// Update now.
    Sync,
    /// Bring a bundle or the vendor's zip.
    Import,
    /// Name an ISE deployment.
    IseAdd,
    /// Remove one.
    IseRemove,
    /// Hold releases back.
    ReleaseHold,
    /// Let releases go again.
    ReleaseResume,
    /// Release the content of an earlier release again.
    ReleaseRepublish,
    /// Make the first signing keys.
    KeysInit,
    /// Make a next root.
    KeysChange,
    /// Give up a next root that waits for signatures.
    KeysCancel,
    /// Bring signatures for a next root.
    KeysSign,
    /// Take a backup, which may hold private keys.
    Backup,
    /// Look. Only refused attempts are recorded.
    Read,
    /// Report what a headend runs. Only refused attempts are recorded.
    Report,
    /// Anything else, refused.
    Other,
    /// Forget the trail's oldest records.
    AuditForget,
}

impl Act {
    /// As records have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TokenAdd => "token_add",
            Self::TokenRevoke => "token_revoke",
            Self::HeadendAdd => "headend_add",
            Self::HeadendToken => "headend_token",
            Self::HeadendRemove => "headend_remove",
            Self::Login => "login",
            Self::Logout => "logout",
            Self::Sync => "sync",
            Self::Import => "import",
            Self::IseAdd => "ise_add",
            Self::IseRemove => "ise_remove",
            Self::ReleaseHold => "release_hold",
            Self::ReleaseResume => "release_resume",
            Self::ReleaseRepublish => "release_republish",
            Self::KeysInit => "keys_init",
            Self::KeysChange => "keys_change",
            Self::KeysCancel => "keys_cancel",
            Self::KeysSign => "keys_sign",
            Self::Backup => "backup",
            Self::Read => "read",
            Self::Report => "report",
            Self::Other => "other",
            Self::AuditForget => "audit_forget",
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum AuditResult {
    /// It takes a while, and has begun; another record says how it ended.
    Begun,
    /// It is done.
    Done,
    /// Nothing came of it, and why.
    Failed(Reason),
}

impl AuditResult {
    /// Of what was tried.
    #[must_use]
    pub fn of<T, E: Reasoned>(tried: &Result<T, E>) -> Self {
        tried.as_ref().map_or_else(|error| Self::Failed(error.reason()), |_| Self::Done)
    }

    /// `begun`, `done` or a reason.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Done => "done",
            Self::Failed(reason) => reason.as_str(),
        }
    }
}

impl From<AuditResult> for String {
    fn from(result: AuditResult) -> Self {
        result.as_str().to_owned()
    }
}

impl TryFrom<String> for AuditResult {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "begun" => Ok(Self::Begun),
            "done" => Ok(Self::Done),
            reason => Reason::ALL
                .iter()
                .find(|known| known.as_str() == reason)
                .map(|reason| Self::Failed(*reason))
                .ok_or_else(|| format!("{reason:?} is no result")),
        }
    }
}

/// Who does what, from where, to what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Doing {
    /// Who.
    pub who: Who,
    /// The address that it came from, or the way into this machine; absent for the program's own acts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What.
    pub act: Act,
    /// The name or number of what it is done to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// What else is worth knowing; never a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Doing {
    /// The program itself.
    #[must_use]
    pub const fn by_itself(act: Act) -> Self {
        Self { who: Who::Program, from: None, act, object: None, detail: None }
    }

    /// To what.
    #[must_use]
    pub fn to(self, object: impl Into<String>) -> Self {
        Self { object: Some(object.into()), ..self }
    }

    /// What else is worth knowing.
    #[must_use]
    pub fn with(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }
}

/// A record that is not in the trail yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// Who did what.
    pub doing: Doing,
    /// What came of it.
    pub result: AuditResult,
    /// Where it stands for further attempts of one kind: how many, and since when.
    pub repeated: Option<(u64, Timestamp)>,
    /// Whether it was refused to whoever asked, and not tried.
    pub is_refusal: bool,
}

impl NewRecord {
    /// Of an act.
    #[must_use]
    pub const fn new(doing: Doing, result: AuditResult) -> Self {
        Self { doing, result, repeated: None, is_refusal: false }
    }

    const fn table(&self) -> Table {
        if self.is_refusal { Table::Refusals } else { Table::Audit }
    }
}

/// A record of the trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditRecord {
    /// 1, 2, 3, …
    pub id: u64,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Who did what.
    #[serde(flatten)]
    pub doing: Doing,
    /// `done`, `begun`, or the reason why nothing came of it.
    #[schema(value_type = String)]
    pub result: AuditResult,
    /// For how many attempts of one kind it stands, besides the first; absent where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Since when those came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
struct Head {
    last: u64,
    acts: u64,
    refusals: u64,
}

impl Head {
    fn count(&mut self, table: Table) -> (&mut u64, u64) {
        if table == Table::Refusals { (&mut self.refusals, MOST_REFUSALS) } else { (&mut self.acts, MOST_ACTS) }
    }

    fn put(&mut self, batch: &mut Batch, new: &NewRecord, at: Timestamp) -> Result<(), StoreError> {
        self.last += 1;
        *self.count(new.table()).0 += 1;
        let (count, since) = new.repeated.unzip();
        let record = AuditRecord { id: self.last, at, doing: new.doing.clone(), result: new.result, count, since };
        batch.put(new.table(), self.last.to_be_bytes(), &record)
    }
}

impl Store {
    /// Changes what `batch` says and puts records about it, all in one; forgets those that are older than `keep`, or too many.
    /// Nobody else may do so meanwhile.
    ///
    /// # Errors
    /// The catalog cannot be read or written.
    pub fn audit(
        &self,
        mut batch: Batch,
        records: &[NewRecord],
        at: Timestamp,
        keep: SignedDuration,
    ) -> Result<(), StoreError> {
        let mut head: Head = self.state(HEAD)?.unwrap_or_default();
        for new in records {
            head.put(&mut batch, new, at)?;
        }
        let acts = self.forget(Table::Audit, &mut batch, &mut head, at, keep)?;
        let refusals = self.forget(Table::Refusals, &mut batch, &mut head, at, keep)?;
        if let Some(until) = acts.until.max(refusals.until) {
            let detail = format!("{} acts and {} refused attempts, until {until}", acts.number, refusals.number);
            let forgotten = NewRecord::new(Doing::by_itself(Act::AuditForget).with(detail), AuditResult::Done);
            head.put(&mut batch, &forgotten, at)?;
        }
        if batch.changes.is_empty() {
            return Ok(());
        }
        batch.put_state(HEAD, &head)?;
        self.commit(batch)
    }

    fn forget(
        &self,
        table: Table,
        batch: &mut Batch,
        head: &mut Head,
        now: Timestamp,
        keep: SignedDuration,
    ) -> Result<Forgotten, StoreError> {
        let mut forgotten = Forgotten::default();
        let too_old = now.checked_sub(keep).unwrap_or(Timestamp::MIN);
        let overdue = too_old.checked_sub(SLACK).unwrap_or(Timestamp::MIN);
        let oldest: Vec<AuditRecord> = self.oldest(table, 1)?;
        let (count, most) = head.count(table);
        if *count <= most && oldest.iter().all(|oldest| oldest.at >= overdue) {
            return Ok(forgotten);
        }
        let too_many = if *count > most { *count - (most - most / SLACK_PART) } else { 0 };
        for record in self.oldest::<AuditRecord>(table, FORGOTTEN_AT_ONCE)? {
            if record.at >= too_old && forgotten.number >= too_many {
                break;
            }
            batch.remove(table, record.id.to_be_bytes());
            forgotten = Forgotten { number: forgotten.number + 1, until: forgotten.until.max(Some(record.at)) };
        }
        *count = count.saturating_sub(forgotten.number);
        Ok(forgotten)
    }

    /// At most `limit` records of the trail with larger numbers than `after`, in their order.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub fn audit_after(&self, after: u64, limit: usize) -> Result<Vec<AuditRecord>, StoreError> {
        let of = |table| self.after(table, &after.to_be_bytes(), limit);
        let mut records: Vec<AuditRecord> = of(Table::Audit)?;
        records.extend(of(Table::Refusals)?);
        records.sort_unstable_by_key(|record| record.id);
        records.truncate(limit);
        Ok(records)
    }

    /// The newest `limit` records of the trail, in their order.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub fn audit_newest(&self, limit: usize) -> Result<Vec<AuditRecord>, StoreError> {
        let mut records: Vec<AuditRecord> = self.newest(Table::Audit, limit)?;
        records.extend(self.newest::<AuditRecord>(Table::Refusals, limit)?);
        records.sort_unstable_by_key(|record| record.id);
        let beyond = records.len().saturating_sub(limit);
        Ok(records.split_off(beyond))
    }

    fn oldest<T: serde::de::DeserializeOwned>(&self, table: Table, limit: usize) -> Result<Vec<T>, StoreError> {
        self.read_all(table, &self.catalog.scan(table, false, limit)?)
    }

    fn after<T: serde::de::DeserializeOwned>(
        &self,
        table: Table,
        key: &[u8],
        limit: usize,
    ) -> Result<Vec<T>, StoreError> {
        self.read_all(table, &self.catalog.scan_after(table, key, limit)?)
    }

    fn read_all<T: serde::de::DeserializeOwned>(&self, table: Table, pairs: &[Pair]) -> Result<Vec<T>, StoreError> {
        pairs.iter().map(|(_, value)| super::typed::read(table, value)).collect()
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Forgotten {
    number: u64,
    until: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR: SignedDuration = SignedDuration::from_hours(365 * 24);

    fn at(day: i64) -> Timestamp {
        Timestamp::from_second(1_750_000_000 + day * 86_400).unwrap()
    }

    fn act(object: &str) -> NewRecord {
        let who = Who::User { name: "root".to_owned() };
        let doing = Doing { who, from: Some("control socket".to_owned()), act: Act::Sync, object: None, detail: None };
        NewRecord::new(doing.to(object), AuditResult::Done)
    }

    fn refusal(object: &str) -> NewRecord {
        let result = AuditResult::Failed(Reason::Unauthorized);
        NewRecord { result, is_refusal: true, ..act(object) }
    }

    fn objects(records: &[AuditRecord]) -> Vec<&str> {
        records.iter().filter_map(|record| record.doing.object.as_deref()).collect()
    }

    #[test]
    fn records_are_numbered_through_and_listed_in_their_order() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        for new in [act("a"), refusal("b"), act("c"), refusal("d")] {
            store.audit(Batch::new(), &[new], at(0), YEAR).unwrap();
        }
        let all = store.audit_after(0, 10).unwrap();
        assert_eq!(all.iter().map(|record| record.id).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(objects(&all), ["a", "b", "c", "d"]);
        assert_eq!(objects(&store.audit_after(1, 2).unwrap()), ["b", "c"]);
        assert_eq!(objects(&store.audit_newest(3).unwrap()), ["b", "c", "d"]);
        assert!(store.audit_after(4, 10).unwrap().is_empty());
        let line = serde_json::to_string(&all[1]).unwrap();
        assert!(line.contains(r#""result":"unauthorized""#) && line.contains(r#""act":"sync""#), "{line}");
        assert_eq!(serde_json::from_str::<AuditRecord>(&line).unwrap(), all[1]);
    }

    #[test]
    fn a_change_and_its_record_are_one() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let mut batch = Batch::new();
        batch.put_state("x", &7).unwrap();
        store.audit(batch, &[act("x")], at(0), YEAR).unwrap();
        assert_eq!((store.state("x").unwrap(), store.audit_newest(9).unwrap().len()), (Some(7), 1));
    }

    #[test]
    fn what_is_old_goes_once_a_day_and_that_it_went_stays() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        for day in 0..3 {
            store.audit(Batch::new(), &[act(&day.to_string()), refusal("no")], at(day), YEAR).unwrap();
        }
        store.audit(Batch::new(), &[], at(366), YEAR).unwrap();
        assert_eq!(store.audit_newest(9).unwrap().len(), 6, "nothing is more than a day overdue");
        store.audit(Batch::new(), &[], at(367), YEAR).unwrap();
        let left = store.audit_newest(9).unwrap();
        assert_eq!(objects(&left), ["2", "no"]);
        let last = left.last().unwrap();
        assert_eq!((last.id, last.doing.act, &last.doing.who), (7, Act::AuditForget, &Who::Program));
        let detail = last.doing.detail.as_deref().unwrap();
        assert!(detail.starts_with("2 acts and 2 refused attempts, until "), "{detail}");
    }

    #[test]
    fn refused_attempts_push_out_no_acts() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        store.audit(Batch::new(), &[act("first")], at(0), YEAR).unwrap();
        let many: Vec<_> = (0..1_000).map(|_| refusal("x")).collect();
        for _ in 0..=MOST_REFUSALS / 1_000 {
            store.audit(Batch::new(), &many, at(0), YEAR).unwrap();
        }
        store.audit(Batch::new(), &[], at(0), YEAR).unwrap();
        let all = store.audit_after(0, usize::MAX).unwrap();
        let acts =
            |act| all.iter().filter(|record| record.doing.act == act && record.result == AuditResult::Done).count();
        assert_eq!((all[0].doing.object.as_deref(), acts(Act::Sync)), (Some("first"), 1));
        assert!(acts(Act::AuditForget) > 0);
        let refused = all.iter().filter(|record| record.result != AuditResult::Done).count() as u64;
        assert!((MOST_REFUSALS - MOST_REFUSALS / SLACK_PART..=MOST_REFUSALS).contains(&refused), "{refused}");
    }
}
