//! Cool-downs: for how long, of what, and when they end.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::upstream::proxy::{Proxies, Proxy};

/// After 429 or 403 without a word on how long. An hour is less than the two between runs, so that one refusal costs no
/// scheduled run; and no more than 24 requests a day reach a server that refuses for good.
pub const DEFAULT_PAUSE: Duration = Duration::from_hours(1);

/// However short the pause that upstream asks for: `Retry-After: 0` is no invitation to hammer.
pub const SHORTEST_PAUSE: Duration = Duration::from_mins(1);

/// However long the pause that upstream asks for: a hostile or mistaken value must not silence the mirror for a year.
pub const LONGEST_PAUSE: Duration = Duration::from_hours(24);

/// As the schedule: more than NTP ever steps a running clock, so that a small step ends no cool-down of full length.
const STEP_TOLERATED: Duration = Duration::from_mins(5);

const HTTPS: u16 = 443;

/// What a cool-down belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The index's URL, also where it was the URL of an archive that answered so.
    pub url: String,
    /// The proxy by its identity; absent where the index's host is asked without one.
    pub proxy: Option<String>,
}

impl Source {
    /// An index by its URL, asked by way of `proxies`.
    #[must_use]
    pub fn new(url: &Url, proxies: &Proxies) -> Self {
        let port = url.port_or_known_default().unwrap_or(HTTPS);
        let proxy = proxies.route(url.host_str().unwrap_or_default(), port);
        Self { url: url.to_string(), proxy: proxy.map(Proxy::identity) }
    }
}

/// A source that is left alone for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cooldown {
    /// [`Source::url`]
    pub url: String,
    /// [`Source::proxy`]
    pub proxy: Option<String>,
    /// When it began.
    pub since: Timestamp,
    /// When it is over.
    pub until: Timestamp,
    /// The HTTP status that began it.
    pub status: u16,
    /// How long upstream asked to wait, where it said so.
    pub asked: Option<Duration>,
}

/// Why a cool-down ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Its time is over.
    Over,
    /// Neither the configuration nor the environment leads to that URL by that proxy any more.
    Changed,
    /// The clock was turned back so far that it would last longer than any pause does.
    ClockTurnedBack,
}

impl Ending {
    /// For logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Over => "its time is over",
            Self::Changed => "the URL or the proxy is another one now",
            Self::ClockTurnedBack => "the clock was turned back",
        }
    }
}

impl Cooldown {
    /// The one that begins at `now`, after an answer with `status` that asked to wait as long as `asked`.
    #[must_use]
    pub fn new(source: &Source, status: u16, asked: Option<Duration>, now: Timestamp) -> Self {
        let pause = asked.map_or(DEFAULT_PAUSE, |asked| asked.clamp(SHORTEST_PAUSE, LONGEST_PAUSE));
        let until = SignedDuration::try_from(pause)
            .ok()
            .and_then(|pause| now.checked_add(pause).ok())
            .unwrap_or(Timestamp::MAX);
        Self { url: source.url.clone(), proxy: source.proxy.clone(), since: now, until, status, asked }
    }

    /// Whether it is that source's.
    #[must_use]
    pub fn is_of(&self, source: &Source) -> bool {
        self.url == source.url && self.proxy == source.proxy
    }

    /// Whether it holds at `now`.
    #[must_use]
    pub fn is_in_effect(&self, now: Timestamp) -> bool {
        self.until > now && !self.is_too_far(now)
    }

    /// Why it no longer holds, where it does not.
    #[must_use]
    pub fn ending(&self, sources: &[Source], now: Timestamp) -> Option<Ending> {
        if self.until <= now {
            Some(Ending::Over)
        } else if self.is_too_far(now) {
            Some(Ending::ClockTurnedBack)
        } else if !sources.iter().any(|source| self.is_of(source)) {
            Some(Ending::Changed)
        } else {
            None
        }
    }

    fn is_too_far(&self, now: Timestamp) -> bool {
        let longest = LONGEST_PAUSE + STEP_TOLERATED;
        Duration::try_from(self.until.duration_since(now)).is_ok_and(|left| left > longest)
    }
}
