//! When to poll. Pure: time and randomness are arguments, and a timer only wakes this.

use std::time::Duration;

use bundles::Reason;
use jiff::{SignedDuration, Timestamp};

/// The first poll after a start waits at most this long: a site whose power comes back must not have all its headends
/// ask in the same instant, and an operator who just started the service wants to see it work.
const FIRST_POLL_WITHIN: Duration = Duration::from_secs(10);

/// The wait after the first failure; it doubles with each further one, up to the interval.
const FIRST_RETRY: Duration = Duration::from_secs(60);

/// A server that asks everybody to come back in two minutes would get everybody at once in two minutes: what it asks for is
/// the least, and whoever was asked comes within at least this long after it.
const SPREAD_OF_THE_ASKED: Duration = Duration::from_secs(300);

/// How often to poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rhythm {
    /// Between two polls, on average.
    pub every: Duration,
    /// The width of the window, centred on [`Rhythm::every`], over which polls are spread evenly.
    pub jitter: Duration,
}

/// When the first poll after a start is due: right away, spread over some seconds.
#[must_use]
pub fn first_poll(now: Timestamp, rhythm: Rhythm, random: f64) -> Timestamp {
    later(now, rhythm.jitter.min(rhythm.every).min(FIRST_POLL_WITHIN).mul_f64(part(random)))
}

/// A poll that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// Why.
    pub reason: Reason,
    /// How many in a row have, this one included.
    pub in_a_row: u32,
    /// How long the server asked to be left alone.
    pub wait: Option<Duration>,
}

/// The rhythm after a start, up to the first poll that succeeds. Whatever started a fleet in one moment (power that came back, an update of
/// the program) would have it poll in one moment ever after, and jitter alone takes days to undo that: so the next poll
/// comes anywhere between half an interval and one and a half.
#[must_use]
pub fn after_start(rhythm: Rhythm) -> Rhythm {
    Rhythm { jitter: rhythm.every, ..rhythm }
}

/// When the next poll is due after one that ended at `now`. Failures that may heal by themselves are retried with growing
/// waits, up to the interval, and not before the server asked for; the others wait for the interval, since nobody but a
/// person can change the outcome.
#[must_use]
pub fn next_poll(now: Timestamp, rhythm: Rhythm, failed: Option<Failed>, random: f64) -> Timestamp {
    let wait = match failed {
        Some(failed) if failed.reason.worth_a_retry() => retry(rhythm, failed, part(random)),
        Some(_) | None => {
            let half_window = rhythm.jitter.min(rhythm.every) / 2;
            rhythm.every - half_window + half_window.mul_f64(2.0 * part(random))
        }
    };
    later(now, wait)
}

/// Clients that failed together must not come back together: whatever a wait is made of, it is spread over at least a third
/// of itself, jitter or none. At most one and a half intervals.
fn retry(rhythm: Rhythm, Failed { in_a_row, wait, .. }: Failed, random: f64) -> Duration {
    // 2^16 minutes is beyond any interval; the exponent is capped so that the product cannot overflow.
    let growing = (FIRST_RETRY * (1 << in_a_row.saturating_sub(1).min(16))).min(rhythm.every);
    let own = growing.mul_f64(0.5 + random / 2.0);
    let Some(asked) = wait else { return own };
    // Nobody is told to stay away for ever.
    let asked = asked.min(rhythm.every);
    let spread = (asked / 2).max(growing).max(SPREAD_OF_THE_ASKED).min(rhythm.every / 2);
    own.max(asked + spread.mul_f64(random))
}

/// How long to wait at `now` for a poll due at `next`. A due time further ahead than any rhythm allows means that the
/// clock was set back meanwhile: then the poll is due at once, instead of in a year.
#[must_use]
pub fn wait(now: Timestamp, next: Timestamp, rhythm: Rhythm) -> Duration {
    let ahead = Duration::try_from(next.duration_since(now)).unwrap_or(Duration::ZERO);
    if ahead > rhythm.every + rhythm.every / 2 { Duration::ZERO } else { ahead }
}

/// Randomness from outside is taken as it comes, but never out of its range.
pub(crate) fn part(random: f64) -> f64 {
    if random.is_finite() { random.clamp(0.0, 1.0) } else { 0.5 }
}

fn later(now: Timestamp, wait: Duration) -> Timestamp {
    SignedDuration::try_from(wait).ok().and_then(|wait| now.checked_add(wait).ok()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
