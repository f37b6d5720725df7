//! Administrators' tokens: when they were last used, and which of them end.

use jiff::{SignedDuration, Timestamp};

use super::warnings::{Warning, WarningKind};
use super::{App, if_readable};
use crate::store::StoreError;
use crate::store::records::TokenRecord;
use crate::tokens::LastUses;

/// How long before its end a token is warned of: who uses it has to be found, and given another one.
pub const TOKEN_ENDS_SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// Whoever did not use a token for a month will not miss it: no warning.
const USED_LATELY: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How long one that ended is still warned of: what it was used for has stopped, and somebody is looking for the cause.
const ENDED_LATELY: SignedDuration = SignedDuration::from_hours(7 * 24);

impl App {
    /// When each token was last used, to the hour.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn token_uses(&self) -> Result<LastUses, StoreError> {
        Ok(self.uses.with(self.store.token_uses()?))
    }

    /// Writes down when tokens were last used, where that is news; what is revoked is forgotten.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub fn keep_token_uses(&self) -> Result<(), StoreError> {
        let _only = self.lock_changes();
        let kept = self.store.token_uses()?;
        let tokens = self.store.tokens()?;
        let mut uses = self.uses.with(kept.clone());
        uses.retain(|used, _| tokens.iter().any(|token| token.token == *used));
        if uses == kept { Ok(()) } else { self.store.put_token_uses(&uses) }
    }

    /// The tokens that are in use and end soon, or ended lately.
    pub(super) fn ending_tokens(&self) -> Vec<Warning> {
        let tokens = if_readable(self.store.tokens());
        let ends = tokens.iter().any(|token| token.expires.is_some());
        let uses = if ends { if_readable(self.token_uses()) } else { LastUses::new() };
        tokens.iter().filter_map(|token| ending(token, *uses.get(&token.token)?, self.now())).collect()
    }
}

fn ending(token: &TokenRecord, used: Timestamp, now: Timestamp) -> Option<Warning> {
    let expires = token.expires?;
    let left = expires.duration_since(now);
    // In use means: for as long as it could be.
    let is_used = now.min(expires).duration_since(used) <= USED_LATELY;
    if left > TOKEN_ENDS_SOON || left < -ENDED_LATELY || !is_used {
        return None;
    }
    let verb = if expires <= now { "ended" } else { "ends" };
    let message = format!(
        "the token {} {verb} at {expires}, and was last used in the hour after {used}; give whoever uses it another one \
         (`feed-server token add`), and revoke this one",
        token.name
    );
    let since = expires.checked_sub(TOKEN_ENDS_SOON).unwrap_or(expires).max(token.created);
    Some(Warning { kind: WarningKind::TokenExpiring, message, since })
}

#[cfg(test)]
mod tests {
    use bundles::Digest;

    use super::*;
    use crate::store::records::Scope;

    #[test]
    fn a_token_is_warned_of_while_somebody_uses_it_and_it_ends() {
        let day = |day: i64| Timestamp::from_second(1_750_000_000 + day * 86_400).unwrap();
        let mut token = TokenRecord {
            name: "ops".to_owned(),
            scope: Scope::Read,
            created: day(0),
            token: Digest::of(b"x"),
            expires: Some(day(365)),
            made_by: None,
        };
        for (used, now, is_warned) in [
            (350, 350, false),
            (350, 351, true),
            (321, 351, true),
            (320, 351, false),
            (364, 372, true),
            (364, 373, false),
        ] {
            assert_eq!(ending(&token, day(used), day(now)).is_some(), is_warned, "used on {used}, now {now}");
        }
        let warning = ending(&token, day(364), day(366)).unwrap();
        assert!(warning.message.contains("ended at") && warning.since == day(351), "{warning:?}");
        token.expires = Some(day(2));
        assert_eq!(ending(&token, day(1), day(1)).unwrap().since, day(0));
        token.expires = None;
        assert_eq!(ending(&token, day(1), day(1)), None);
    }
}
