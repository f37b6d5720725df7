//! Holding releases back, letting them go again, and releasing old content once more: what an operator does at night, when
//! the vendor ships something bad.

use std::sync::{Arc, MutexGuard};

use bundles::report::Failure;
use bundles::{Reason, Reasoned, Serial};
use jiff::Timestamp;

use super::{App, if_readable, internal};
use crate::config::Role;
use crate::crash;
use crate::release;
use crate::store::audit::{Act, AuditResult, Doing, NewRecord};
use crate::store::holding::{Hold, Holding, Withdrawal, withdrawn};
use crate::store::records::ReleaseRecord;
use crate::store::{Batch, Store, StoreError, Who};

/// A reason is a sentence or two, which status, runs and alerts repeat.
const MOST_REASON: usize = 500;

/// What is held, unchanged until this is dropped: a release is made or followed under it, so that whoever holds releases
/// knows that none comes after.
#[derive(Debug)]
pub struct Settled<'a> {
    app: &'a App,
    holding: Holding,
    _only: MutexGuard<'a, ()>,
}

impl Settled<'_> {
    /// What is held.
    #[must_use]
    pub fn holding(&self) -> &Holding {
        &self.holding
    }

    /// Upstream serves nothing of it any more.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub fn end_withdrawal(&mut self) -> Result<(), StoreError> {
        let Some(Withdrawal { content_of, .. }) = self.holding.withdrawal.take() else { return Ok(()) };
        tracing::info!(content_of = content_of.get(), "upstream serves nothing any more of what was withdrawn");
        let mut batch = Batch::new();
        batch.put_holding(&self.holding)?;
        let doing = Doing::by_itself(Act::ReleaseResume).with("upstream serves nothing any more of what was withdrawn");
        self.app.put(batch, &[NewRecord::new(doing, AuditResult::Done)])
    }
}

impl App {
    /// What keeps new releases back.
    #[must_use]
    pub fn holding(&self) -> Holding {
        if_readable(self.store.holding())
    }

