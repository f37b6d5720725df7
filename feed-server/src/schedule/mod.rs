//! When to run: one pure function. Timers and "update now" only wake whoever asks it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::config::Schedule;
use crate::store::records::{Outcome, RunRecord, Trigger};

#[cfg(test)]
mod tests;

/// The wait before the first retry; it doubles with each further failure in a row. Short, because most failures of a
/// network pass within a minute.
const FIRST_RETRY: Duration = Duration::from_mins(1);

/// A stored time may lie this far ahead of the clock before the clock is taken to have been turned back: more than NTP
/// ever steps a running clock, less than any sensible interval.
const STEP_TOLERATED: SignedDuration = SignedDuration::from_mins(5);

/// What decides when the next run is due; all but the last is kept by the store, so that a restart changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleState {
    /// When the server first started on this data directory: the initial delay counts from here, once.
    pub first_start: Timestamp,
    /// The newest run, whoever asked for it.
    pub last_attempt: Option<Attempt>,
    /// When the newest run that was not a retry began: retries must not push the schedule ahead of them.
    pub last_scheduled: Option<Timestamp>,
    /// How many runs in a row failed, the newest among them.
    pub consecutive_failures: u32,
    /// Whether there is no release at all and nothing was tried since this process started: whoever starts a server that
    /// has nothing to serve has most likely mended why.
    pub start_owes_a_run: bool,
    /// Where every source cools down: until when.
    pub cooling_until: Option<Timestamp>,
}

/// A run that ended, or was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// When it began.
    pub started: Timestamp,
    /// When it ended; where that is not known, when it began.
    pub ended: Timestamp,
    /// Whether it failed for a reason that may pass by itself.
    pub worth_a_retry: bool,
}

/// The answer of [`due`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Run now, for this reason.
    Now(Trigger),
    /// Nothing to do before this time.
    At(Timestamp),
}

impl ScheduleState {
    /// From the runs, newest first, as far back as the last one that succeeded. Unfinished ones are ignored: startup
    /// has given an end to those that were cut off.
    #[must_use]
    pub fn from_runs<'a>(
        first_start: Timestamp,
        start_owes_a_run: bool,
        runs: impl IntoIterator<Item = &'a RunRecord>,
    ) -> Self {
        let mut state = Self {
            first_start,
            last_attempt: None,
            last_scheduled: None,
            consecutive_failures: 0,
            start_owes_a_run,
            cooling_until: None,
        };
        let mut failing = true;
        for run in runs {
            let Some(outcome) = &run.outcome else { continue };
            let ended = run.ended.unwrap_or(run.started);
            state.last_attempt.get_or_insert(Attempt {
                started: run.started,
                ended,
                worth_a_retry: outcome.reason().is_some_and(bundles::Reason::worth_a_retry),
            });
            match outcome {
                Outcome::Failed { .. } if failing => {
                    state.consecutive_failures = state.consecutive_failures.saturating_add(1);
                }
                Outcome::Failed { .. } | Outcome::Released { .. } | Outcome::Unchanged | Outcome::Held { .. } => {
                    failing = false;
                }
            }
            match run.trigger {
                Trigger::Schedule | Trigger::Operator => {
                    state.last_scheduled = state.last_scheduled.or(Some(run.started));
                }
                Trigger::Retry => {}
            }
            if !failing && state.last_scheduled.is_some() {
                break;
            }
        }
        state
    }

    /// The same, but every source cools down until then.
    #[must_use]
    pub fn cooling_until(self, cooling_until: Option<Timestamp>) -> Self {
        Self { cooling_until, ..self }
    }
}

/// Whether a run is due at `now`, and else when. `jitter`, from 0 up to 1, is drawn once for each attempt: it spreads
/// the retries of many servers that lost the same upstream at the same moment.
///
/// - Before the first run: the initial delay after the first start.
/// - Then every `every` after the newest run that was not a retry.
/// - After a failure that may pass by itself also: 1, 2, 4, … minutes after its end, lengthened by up to a half, at most
///   half the interval.
/// - While there is no release, a start owes a run, whatever the last one failed of: at once where that ended a first
///   retry's wait ago, else when that wait is over. So a program that is restarted for ever asks upstream no more often
///   than retries do.
/// - A stored time that lies ahead of the clock (it was turned back) makes a run due at once, so nothing stalls.
/// - While every source cools down, nothing of all that begins before the first of them may be asked again.
#[must_use]
pub fn due(now: Timestamp, state: &ScheduleState, schedule: &Schedule, jitter: f64) -> Due {
    let due = due_by_runs(now, state, schedule, jitter);
    match (state.cooling_until.filter(|until| *until > now), due) {
        (Some(until), Due::At(at)) => Due::At(at.max(until)),
        (Some(until), Due::Now(_)) => Due::At(until),
        (None, due) => due,
    }
}

fn due_by_runs(now: Timestamp, state: &ScheduleState, schedule: &Schedule, jitter: f64) -> Due {
    let Some(attempt) = &state.last_attempt else {
        return match after(now, state.first_start, schedule.initial_delay) {
            Some(at) => Due::At(at),
            None => Due::Now(Trigger::Schedule),
        };
    };
    let base = state.last_scheduled.unwrap_or(attempt.started);
    let Some(scheduled) = after(now, base, schedule.every) else { return Due::Now(Trigger::Schedule) };
    let mut next = scheduled;
    if state.start_owes_a_run {
        match after(now, attempt.ended, retry_wait(1, schedule.every, jitter)) {
            Some(at) => next = next.min(at),
            None => return Due::Now(Trigger::Schedule),
        }
    }
    if attempt.worth_a_retry {
        match after(now, attempt.ended, retry_wait(state.consecutive_failures, schedule.every, jitter)) {
            Some(at) => next = next.min(at),
            None => return Due::Now(Trigger::Retry),
        }
    }
    Due::At(next)
}

/// `base + wait` where that is still to come and `base` is credible; `None` where the time has come.
fn after(now: Timestamp, base: Timestamp, wait: Duration) -> Option<Timestamp> {
    if base.duration_since(now) > STEP_TOLERATED {
        return None;
    }
    let at = SignedDuration::try_from(wait).ok().and_then(|wait| base.checked_add(wait).ok()).unwrap_or(Timestamp::MAX);
    (at > now).then_some(at)
}

fn retry_wait(failures: u32, every: Duration, jitter: f64) -> Duration {
    // 2^20 minutes are two years: past every cap, and short of overflow.
    let doubled = FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(20));
    let lengthened = doubled.mul_f64(1.0 + jitter.clamp(0.0, 1.0) / 2.0);
    lengthened.min(every / 2)
}
