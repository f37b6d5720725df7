//! Who is logged in to the console. In memory alone: a restart logs everybody out, and a copy of the data directory lets nobody in.
//!
//! A session holds no right of its own. It stands for a token, which is looked at again at each request: a token that is revoked, or
//! has ended, takes its sessions with it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bundles::Digest;
use subtle::ConstantTimeEq as _;

/// A session that nobody used for so long has been left alone on a screen.
pub const IDLE: Duration = Duration::from_hours(1);

/// However much it is used: one shift, and the way home.
pub const LONGEST: Duration = Duration::from_hours(12);

/// Sessions at one time, some hundred bytes each: everybody of a large team with a browser or two. Each takes a good token, so what
/// comes beyond ends the one that was left alone for longest.
const MOST: usize = 1_000;

/// Of a session's id and of its proof, which nobody guesses.
const RANDOM_BYTES: usize = 32;

/// A random text that stands for something. Its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    fn new() -> Self {
        Self(URL_SAFE_NO_PAD.encode(rand::random::<[u8; RANDOM_BYTES]>()))
    }

    /// The text.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether it is this text; takes the same time whether or not.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What is known of a session.
#[derive(Debug, Clone)]
pub struct Session {
    /// SHA-256 of the token that it stands for.
    pub token: Digest,
    /// What its forms carry, so that no other site can post them (CSRF).
    pub proof: Secret,
    began: Instant,
    used: Instant,
}

impl Session {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.used) >= IDLE || now.saturating_duration_since(self.began) >= LONGEST
    }
}

/// The sessions, by the SHA-256 of their ids: what is in memory opens none.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<Digest, Session>>);

impl Sessions {
    /// Opens one for the holder of a token; its id, for the cookie.
    #[must_use]
    pub fn open(&self, token: Digest, now: Instant) -> Secret {
        let id = Secret::new();
        let mut sessions = self.lock();
        sessions.retain(|_, session| !session.is_over(now));
        if sessions.len() >= MOST {
            let left_alone = sessions.iter().min_by_key(|(_, session)| session.used).map(|(id, _)| *id);
            left_alone.map(|id| sessions.remove(&id));
        }
        sessions.insert(digest(id.reveal()), Session { token, proof: Secret::new(), began: now, used: now });
        id
    }

    /// The session with this id, unless it is over. `is_use` says whether a person did something, and not a page by itself.
    #[must_use]
    pub fn find(&self, id: &str, is_use: bool, now: Instant) -> Option<Session> {
        let id = digest(id);
        let mut sessions = self.lock();
        let session = sessions.get_mut(&id)?;
        if session.is_over(now) {
            sessions.remove(&id);
            return None;
        }
        if is_use {
            session.used = now;
        }
        Some(session.clone())
    }

    /// Ends one.
    pub fn close(&self, id: &str) {
        self.lock().remove(&digest(id));
    }

    /// Ends all that stand for a token.
    pub fn close_all_of(&self, token: &Digest) {
        self.lock().retain(|_, session| session.token != *token);
    }

    // A panic elsewhere leaves nothing half-written in here.
    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn digest(id: &str) -> Digest {
    Digest::of(id.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    #[test]
    fn a_session_ends_when_it_is_left_alone_or_a_shift_is_over() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let minutes = |minutes| start + Duration::from_mins(minutes);
        let id = sessions.open(token("ops"), start);
        assert!(sessions.find(id.reveal(), false, minutes(59)).is_some());
        assert!(
            sessions.find(id.reveal(), true, minutes(60)).is_none(),
            "what pages fetch by themselves is no use of it"
        );

        let id = sessions.open(token("ops"), start);
        assert!((0..24).all(|half| sessions.find(id.reveal(), true, minutes(half * 30)).is_some()));
        assert!(sessions.find(id.reveal(), true, minutes(12 * 60)).is_none());
    }

    #[test]
    fn it_is_found_by_its_id_alone_and_until_it_is_closed() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let (one, other) = (sessions.open(token("ops"), now), sessions.open(token("ops"), now));
        let proof = sessions.find(one.reveal(), true, now).unwrap().proof;
        let other_proof = sessions.find(other.reveal(), true, now).unwrap().proof;
        assert!(proof.is(proof.reveal()) && !proof.is(other_proof.reveal()) && !proof.is(""));
        assert!(sessions.find(proof.reveal(), true, now).is_none() && sessions.find("", true, now).is_none());
        sessions.close(one.reveal());
        assert!(sessions.find(one.reveal(), true, now).is_none());
        sessions.close_all_of(&token("other"));
        assert!(sessions.find(other.reveal(), true, now).is_some());
        sessions.close_all_of(&token("ops"));
        assert!(sessions.find(other.reveal(), true, now).is_none());
    }

    #[test]
    fn there_are_no_more_than_may_be() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let first = sessions.open(token("ops"), start);
        let ids: Vec<_> =
            (1..=MOST as u64).map(|n| sessions.open(token("ops"), start + Duration::from_millis(n))).collect();
        let now = start + Duration::from_secs(2);
        assert_eq!(sessions.lock().len(), MOST);
        assert!(sessions.find(first.reveal(), true, now).is_none(), "the one that was left alone for longest goes");
        assert!(ids.iter().all(|id| sessions.find(id.reveal(), true, now).is_some()));
    }

    #[test]
    fn nothing_of_them_is_shown() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let id = sessions.open(token("ops"), now);
        let session = sessions.find(id.reveal(), true, now).unwrap();
        let shown = format!("{id:?} {session:?} {sessions:?}");
        assert!(!shown.contains(id.reveal()) && !shown.contains(session.proof.reveal()), "{shown}");
    }
}
