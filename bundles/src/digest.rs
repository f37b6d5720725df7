//! Digests: SHA-256 as the name of content, and the checksums that upstream may give.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::Digest as _;

/// A SHA-256 digest; written as 64 lower-case hex digits everywhere.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// Reads to the end: the digest and the number of bytes.
    ///
    /// # Errors
    /// Whatever the reader answers with.
    pub fn of_reader(reader: &mut impl Read) -> io::Result<(Self, u64)> {
        let mut sink = DigestWriter::new(io::sink());
        io::copy(reader, &mut sink)?;
        let (digest, length, _) = sink.finish();
        Ok((digest, length))
    }

    /// From the 32 bytes of a SHA-256.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 16 hex digits: enough to keep apart what one origin ever publishes, short enough to read.
    #[must_use]
    pub fn short(&self) -> String {
        hex::encode(&self.0[..8])
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = BadDigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| BadDigest(text.chars().take(80).collect()))?;
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A text that is not 64 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a SHA-256 in hex")]
pub struct BadDigest(String);

/// Hashes and counts what is written through it.
#[derive(Debug)]
pub struct DigestWriter<W> {
    inner: W,
    hasher: sha2::Sha256,
    length: u64,
}

impl<W> DigestWriter<W> {
    /// Nothing written yet.
    pub fn new(inner: W) -> Self {
        Self { inner, hasher: sha2::Sha256::new(), length: 0 }
    }

    /// Bytes written so far.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The digest and length of all that was written, and the writer back.
    pub fn finish(self) -> (Digest, u64, W) {
        (Digest(self.hasher.finalize().into()), self.length, self.inner)
    }
}

impl<W: Write> Write for DigestWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A checksum as upstream gives it, told apart by its number of hex digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checksum {
    /// 32 hex digits. Shows damage, not forgery.
    Md5([u8; 16]),
    /// 40 hex digits. Shows damage, not forgery.
    Sha1([u8; 20]),
    /// 64 hex digits.
    Sha256(Digest),
    /// 128 hex digits.
    Sha512([u8; 64]),
}

impl Checksum {
    /// `None` where the text is not 32, 40, 64 or 128 hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = hex::decode(text).ok()?;
        match bytes.len() {
            16 => bytes.try_into().ok().map(Self::Md5),
            20 => bytes.try_into().ok().map(Self::Sha1),
            32 => bytes.try_into().ok().map(|bytes| Self::Sha256(Digest(bytes))),
            64 => bytes.try_into().ok().map(Self::Sha512),
            _ => None,
        }
    }

    /// A hasher of this checksum's kind.
    #[must_use]
    pub fn verifier(&self) -> ChecksumVerifier {
        let hasher = match self {
            Self::Md5(_) => Hasher::Md5(md5::Md5::new()),
            Self::Sha1(_) => Hasher::Sha1(sha1::Sha1::new()),
            Self::Sha256(_) => Hasher::Sha256(sha2::Sha256::new()),
            Self::Sha512(_) => Hasher::Sha512(sha2::Sha512::new()),
        };
        ChecksumVerifier { expected: self.clone(), hasher }
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Md5(bytes) => write!(f, "md5:{}", hex::encode(bytes)),
            Self::Sha1(bytes) => write!(f, "sha1:{}", hex::encode(bytes)),
            Self::Sha256(digest) => write!(f, "sha256:{digest}"),
            Self::Sha512(bytes) => write!(f, "sha512:{}", hex::encode(bytes)),
        }
    }
}

/// Takes bytes as they stream by and says at the end whether they were the promised ones.
#[derive(Debug)]
pub struct ChecksumVerifier {
    expected: Checksum,
    hasher: Hasher,
}

#[derive(Debug)]
enum Hasher {
    Md5(md5::Md5),
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
}

impl ChecksumVerifier {
    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.hasher {
            Hasher::Md5(hasher) => hasher.update(bytes),
            Hasher::Sha1(hasher) => hasher.update(bytes),
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// `Err` holds the checksum that the bytes really have.
    ///
    /// # Errors
    /// The bytes are other ones than promised.
    pub fn finish(self) -> Result<(), Checksum> {
        let found = match self.hasher {
            Hasher::Md5(hasher) => Checksum::Md5(hasher.finalize().into()),
            Hasher::Sha1(hasher) => Checksum::Sha1(hasher.finalize().into()),
            Hasher::Sha256(hasher) => Checksum::Sha256(Digest(hasher.finalize().into())),
            Hasher::Sha512(hasher) => Checksum::Sha512(hasher.finalize().into()),
        };
        if found == self.expected { Ok(()) } else { Err(found) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_of_the_empty_text_are_the_published_ones() {
        for text in [
            "d41d8cd98f00b204e9800998ecf8427e",
            "da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
            "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
        ] {
            let checksum = Checksum::parse(text).unwrap();
            assert_eq!(checksum.verifier().finish(), Ok(()));
            let mut other = checksum.verifier();
            other.update(b"x");
            assert!(other.finish().is_err());
        }
        assert_eq!(Checksum::parse("d41d"), None);
        assert_eq!(Checksum::parse("zz1d8cd98f00b204e9800998ecf8427e"), None);
    }
}
