//! Bearer tokens: made here, shown once, kept as SHA-256, compared in constant time.
//!
//! A token is 32 random bytes, so its digest needs no salt and no slow hash: there is nothing to guess.

mod lifetime;
mod uses;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bundles::Digest;
use subtle::ConstantTimeEq as _;

pub use lifetime::{Lifetime, LifetimeMistake};
pub use uses::{LastUses, Uses};

/// What every token begins with, so that people and secret scanners recognise one.
pub const PREFIX: &str = "pf_";

const RANDOM_BYTES: usize = 32;

/// Longer texts are no token of ours; they are not hashed.
const MAX_LENGTH: usize = 256;

/// A token in the clear. Its `Debug` shows nothing.
pub struct Token(String);

impl Token {
    /// From 32 random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; RANDOM_BYTES]) -> Self {
        Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// A new one, from the system's randomness.
    #[must_use]
    pub fn new() -> Self {
        Self::from_random(rand::random())
    }

    /// What the store keeps.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }

    /// The token itself, to be shown once.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl Default for Token {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A token as somebody presented it.
pub struct Presented(Digest);

impl Presented {
    /// From the value of an `Authorization` header (RFC 6750); `None` where it holds no bearer token.
    #[must_use]
    pub fn from_authorization(value: &str) -> Option<Self> {
        let (scheme, token) = value.split_once(' ')?;
        if scheme.eq_ignore_ascii_case("bearer") { Self::from_text(token) } else { None }
    }

    /// As somebody typed or pasted it; `None` where it cannot be one.
    #[must_use]
    pub fn from_text(token: &str) -> Option<Self> {
        let token = token.trim();
        (!token.is_empty() && token.len() <= MAX_LENGTH).then(|| Self(Digest::of(token.as_bytes())))
    }

    /// Whether it is the token that `kept` is the digest of; takes the same time whether or not.
    #[must_use]
    pub fn is(&self, kept: &Digest) -> bool {
        self.0.as_bytes().ct_eq(kept.as_bytes()).into()
    }
}

impl std::fmt::Debug for Presented {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Presented(…)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tokens_differ_and_show_nothing() {
        let (one, other) = (Token::new(), Token::new());
        assert_ne!(one.reveal(), other.reveal());
        assert!(one.reveal().starts_with(PREFIX) && one.reveal().len() == PREFIX.len() + 43);
        assert!(!format!("{one:?}").contains(&one.reveal()[3..10]));
    }

    #[test]
    fn only_bearer_tokens_are_read() {
        for none in ["", "Bearer", "Bearer ", "Basic cGY6eA==", "pf_x", &format!("Bearer {}", "x".repeat(257))] {
            assert!(Presented::from_authorization(none).is_none(), "{none}");
        }
        assert!(Presented::from_authorization("bearer  pf_x ").unwrap().is(&Digest::of(b"pf_x")));
    }

    proptest! {
        #[test]
        fn a_token_is_itself_and_no_other(bytes: [u8; 32], other in "\\PC{0,80}") {
            let token = Token::from_random(bytes);
            let presented = Presented::from_authorization(&format!("Bearer {}", token.reveal())).unwrap();
            prop_assert!(presented.is(&token.digest()));
            if let Some(presented) = Presented::from_authorization(&format!("Bearer {other}")) {
                prop_assert!(!presented.is(&token.digest()));
            }
        }
    }
}
