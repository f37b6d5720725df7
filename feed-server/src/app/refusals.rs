//! Refused attempts, counted: whoever knocks a thousand times leaves two records an hour, and a thousand who knock leave a
//! bounded number.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bundles::Reason;
use jiff::{SignedDuration, Timestamp};

use crate::store::Who;
use crate::store::audit::{Act, AuditResult, Doing, NewRecord};

/// Further attempts of one kind are counted for this long before they become one record.
const COUNTED_FOR: SignedDuration = SignedDuration::from_hours(1);

/// Kinds that are told apart at one time; what comes beyond is one more kind. Three thousand records a day at most.
const MOST_KINDS: usize = 64;

/// Whom requests come from, as far as an attacker cannot choose it: an IPv4 address, or an IPv6 network of 64 bits, which is what
/// one customer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(IpAddr);

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
        })
    }
}

/// Attempts that count as one and the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// By one, from one place, of one act.
    Of(Who, Option<Source>, Act, Reason),
    /// Whatever is beyond those that are told apart.
    More,
}

#[derive(Debug)]
struct Counted {
    first: NewRecord,
    since: Timestamp,
    more: u64,
}

/// The kinds of attempts that were refused in the last hour.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<BTreeMap<Kind, Counted>>);

impl Refusals {
    /// Counts an attempt; the record of it, where it is the first of its kind.
    pub fn note(&self, doing: Doing, reason: Reason, from: Option<Source>, now: Timestamp) -> Option<NewRecord> {
        let mut kinds = self.lock();
        let kind = Kind::Of(doing.who.clone(), from, doing.act, reason);
        let is_known = kinds.contains_key(&kind);
        let (kind, doing) = if is_known || kinds.len() < MOST_KINDS {
            (kind, doing)
        } else {
            let detail = "attempts from more places, or of more kinds, than are told apart";
            let doing = Doing { who: Who::Nobody, from: None, act: Act::Other, object: None, detail: None };
            (Kind::More, doing.with(detail))
        };
        if let Some(counted) = kinds.get_mut(&kind) {
            counted.more += 1;
            return None;
        }
        let first = NewRecord { is_refusal: true, ..NewRecord::new(doing, AuditResult::Failed(reason)) };
        kinds.insert(kind, Counted { first: first.clone(), since: now, more: 0 });
        Some(first)
    }

    /// Records of the further attempts of each kind whose hour is over, or of all kinds; these begin anew.
    pub fn ended(&self, now: Timestamp, all: bool) -> Vec<NewRecord> {
        let mut repeated = Vec::new();
        self.lock().retain(|_, counted| {
            // Also where the clock was turned back: nothing is counted for ever.
            let age = now.duration_since(counted.since).abs();
            if !all && age < COUNTED_FOR {
                return true;
            }
            if counted.more > 0 {
                let repeated_from = Some((counted.more, counted.since));
                // What each was done to is known of the first alone.
                let doing = Doing { object: None, ..counted.first.doing.clone() };
                repeated.push(NewRecord { doing, repeated: repeated_from, ..counted.first.clone() });
            }
            false
        });
        repeated
    }

    // A panic elsewhere leaves nothing half-written in here.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Kind, Counted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_750_000_000 + 60 * minute).unwrap()
    }

    fn source(text: &str) -> Source {
        Source::from(text.parse::<IpAddr>().unwrap())
    }

    fn knocks(object: &str) -> Doing {
        let who = Who::Nobody;
        Doing { who, from: Some("x".to_owned()), act: Act::Report, object: Some(object.to_owned()), detail: None }
    }

    #[test]
    fn sources_are_what_nobody_can_choose() {
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1:2:3"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
    }

    #[test]
    fn the_first_attempt_is_told_at_once_and_the_others_together() {
        let refusals = Refusals::default();
        let from = Some(source("192.0.2.1"));
        let first = refusals.note(knocks("a"), Reason::Unauthorized, from, at(0)).unwrap();
        assert_eq!((first.doing.object.as_deref(), first.repeated, first.is_refusal), (Some("a"), None, true));
        for minute in 1..10 {
            assert_eq!(refusals.note(knocks("b"), Reason::Unauthorized, from, at(minute)), None);
        }
        assert!(
            refusals.note(knocks("b"), Reason::RateLimited, from, at(9)).is_some(),
            "another reason is another kind"
        );
        assert_eq!(refusals.ended(at(59), false), []);
        let ended = refusals.ended(at(60), false);
        assert_eq!(ended.len(), 1);
        assert_eq!((ended[0].repeated, ended[0].doing.object.as_deref()), (Some((9, at(0))), None));
        assert!(refusals.note(knocks("a"), Reason::Unauthorized, from, at(61)).is_some(), "an hour begins anew");
        assert_eq!(refusals.ended(at(62), true), [], "nothing was repeated");
    }

    proptest! {
        #[test]
        fn whoever_knocks_and_however_often_leaves_few_records(
            knocked in proptest::collection::vec((any::<u32>(), 0_i64..59, "[a-z]{1,3}"), 0..2_000),
        ) {
            let refusals = Refusals::default();
            let mut told = 0;
            let mut counted = 0;
            for (address, minute, object) in &knocked {
                let from = Source::from(IpAddr::from(address.to_be_bytes()));
                let note = refusals.note(knocks(object), Reason::Unauthorized, Some(from), at(*minute));
                told += usize::from(note.is_some());
            }
            counted += told as u64;
            let ended = refusals.ended(at(120), false);
            counted += ended.iter().filter_map(|record| record.repeated).map(|(more, _)| more).sum::<u64>();
            prop_assert!(told <= MOST_KINDS + 1 && ended.len() <= MOST_KINDS + 1);
            prop_assert_eq!(counted, knocked.len() as u64, "each is counted once");
        }
    }
}
