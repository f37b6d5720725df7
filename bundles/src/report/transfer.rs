//! How a release came to a headend: in increments, it should be.

use serde::{Deserialize, Serialize};

use super::{Failure, plain};
use crate::{FileName, Reason, Serial};

/// Refused increments are told one by one up to this many; the rest is counted.
pub const MAX_REFUSED: usize = 16;

/// So that all of them fit into a report beside everything else.
pub(super) const MAX_SENTENCE_CHARS: usize = 300;

/// How the payloads of a release came, those that were not here already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// The release.
    pub serial: Serial,
    /// Everything that the server sent for it, packed as it came: metadata, manifest and payloads.
    pub received_bytes: u64,
    /// Payloads told in terms of earlier ones.
    pub increments: u32,
    /// Payloads that came packed otherwise.
    pub compressed: u32,
    /// Payloads that came as they are.
    pub whole: u32,
    /// Of the whole ones, those that were asked for since what came first, packed, was refused.
    pub fallbacks: u32,
    /// Which ones and why, at most [`MAX_REFUSED`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedIncrement>,
}

/// Why something packed was of no use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedIncrement {
    /// The payload that it was to open to.
    pub payload: FileName,
    /// The reason's word.
    pub reason: Reason,
    /// The sentence.
    pub message: String,
}

impl RefusedIncrement {
    pub(super) fn new(payload: FileName, reason: Reason, message: &str) -> Self {
        Self { payload, reason, message: message.chars().take(MAX_SENTENCE_CHARS).map(plain).collect() }
    }
}

impl Transfer {
    /// Of a release that nothing came for yet.
    #[must_use]
    pub fn new(serial: Serial) -> Self {
        Self { serial, received_bytes: 0, increments: 0, compressed: 0, whole: 0, fallbacks: 0, refused: Vec::new() }
    }

    /// Takes note that what came packed for a payload was refused, so that it came whole.
    pub fn refuse(&mut self, payload: &FileName, why: &Failure) {
        self.fallbacks = self.fallbacks.saturating_add(1);
        if self.refused.len() < MAX_REFUSED {
            self.refused.push(RefusedIncrement::new(payload.clone(), why.reason, &why.message));
        }
    }
}

impl std::fmt::Display for Transfer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { serial, received_bytes, increments, compressed, whole, fallbacks, .. } = self;
        write!(
            f,
            "release {serial} in {received_bytes} bytes: {increments} increments, {compressed} compressed, {whole} whole"
        )?;
        if *fallbacks > 0 { write!(f, ", {fallbacks} of them after something packed was refused") } else { Ok(()) }
    }
}
