//! What input may cost. Every bound names the attack or accident it stops.

use serde::{Deserialize, Serialize};

/// Bounds on input from outside; the defaults leave tenfold room over the largest real feed seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of an index. It is read whole, so this is memory; real ones are some tens of kilobytes.
    pub index_bytes: u64,
    /// Entries in an index: each is a request to upstream, and 10,000 would be a denial of service to both sides.
    pub index_entries: usize,
    /// Nesting of elements in an index: parsers keep a stack; documents of people are some five deep.
    pub index_depth: usize,
    /// Bytes of one archive as transferred: an endless answer must not fill the disk.
    pub archive_bytes: u64,
    /// Bytes of one payload once opened: the ratio alone lets a large archive fill the disk.
    pub payload_bytes: u64,
    /// Opened bytes per archive byte. Real charts inflate 21 to 44 times; deflate's own maximum is 1032.
    pub expansion_ratio: u64,
    /// Bytes of the vendor's own offline zip. It holds every archive of the feed and may hold more (client provisioning), so
    /// it may be larger than any archive; it is made to be carried, and FAT32, which sticks come with, takes no file of
    /// 4 GiB.
    pub offline_zip_bytes: u64,
    /// Members in one archive: each becomes a file on every headend.
    pub archive_members: usize,
    /// Bytes of all archives of one run: the sum over many allowed archives must not fill the disk either.
    pub run_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            index_bytes: 8 << 20,
            index_entries: 1_000,
            index_depth: 64,
            archive_bytes: 2 << 30,
            payload_bytes: 8 << 30,
            expansion_ratio: 200,
            offline_zip_bytes: (4 << 30) - 1,
            archive_members: 10_000,
            run_bytes: 8 << 30,
        }
    }
}

impl Limits {
    /// The most that an archive of this many bytes may open to.
    #[must_use]
    pub fn opened(&self, archive_bytes: u64) -> u64 {
        // Small archives of zeros are legitimate (an empty tar is 10 KiB of zeros in 45 bytes), so there is a floor.
        const FLOOR: u64 = 1 << 20;
        archive_bytes.saturating_mul(self.expansion_ratio).max(FLOOR).min(self.payload_bytes)
    }
}
