//! Thousands of headends in one process, for benchmarks: real HTTP/1.1 over loopback, each on a connection of its own, and
//! each with what a headend keeps. What they hold in common is held once, and what they all receive is checked once and
//! compared after that, so that a machine of two cores has time left for the server.

mod headend;
mod replay;
mod wire;

pub use headend::{Held, Polled, Shared, Taking, poll};
pub use replay::{AtOnce, Outcome, Plan, replay, reports_at_once};
pub use wire::{Answer, Ask, Traffic, Wire};

use std::time::Duration;

use anyhow::Result;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that a benchmark and what it starts need besides connections.
const OTHER_FILES: u64 = 512;

/// Lets this process, and what it starts from now on, have as many files open as the system allows, and says how many
/// connections that leaves.
///
/// # Errors
/// The system does not allow what it said it would.
pub fn connections_allowed() -> Result<usize> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    let files = limit.maximum.unwrap_or(u64::MAX).saturating_sub(OTHER_FILES);
    Ok(usize::try_from(files).unwrap_or(usize::MAX))
}

/// Durations, to be looked at by rank.
#[derive(Debug, Clone, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The one that this part of them does not exceed, such as 0.99; zero where there are none.
    #[must_use]
    pub fn rank(&self, part: f64) -> Duration {
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank among some thousands"
        )]
        let rank = (self.0.len() as f64 * part).ceil() as usize;
        self.0.get(rank.clamp(1, self.0.len().max(1)) - 1).copied().unwrap_or_default()
    }
}

impl FromIterator<Duration> for Times {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        let mut times: Vec<_> = times.into_iter().collect();
        times.sort_unstable();
        Self(times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_those_of_the_sorted_times() {
        let times: Times = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(times.rank(0.5), Duration::from_millis(100));
        assert_eq!(times.rank(0.99), Duration::from_millis(198));
        assert_eq!(times.rank(1.0), Duration::from_millis(200));
        assert_eq!(Times::default().rank(0.99), Duration::ZERO);
    }
}