    /// What keeps new releases back, and nobody changes it meanwhile.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn settled(&self) -> Result<Settled<'_>, StoreError> {
        let _only = self.lock_changes();
        Ok(Settled { app: self, holding: self.store.holding()?, _only })
    }

    /// The refusal of an import while somebody holds releases.
    ///
    /// # Errors
    /// Somebody does; or the store cannot be read.
    pub fn refuse_imports(&self) -> Result<(), Failure> {
        let holding = self.store.holding().map_err(|error| Failure::of(&error))?;
        let refused = |hold: Hold| Failure::new(Reason::BadRequest, hold.sentence("nothing is imported now"));
        holding.hold.map(refused).map_or(Ok(()), Err)
    }

    /// From now on no new release is made or followed here.
    ///
    /// # Errors
    /// Releases are held already; there is no reason; or the store cannot be read or written.
    pub fn hold(&self, doing: Doing, reason: &str) -> Result<Holding, HoldingError> {
        let hold = |holding: &Holding, who: &Who| {
            if let Some(hold) = &holding.hold {
                return Err(HoldingError::Held { hold: Box::new(hold.clone()) });
            }
            let hold = Hold { since: self.now(), by: who.clone(), reason: words(reason)? };
            Ok(Holding { hold: Some(hold), ..holding.clone() })
        };
        let holding = self.change_holding(doing.with(reason), hold)?;
        tracing::info!(reason, "releases are held: no new one is made or followed");
        Ok(holding)
    }

    /// Ends a hold; where there is none, what was withdrawn may come back. What is held still, after that.
    ///
    /// # Errors
    /// Nothing is held; there is no reason; or the store cannot be read or written.
    pub fn resume(&self, doing: Doing, reason: &str) -> Result<Holding, HoldingError> {
        let resume = |holding: &Holding, _: &Who| {
            words(reason)?;
            match holding {
                Holding { hold: None, withdrawal: None } => Err(HoldingError::NotHeld),
                // Who lifts a hold does not mean to bring back what was withdrawn: that ends by itself once it is mended.
                Holding { hold: Some(_), withdrawal } => Ok(Holding { hold: None, withdrawal: withdrawal.clone() }),
                Holding { hold: None, withdrawal: Some(_) } => Ok(Holding::default()),
            }
        };
        let holding = self.change_holding(doing.with(reason), resume)?;
        tracing::info!(reason, withdrawn = holding.withdrawal.is_some(), "releases are resumed");
        Ok(holding)
    }

    fn change_holding(
        &self,
        doing: Doing,
        change: impl FnOnce(&Holding, &Who) -> Result<Holding, HoldingError>,
    ) -> Result<Holding, HoldingError> {
        let (mut changed, who) = (Holding::default(), doing.who.clone());
        self.audited(doing, |store| {
            changed = change(&store.holding()?, &who)?;
            let mut batch = Batch::new();
            batch.put_holding(&changed)?;
            Ok::<_, HoldingError>(batch)
        })?;
        Ok(changed)
    }

    /// The content of an earlier release as a new one, and published; what it takes the place of does not come back. Goes on
    /// where nobody waits any more, if it is spawned.
    ///
    /// # Errors
    /// It cannot be released again, and nothing was changed; or it was, and could not be published, which the next run and
    /// the next start try again.
    pub async fn republish(
        self: Arc<Self>,
        doing: Doing,
        serial: Serial,
        reason: Option<String>,
    ) -> Result<Withdrawal, HoldingError> {
        let acting = match self.runs.act() {
            Ok(acting) => acting,
            Err(failure) => {
                let app = Arc::clone(&self);
                let told = move || app.tell(doing, AuditResult::Failed(Reason::Busy));
                tokio::task::spawn_blocking(told).await.map_err(|error| HoldingError::Other(internal(&error)))?;
                return Err(HoldingError::Other(failure));
            }
        };
        let (making, keep) = (Arc::clone(&self), self.config.data.retain_releases);
        let make = move || {
            let made = making.put_again(doing, serial, reason.as_deref())?;
            // What cannot be forgotten now, the next run forgets.
            let forgotten = release::retain(&making.store, keep);
            if let Err(error) = forgotten {
                tracing::warn!(error = error.whole_message(), "what is old stays; the next run tries again");
            }
            Ok::<_, HoldingError>(made)
        };
        let made = tokio::task::spawn_blocking(make).await.map_err(|error| HoldingError::Other(internal(&error)))??;
        let published = self.publisher.publish(self.now()).await;
        drop(acting);
        published.map_err(|error| HoldingError::Unpublished { serial: made.serial, failure: Failure::of(&error) })?;
        Ok(made)
    }

    fn put_again(&self, doing: Doing, serial: Serial, reason: Option<&str>) -> Result<Withdrawal, HoldingError> {
        let mut doing = doing.to(serial.to_string());
        doing.detail = reason.map(str::to_owned);
        let (mut made, who) = (None, doing.who.clone());
        self.audited(doing, |store| {
            let (record, withdrawal) = again(store, self.role(), (serial, reason, who), self.now())?;
            let holding = Holding { withdrawal: Some(withdrawal.clone()), ..store.holding()? };
            made = Some(withdrawal);
            let batch = store.again_batch(&record, &holding, self.now())?;
            crash::point("republish.before_commit");
            Ok::<_, HoldingError>(batch)
        })?;
        crash::point("republish.committed");
        let made = made.ok_or(HoldingError::Unknown { serial })?;
        tracing::warn!(
            serial = made.serial.get(),
            content_of = serial.get(),
            reason,
            "an earlier release is released again"
        );
        Ok(made)
    }
}

