//! Why a source is not asked at all.

use bundles::{Reason, Reasoned};
use jiff::{SignedDuration, Timestamp};
use url::Url;

use super::{Cooldown, PasswordState, RefusedPassword};
use crate::upstream::shown;

/// Why a source is not asked. No connection was opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Held {
    /// It cools down.
    #[error(
        "{url}{} is left alone until {until:.0} ({} from now): at {since:.0} it answered with status {status}{}; \
         `feed-server sync --ignore-cooldown` asks once all the same",
        by(.proxy.as_ref()), span(*.left), asking(.asked.as_ref())
    )]
    Cooldown {
        /// The index's URL, as it may be shown.
        url: String,
        /// The proxy's identity.
        proxy: Option<String>,
        /// When it began.
        since: Timestamp,
        /// When it is over.
        until: Timestamp,
        /// How long that is from now.
        left: SignedDuration,
        /// The status that began it.
        status: u16,
        /// How long upstream asked to wait.
        asked: Option<SignedDuration>,
    },
    /// The proxy refused the credentials.
    #[error(
        "not tried again, since the proxy {proxy} refused the user name and password at {at:.0}, and accounts get \
         locked; mend [upstream.proxy] password_file or username, or ask with `feed-server sync`, which tries once"
    )]
    PasswordRefused {
        /// The proxy's identity.
        proxy: String,
        /// When.
        at: Timestamp,
    },
    /// The proxy asked for credentials and there were none.
    #[error(
        "not tried again, since the proxy {proxy} asked for a user name and a password at {at:.0} and none are \
         configured; set [upstream.proxy] username and password_file, or ask with `feed-server sync`, which tries once"
    )]
    PasswordMissing {
        /// The proxy's identity.
        proxy: String,
        /// When.
        at: Timestamp,
    },
    /// Nobody knows what the proxy said.
    #[error(
        "not tried again: the run that sent the user name and password to the proxy {proxy} at {at:.0} was cut off \
         before the answer was known, and accounts get locked; ask with `feed-server sync`, which tries once"
    )]
    PasswordUnknown {
        /// The proxy's identity.
        proxy: String,
        /// When.
        at: Timestamp,
    },
}

impl Held {
    /// By a cool-down.
    #[must_use]
    pub fn by_cooldown(cooldown: &Cooldown, now: Timestamp) -> Self {
        Self::Cooldown {
            url: cooldown.shown_url(),
            proxy: cooldown.proxy.clone(),
            since: cooldown.since,
            until: cooldown.until,
            left: cooldown.until.duration_since(now),
            status: cooldown.status,
            asked: cooldown.asked.and_then(|asked| SignedDuration::try_from(asked).ok()),
        }
    }

    /// By a password that is not to be tried.
    #[must_use]
    pub fn by_password(refused: &RefusedPassword) -> Self {
        let (proxy, at) = (refused.proxy.clone(), refused.at);
        match (refused.state, refused.had_credentials) {
            (PasswordState::Tried, _) => Self::PasswordUnknown { proxy, at },
            (PasswordState::Refused, true) => Self::PasswordRefused { proxy, at },
            (PasswordState::Refused, false) => Self::PasswordMissing { proxy, at },
        }
    }
}

impl Cooldown {
    /// Its URL as people may see it: without user info and query.
    #[must_use]
    pub fn shown_url(&self) -> String {
        Url::parse(&self.url).map_or_else(|_| String::new(), |url| shown(&url))
    }
}

impl Reasoned for Held {
    fn reason(&self) -> Reason {
        match self {
            Self::Cooldown { .. } => Reason::Cooldown,
            Self::PasswordRefused { .. } | Self::PasswordMissing { .. } | Self::PasswordUnknown { .. } => {
                Reason::ProxyAuth
            }
        }
    }
}

fn by(proxy: Option<&String>) -> String {
    proxy.map_or_else(String::new, |proxy| format!(" (by the proxy {proxy})"))
}

fn asking(asked: Option<&SignedDuration>) -> String {
    asked.map_or_else(String::new, |asked| format!(" and asked to wait {}", span(*asked)))
}

/// A span of time for people, in its two largest units.
#[must_use]
pub fn span(span: SignedDuration) -> String {
    let seconds = span.as_secs().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let units = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds % 60, "s")];
    let largest = units.iter().position(|(count, _)| *count > 0).unwrap_or(units.len() - 1);
    let told = units[largest..].iter().take(2).enumerate().filter(|(at, (count, _))| *at == 0 || *count > 0);
    told.map(|(_, (count, unit))| format!("{count} {unit}")).collect::<Vec<_>>().join(" ")
}
