//! What upstream and the proxy asked not to be asked: cool-downs after 429 and 403, and the password that the proxy
//! refused. Pure: time, sources and marks are arguments; whoever runs updates keeps the state in the store.

mod cooldown;
mod fallback;
mod held;
mod password;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use cooldown::{Cooldown, DEFAULT_PAUSE, Ending, LONGEST_PAUSE, SHORTEST_PAUSE, Source};
pub use fallback::another_source_may_help;
pub use held::{Held, span};
pub use password::{PasswordState, RefusedPassword};

/// Cool-downs that are kept. There is one for each source at most, and settling forgets those of sources that are no
/// longer configured; nobody configures this many.
const MAX_COOLDOWNS: usize = 64;

/// The state, as it is kept: a restart changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Manners {
    cooldowns: Vec<Cooldown>,
    password: Option<RefusedPassword>,
}

impl Manners {
    /// All that are remembered, over or not.
    #[must_use]
    pub fn cooldowns(&self) -> &[Cooldown] {
        &self.cooldowns
    }

    /// Those that are in effect at `now`.
    pub fn cooling(&self, now: Timestamp) -> impl Iterator<Item = &Cooldown> {
        self.cooldowns.iter().filter(move |cooldown| cooldown.is_in_effect(now))
    }

    /// The cool-down of a source, where it is in effect at `now`.
    #[must_use]
    pub fn cooldown(&self, source: &Source, now: Timestamp) -> Option<&Cooldown> {
        self.cooling(now).find(|cooldown| cooldown.is_of(source))
    }

    /// Where every one of `sources` cools down: the cool-down that is over first.
    #[must_use]
    pub fn all_cooling(&self, sources: &[Source], now: Timestamp) -> Option<&Cooldown> {
        let cooling: Option<Vec<_>> = sources.iter().map(|source| self.cooldown(source, now)).collect();
        cooling?.into_iter().min_by_key(|cooldown| cooldown.until)
    }

    /// A source asked for a pause. It replaces the one that the source had.
    pub fn pause(&mut self, cooldown: Cooldown) {
        self.cooldowns.retain(|known| (&known.url, &known.proxy) != (&cooldown.url, &cooldown.proxy));
        self.cooldowns.push(cooldown);
        if self.cooldowns.len() > MAX_COOLDOWNS {
            self.cooldowns.remove(0);
        }
    }

    /// A source answered well: its cool-down, where there was one.
    pub fn succeeded(&mut self, source: &Source) -> Option<Cooldown> {
        let at = self.cooldowns.iter().position(|cooldown| cooldown.is_of(source))?;
        Some(self.cooldowns.remove(at))
    }

    /// Forgets what no longer holds: cool-downs that are over, or of none of `sources`. Each with why it ended.
    pub fn settle(&mut self, sources: &[Source], now: Timestamp) -> Vec<(Cooldown, Ending)> {
        let mut ended = Vec::new();
        self.cooldowns.retain(|cooldown| {
            let ending = cooldown.ending(sources, now);
            ended.extend(ending.map(|ending| (cooldown.clone(), ending)));
            ending.is_none()
        });
        ended
    }

    /// The password that must not be tried again, or of which it is not known whether it may.
    #[must_use]
    pub fn password(&self) -> Option<&RefusedPassword> {
        self.password.as_ref()
    }

    /// What is remembered against the credentials that `proxy` would be sent now; `mark` gives their mark by a salt.
    #[must_use]
    pub fn refusal(&self, proxy: &str, mark: impl FnOnce(&str) -> String) -> Option<&RefusedPassword> {
        self.password.as_ref().filter(|known| known.proxy == proxy && known.mark == mark(&known.salt))
    }

    /// Credentials are about to be sent, or were refused. The former is to be kept before they are: a process that dies
    /// between the proxy's refusal and the note of it must not have them tried again.
    pub fn remember_password(&mut self, password: RefusedPassword) {
        self.password = Some(password);
    }

    /// The proxy took the credentials. Whether anything was remembered against them.
    pub fn accepted(&mut self) -> bool {
        self.password.take().is_some()
    }

    /// A run is over in which the proxy said nothing of the credentials, as where it was not reached: then they were not
    /// refused either. Whether that changed anything.
    pub fn not_refused(&mut self) -> bool {
        let is_open = self.password.as_ref().is_some_and(|password| password.state == PasswordState::Tried);
        if is_open {
            self.password = None;
        }
        is_open
    }
}
