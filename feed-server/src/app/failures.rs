//! Guessing tokens is refused for a while, by where it comes from. Only failures count and only failures are refused: a good token
//! is looked at first, so that nobody is kept out by whoever else is behind the same address.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::refusals::Source;

/// Failures that one source has at once: a fleet's worth of typing errors, and no guessing.
const AT_ONCE: u32 = 10;

/// After that, one more for each of these: ten a minute.
const ONE_MORE_EVERY: Duration = Duration::from_secs(6);

/// Sources that are told apart at one time, some hundred bytes each. Those beyond share what one has, so that whoever has many
/// addresses gains nothing by it.
const MOST_SOURCES: usize = 10_000;

/// What was refused lately, by source.
#[derive(Debug, Default)]
pub struct Failures(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    sources: HashMap<Source, Bucket>,
    others: Option<Bucket>,
}

/// A token bucket (of the kind that is emptied), as the moment at which it is full again.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    full_at: Instant,
}

impl Failures {
    /// Counts a failure of a source. Where it had too many, how long it has to wait before one more is looked at.
    ///
    /// # Errors
    /// That time, rounded up to a second.
    pub fn count(&self, from: Source, now: Instant) -> Result<(), Duration> {
        // A panic elsewhere leaves nothing half-written in here.
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if table.sources.len() >= MOST_SOURCES && !table.sources.contains_key(&from) {
            table.sources.retain(|_, bucket| bucket.full_at > now);
        }
        let has_room = table.sources.len() < MOST_SOURCES || table.sources.contains_key(&from);
        let full = Bucket { full_at: now };
        let bucket =
            if has_room { table.sources.entry(from).or_insert(full) } else { table.others.get_or_insert(full) };
        bucket.take(now)
    }
}

impl Bucket {
    fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let until_full = self.full_at.saturating_duration_since(now);
        let after = until_full + ONE_MORE_EVERY;
        let whole = ONE_MORE_EVERY * AT_ONCE;
        if after > whole {
            let wait = after - whole;
            return Err(Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)));
        }
        self.full_at = now + after;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn source(number: u32) -> Source {
        Source::from(IpAddr::V4(Ipv4Addr::from(number)))
    }

    #[test]
    fn ten_at_once_and_then_one_every_six_seconds() {
        let (failures, start) = (Failures::default(), Instant::now());
        for _ in 0..AT_ONCE {
            assert_eq!(failures.count(source(1), start), Ok(()));
        }
        assert_eq!(failures.count(source(1), start), Err(Duration::from_secs(6)));
        assert_eq!(failures.count(source(2), start), Ok(()), "others are not kept out");
        let later = start + Duration::from_millis(3_500);
        assert_eq!(failures.count(source(1), later), Err(Duration::from_secs(3)));
        let later = start + ONE_MORE_EVERY;
        assert_eq!(failures.count(source(1), later), Ok(()));
        assert!(failures.count(source(1), later).is_err());
        let much_later = start + Duration::from_hours(1);
        assert!((0..AT_ONCE).all(|_| failures.count(source(1), much_later).is_ok()));
    }

    #[test]
    fn an_ipv6_customer_is_one_source() {
        let (failures, start) = (Failures::default(), Instant::now());
        let at = |host: u16| Source::from(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 7, 0, 0, 0, host)));
        assert_eq!((0..100).filter(|host| failures.count(at(*host), start).is_ok()).count(), AT_ONCE as usize);
    }

    #[test]
    fn many_sources_gain_nothing_beyond_those_that_are_told_apart() {
        let (failures, start) = (Failures::default(), Instant::now());
        let most = u32::try_from(MOST_SOURCES).unwrap();
        let let_in = (0..most + 1_000).filter(|number| failures.count(source(*number), start).is_ok()).count();
        assert_eq!(let_in, MOST_SOURCES + AT_ONCE as usize);
        assert_eq!(failures.0.lock().unwrap().sources.len(), MOST_SOURCES);
        let later = start + Duration::from_mins(2);
        assert_eq!(failures.count(source(most + 1), later), Ok(()), "who was quiet makes room");
        assert_eq!(failures.0.lock().unwrap().sources.len(), 1);
    }

    proptest! {
        #[test]
        fn no_source_has_more_than_its_rate(waits in proptest::collection::vec(0_u64..20_000, 1..200)) {
            let (failures, start) = (Failures::default(), Instant::now());
            let (mut now, mut let_in) = (start, 0_u128);
            for wait in waits {
                now += Duration::from_millis(wait);
                let_in += u128::from(failures.count(source(1), now).is_ok());
                let most = u128::from(AT_ONCE) + (now - start).as_millis() / ONE_MORE_EVERY.as_millis();
                prop_assert!(let_in <= most, "{let_in} of {most}");
            }
        }
    }
}