/// The release that is made of an earlier one, and what is withdrawn by that.
fn again(
    store: &Store,
    role: Role,
    (serial, reason, by): (Serial, Option<&str>, Who),
    now: Timestamp,
) -> Result<(ReleaseRecord, Withdrawal), HoldingError> {
    let reason = reason.map(words).transpose()?;
    if role == Role::Relay {
        return Err(HoldingError::Relay);
    }
    let newest = store.newest_release()?.ok_or(HoldingError::Unknown { serial })?;
    let highest = store.highest_serial()?.map_or(newest.manifest.serial, |highest| highest.max(newest.manifest.serial));
    let Some(old) = store.release(serial)? else {
        let gone = serial <= highest;
        return Err(if gone { HoldingError::NotRetained { serial } } else { HoldingError::Unknown { serial } });
    };
    if old.manifest.same_content(&newest.manifest) {
        return Err(HoldingError::SameContent { serial, newest: newest.manifest.serial });
    }
    for file in old.manifest.files() {
        if !store.blobs.contains(&file.sha256)? {
            return Err(StoreError::Missing { digest: file.sha256 }.into());
        }
    }
    let next = highest.next().ok_or(HoldingError::NumbersUsedUp)?;
    let record = release::again(&old, next, now);
    let before = store.holding()?.withdrawal;
    let files = withdrawn(&newest.manifest, &old.manifest, before.as_ref());
    Ok((record, Withdrawal { since: now, by, reason, serial: next, content_of: serial, files }))
}

/// A reason as it is kept.
fn words(reason: &str) -> Result<String, HoldingError> {
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > MOST_REASON || reason.chars().any(char::is_control) {
        return Err(HoldingError::NoReason);
    }
    Ok(reason.to_owned())
}

/// Why releases are not held, resumed or released again.
#[derive(Debug, thiserror::Error)]
pub enum HoldingError {
    /// The reason is none.
    #[error("the reason has to be 1 to {MOST_REASON} characters on one line: whoever is woken next reads it")]
    NoReason,
    /// Releases are held already.
    #[error("{}", .hold.sentence("nothing was changed"))]
    Held {
        /// Since when, by whom and why.
        hold: Box<Hold>,
    },
    /// Nothing is held.
    #[error("nothing is held: the next run releases what is new")]
    NotHeld,
    /// A relay signs nothing.
    #[error(
        "a relay holds no keys and makes no releases; run `feed-server release republish` on its origin, and `feed-server \
         release hold` here until that has come"
    )]
    Relay,
    /// There never was one of this number.
    #[error("there is no release {serial}; `feed-server release list` shows those that are retained")]
    Unknown {
        /// The number.
        serial: Serial,
    },
    /// It is no longer here.
    #[error(
        "release {serial} is no longer retained ([data] retain_releases); `feed-server release list` shows those that are"
    )]
    NotRetained {
        /// The number.
        serial: Serial,
    },
    /// It is what is served.
    #[error("release {newest}, the newest, has the content of {serial}; nothing was changed")]
    SameContent {
        /// What was to be released again.
        serial: Serial,
        /// The newest release.
        newest: Serial,
    },
    /// The last number was used.
    #[error("all release numbers are used; this data directory cannot make another release")]
    NumbersUsedUp,
    /// It was made, and is not visible yet.
    #[error("release {serial} is made and could not be published: {failure}; the next run tries again")]
    Unpublished {
        /// The new release.
        serial: Serial,
        /// Why.
        failure: Failure,
    },
    /// Something else is going on, or came in between.
    #[error("{0}")]
    Other(Failure),
    /// The store said no.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Reasoned for HoldingError {
    fn reason(&self) -> Reason {
        match self {
            Self::NoReason | Self::Held { .. } | Self::NotHeld | Self::Relay | Self::SameContent { .. } => {
                Reason::BadRequest
            }
            Self::Unknown { .. } | Self::NotRetained { .. } => Reason::NotFound,
            Self::NumbersUsedUp => Reason::Internal,
            Self::Unpublished { failure, .. } | Self::Other(failure) => failure.reason,
            Self::Store(source) => source.reason(),
        }
    }
}
