//! The poll that finds nothing new, which nearly every poll is: one request, answered with 304.
//!
//! A 304 proves nothing by itself: whoever stands in the server's place can say it. It ends a poll only as long as what was
//! verified and is here still vouches for itself, and a day after the last full refresh at the latest.

use bundles::{Digest, Serial};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use url::Url;

use super::attempt::Attempt;
use super::{Outcome, Trigger, UpdateError};
use crate::apply;
use crate::repository::{Repository, Store, TimestampAnswer};
use crate::settings::Remote;

/// New roots show in a full refresh alone, and so does a server that answers 304 to everything.
const FULL_REFRESH_WITHIN: SignedDuration = SignedDuration::from_hours(24);

/// What the last full refresh came to, so that the next poll may do without one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refreshed {
    /// When it was made.
    pub at: Timestamp,
    /// The timestamp's URL, which says server and repository.
    pub url: Url,
    /// The tag that the server had for the timestamp.
    pub etag: String,
    /// The timestamp that is held.
    pub timestamp: Digest,
    /// The root that was pinned.
    pub pinned_root: Digest,
    /// When the first of the verified metadata ends.
    pub valid_until: Timestamp,
    /// The newest release.
    pub serial: Serial,
}

impl Refreshed {
    /// Whether a 304 may stand for a refresh at `now`, by time alone. `floor` is the newest time that is vouched for: a clock
    /// before it is wrong.
    fn is_fresh(&self, now: Timestamp, floor: Option<Timestamp>) -> bool {
        let age = now.duration_since(self.at);
        !age.is_negative() && age < FULL_REFRESH_WITHIN && floor.map_or(now, |floor| now.max(floor)) < self.valid_until
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    #[test]
    fn it_is_fresh_for_a_day_and_never_beyond_its_end_or_before_its_time() {
        const DAY: i64 = 86_400;
        let refreshed = |valid_for| Refreshed {
            at: at(0),
            url: Url::parse("https://feed.example/repo/metadata/timestamp.json").unwrap(),
            etag: "\"a\"".to_owned(),
            timestamp: Digest::of(b""),
            pinned_root: Digest::of(b""),
            valid_until: at(valid_for),
            serial: Serial::FIRST,
        };
        let long = refreshed(7 * DAY);
        assert!(long.is_fresh(at(0), None) && long.is_fresh(at(DAY - 1), Some(at(-DAY))));
        assert!(!long.is_fresh(at(DAY), None), "a day is over");
        assert!(!long.is_fresh(at(-1), None), "the clock was set back");
        assert!(!long.is_fresh(at(1), Some(at(7 * DAY))), "the clock is known to be behind its end");
        let short = refreshed(60);
        assert!(short.is_fresh(at(59), None) && !short.is_fresh(at(60), None), "expired");
        assert!(!short.is_fresh(at(59), Some(at(60))));
    }
}
