//! The poll that finds nothing new, which nearly every poll is: one request, answered with 304.
//!
//! A 304 proves nothing by itself: whoever stands in the server's place can say it. It ends a poll only as long as what was
//! verified and is here still vouches for itself, and a day after the last full refresh at the latest.

use bundles::{Digest, Serial};
use jiff::Timestamp;

use super::attempt::Attempt;
use super::{Outcome, Trigger, UpdateError};
use crate::apply;
use crate::repository::{Repository, Store, TimestampAnswer};
use crate::settings::Remote;
use crate::state::Refreshed;

/// What the first request of a poll came to.
pub(super) enum First {
    /// Nothing is new, so this is the outcome.
    Idle(Outcome),
    /// The server has another timestamp.
    Other(TimestampAnswer),
    /// It has to be asked for everything.
    NotAsked,
}

impl Attempt<'_> {
    /// Asks whether there is anything new, where the answer may be believed.
    pub(super) async fn ask_first(
        &self,
        remote: &Remote,
        store: &Store,
        trigger: Trigger,
        now: Timestamp,
    ) -> Result<First, UpdateError> {
        let Some((etag, outcome)) = self.may_be_idle(remote, store, trigger, now) else { return Ok(First::NotAsked) };
        let answer = TimestampAnswer::unless(&remote.http, &remote.location, etag).await;
        Ok(match answer.map_err(crate::repository::RepositoryError::from)? {
            Some(answer) => First::Other(answer),
            None => First::Idle(outcome),
        })
    }

    /// The tag to ask with, and the outcome if it is still the server's.
    fn may_be_idle(&self, remote: &Remote, store: &Store, trigger: Trigger, now: Timestamp) -> Option<(&str, Outcome)> {
        let paths = &self.settings.paths;
        let known = self.state.refreshed.as_ref()?;
        let serial = known.serial;
        let same = known.url == remote.location.timestamp()
            && known.pinned_root == Digest::of(&self.settings.pinned_root)
            && self.state.highest_serial == Some(serial)
            && store.timestamp_digest() == Some(known.timestamp);
        if !same || !known.is_fresh(now, self.state.newest_signed) {
            return None;
        }
        let held = self.state.holds(serial);
        let outcome = if apply::current(paths).ok()? == Some(serial) {
            // What is damaged is made anew, which takes a refresh.
            apply::manifest(paths, serial).ok()??;
            // Somebody who asks takes a hold away.
            if held.is_some() && trigger == Trigger::Operator {
                return None;
            }
            Outcome::Unchanged { serial }
        } else {
            let why = held.filter(|_| trigger == Trigger::Schedule)?;
            Outcome::Held { serial, why }
        };
        Some((&known.etag, outcome))
    }

    /// Takes note of a full refresh that was followed to its end.
    pub(super) fn note_refresh(
        &mut self,
        tagged: Option<(Digest, String)>,
        repository: (&Remote, Timestamp),
        store: &Store,
        serial: Serial,
        now: Timestamp,
    ) {
        let (remote, valid_until) = repository;
        // A server may write the same timestamp in another way: its tag is not one for what is held.
        let tagged = tagged.filter(|(answered, _)| store.timestamp_digest() == Some(*answered));
        self.state.refreshed = tagged.map(|(timestamp, etag)| Refreshed {
            at: now,
            url: remote.location.timestamp(),
            etag,
            timestamp,
            pinned_root: Digest::of(&self.settings.pinned_root),
            valid_until,
            serial,
        });
    }
}

/// What of a repository is noted.
pub(super) fn tag_and_end(repository: &Repository) -> (Option<(Digest, String)>, Timestamp) {
    (repository.tagged().cloned(), repository.verified().valid_until())
}
