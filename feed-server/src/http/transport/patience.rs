//! How long a slow client is waited for: not for the whole of what it does, which may be large, but for how much slower than
//! a rate it is.

use std::time::Duration;

/// Time that may be spent waiting, spent by waits and earned back by bytes: whoever is above the rate never runs out of it,
/// whoever stops has all of it, and whoever trickles a little longer than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    most: Duration,
    left: Duration,
    rate: u32,
}

impl Patience {
    /// At most that much, earned back at `rate` bytes a second.
    #[must_use]
    pub fn new(most: Duration, rate: u32) -> Self {
        Self { most, left: most, rate: rate.max(1) }
    }

    /// What is left of it.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.left
    }

    /// So many bytes moved, after a wait of that long.
    pub fn moved(&mut self, waited: Duration, bytes: usize) {
        let micros = (bytes as u64).saturating_mul(1_000_000) / u64::from(self.rate);
        let earned = Duration::from_micros(micros);
        self.left = self.left.saturating_sub(waited).saturating_add(earned).min(self.most);
    }
}
