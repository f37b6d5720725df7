//! Numbers in records of a zip, all little-endian, and the records' signatures (APPNOTE 6.3.10, section 4.3).

/// Begins a local header, 4.3.7.
pub(super) const LOCAL: u32 = 0x0403_4b50;
/// May begin a data descriptor, 4.3.9.
pub(super) const DESCRIPTOR: u32 = 0x0807_4b50;
/// Begins a header of the central directory, 4.3.12.
pub(super) const CENTRAL: u32 = 0x0201_4b50;
/// Begins the ZIP64 end record, 4.3.14.
pub(super) const END64: u32 = 0x0606_4b50;
/// Begins the ZIP64 end record's locator, 4.3.15.
pub(super) const LOCATOR: u32 = 0x0706_4b50;
/// Begins the end record, 4.3.16.
pub(super) const END: u32 = 0x0605_4b50;

/// Stands in a field of 32 bits whose value is in the ZIP64 field or record.
pub(super) const IN_ZIP64: u32 = u32::MAX;
/// The same in a field of 16 bits.
pub(super) const IN_ZIP64_16: u16 = u16::MAX;

/// What a member's content is packed with, and what we take of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Stored,
    Deflated,
}

impl Method {
    pub(super) fn of(number: u16) -> Option<Self> {
        match number {
            0 => Some(Self::Stored),
            8 => Some(Self::Deflated),
            _ => None,
        }
    }

    pub(super) fn number(self) -> u16 {
        match self {
            Self::Stored => 0,
            Self::Deflated => 8,
        }
    }
}

/// General purpose flags, 4.4.4.
pub(super) mod flag {
    /// The content is encrypted.
    pub(in super::super) const ENCRYPTED: u16 = 1 << 0;
    /// How hard deflate tried; means nothing to who reads.
    pub(in super::super) const DEFLATE_EFFORT: u16 = 0b11 << 1;
    /// Checksum and sizes follow the content.
    pub(in super::super) const SIZES_FOLLOW: u16 = 1 << 3;
    /// Strong encryption.
    pub(in super::super) const STRONGLY_ENCRYPTED: u16 = 1 << 6;
    /// Name and comment are UTF-8.
    pub(in super::super) const UTF8: u16 = 1 << 11;
    /// The central directory is encrypted, and local headers are masked.
    pub(in super::super) const MASKED: u16 = 1 << 13;
}

/// The number at `at`; `bytes` is a record of fixed length, so it is there.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// As [`u16_at`].
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

/// As [`u16_at`].
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
