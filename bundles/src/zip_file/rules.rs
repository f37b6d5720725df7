//! What a zip may be, by whose it should be.

use crate::Limits;

/// An extra field list of one header. Times, owners and ZIP64 come to less than 200 bytes; it is held in memory while its
/// header is read, and nothing of it is used.
pub(super) const MAX_EXTRA_BYTES: usize = 4 << 10;

/// A comment, of a member or of the zip. People write a line; the end record is looked for behind it, and half of a zip
/// could hide in what 16 bits allow.
pub(super) const MAX_COMMENT_BYTES: usize = 4 << 10;

/// Whose zips are read, and what they may cost.
#[derive(Debug, Clone)]
pub struct Rules {
    pub(super) whose: Whose,
    pub(super) limits: Limits,
}

/// The two presets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    Ours,
    Vendors,
}

impl Rules {
    /// Exactly what [`crate::offline_zip::write`] writes, header by header and byte by byte: nothing that means nothing, so
    /// that there is no bit of such a zip that could change unnoticed, and no room for what is in no member.
    #[must_use]
    pub fn ours(limits: &Limits) -> Self {
        Self { whose: Whose::Ours, limits: limits.clone() }
    }

    /// What other people's zippers write: sizes behind the content, times and owners in extra fields, directories, a
    /// comment. Whatever two readers could take for two things is refused all the same.
    #[must_use]
    pub fn vendors(limits: &Limits) -> Self {
        Self { whose: Whose::Vendors, limits: limits.clone() }
    }

    /// The most that a member of `compressed` bytes may open to.
    pub(super) fn opened_each(&self, compressed: u64) -> u64 {
        match self.whose {
            // A release may hold a tar that deflates better than anything real; what must not be is a zip of such.
            Whose::Ours => self.limits.payload_bytes,
            Whose::Vendors => self.limits.opened(compressed),
        }
    }

    /// The most that all members together may open to, in bytes, in a zip of `length` bytes.
    pub(super) fn opened(&self, length: u64) -> u64 {
        match self.whose {
            // What a bundle carries is held to signed lengths, file by file; here the ratio is enough.
            Whose::Ours => {
                let each = Limits { payload_bytes: u64::MAX, ..self.limits.clone() };
                each.opened(length)
            }
            Whose::Vendors => self.limits.opened(length),
        }
    }
}
