//! How long signed metadata lasts, and how old it gets before it is renewed (design, section 6).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{PublishError, Repository, Role};

/// A role's life from its signing, and the age at which it is signed anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) life: SignedDuration,
    pub(super) renew_at: SignedDuration,
}

const fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

impl Term {
    pub(super) fn of(repository: Repository, role: Role, valid_for: Duration) -> Self {
        // The configuration holds it to years; more than jiff can hold is more than any time.
        let valid_for = SignedDuration::try_from(valid_for).unwrap_or(SignedDuration::MAX);
        match (repository, role) {
            (Repository::Online, Role::Timestamp) => Self { life: days(7), renew_at: SignedDuration::from_hours(6) },
            // Renewed with a third of life left: time for an operator to notice that it is not.
            (Repository::Online, Role::Snapshot) => Self::with_a_third_left(days(14)),
            (Repository::Online, Role::Targets) => Self::with_a_third_left(days(90)),
            (Repository::Online, Role::Root) => Self::with_a_third_left(days(365)),
            // A bundle lasts as long as these still do when it is made, so they are kept young: a twelfth of
            // `valid_for` is a week of 90 days.
            (Repository::Offline, Role::Timestamp | Role::Snapshot) => {
                Self { life: valid_for, renew_at: valid_for / 12 }
            }
            // As online, and never the first to end in a bundle.
            (Repository::Offline, Role::Targets) => Self::with_a_third_left(days(90)).and(valid_for),
            (Repository::Offline, Role::Root) => Self::with_a_third_left(days(365)).and(valid_for),
        }
    }

    fn with_a_third_left(life: SignedDuration) -> Self {
        Self { life, renew_at: life / 3 * 2 }
    }

    fn and(self, more: SignedDuration) -> Self {
        Self { life: self.life.saturating_add(more), ..self }
    }

    pub(super) fn expires(&self, now: Timestamp) -> Result<Timestamp, PublishError> {
        now.checked_add(self.life).map_err(PublishError::Time)
    }

    /// When what expires then is to be signed anew.
    pub(super) fn due_at(&self, expires: Timestamp) -> Timestamp {
        let signed = expires.checked_sub(self.life).unwrap_or(Timestamp::MIN);
        signed.checked_add(self.renew_at).unwrap_or(Timestamp::MAX)
    }

    /// Whether that time has come. Not where it was signed in the future: then this machine's clock is wrong or was, and
    /// what is served now lasts longer than what would take its place.
    pub(super) fn is_due(&self, expires: Timestamp, now: Timestamp) -> bool {
        now >= self.due_at(expires)
    }
}
