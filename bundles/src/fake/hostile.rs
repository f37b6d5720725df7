//! Zips that lie: each made from a good one, so that nothing but the lie is wrong with it.

mod craft;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};

use self::craft::{Craft, Header, Member, crc, end};
use crate::{Limits, Reason};

/// Bytes of zeros that are a bomb: more than any small member may open to, and 1000 times what they deflate to.
const BOMB_BYTES: usize = 8 << 20;

macro_rules! hostile {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $reason:ident;)*) => {
        /// A way to harm who reads a zip, or to show two readers two things.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Hostile {
            $($(#[$doc])* $variant,)*
        }

        impl Hostile {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// A word for messages and file names.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Why such a zip is refused, whether as a bundle or as somebody else's: when it is opened, or when its first
            /// members are read.
            #[must_use]
            pub const fn reason(self) -> Reason {
                match self { $(Self::$variant => Reason::$reason,)* }
            }
        }
    };
}

hostile! {
    /// A name that leads out of the folder.
    Traversal = "traversal", BadArchive;
    /// The same, behind a folder.
    TraversalWithin = "traversal-within", BadArchive;
    /// A path by way of a folder that it does not go into.
    Detour = "detour", BadArchive;
    /// An absolute path.
    Absolute = "absolute", BadArchive;
    /// A path on a drive.
    Drive = "drive", BadArchive;
    /// A path with backslashes, which lead out on Windows.
    Backslash = "backslash", BadArchive;
    /// A name that ends early for who reads C strings.
    Nul = "nul", BadArchive;
    /// A device of Windows.
    WindowsDevice = "windows-device", BadArchive;
    /// A stream inside of another file, on Windows.
    WindowsStream = "windows-stream", BadArchive;
    /// A name that loses its last dot on Windows, and is another's then.
    TrailingDot = "trailing-dot", BadArchive;
    /// A name that says nothing about its encoding.
    UnknownEncoding = "unknown-encoding", BadArchive;
    /// A name longer than file systems take.
    LongName = "long-name", BadArchive;
    /// Two names that differ in letter case.
    CaseTwins = "case-twins", BadArchive;
    /// Two folders that differ in letter case.
    FolderTwins = "folder-twins", BadArchive;
    /// Two names that differ in whether an accent is a character of its own.
    UnicodeTwins = "unicode-twins", BadArchive;
    /// Two members of one name, with other content.
    Duplicate = "duplicate", BadArchive;
    /// A member below another that is a file.
    InsideAFile = "inside-a-file", BadArchive;
    /// A symbolic link.
    Symlink = "symlink", BadArchive;
    /// A device.
    Device = "device", BadArchive;
    /// A file by its name that is a directory by its attributes.
    HalfADirectory = "half-a-directory", BadArchive;
    /// A directory with content.
    FullDirectory = "full-directory", BadArchive;
    /// More members than are allowed by default.
    TooMany = "too-many", TooLarge;
    /// A member that opens to a thousand times its size.
    Bomb = "bomb", TooLarge;
    /// Members that are small each, and too much together.
    ManyBombs = "many-bombs", TooLarge;
    /// A bomb that declares to be small.
    LyingBomb = "lying-bomb", BadArchive;
    /// Many members that are one and the same content.
    SharedContent = "shared-content", BadArchive;
    /// A member inside of another's content (Fifield's bomb).
    Overlapping = "overlapping", BadArchive;
    /// A content that reaches into the directory.
    ReachesTooFar = "reaches-too-far", BadArchive;
    /// A member that declares more than there is.
    DeclaresMore = "declares-more", BadArchive;
    /// Stored content of two lengths.
    TwoLengths = "two-lengths", BadArchive;
    /// Something behind the end of deflated content, inside of its member.
    HiddenBehindContent = "hidden-behind-content", BadArchive;
    /// Content with one bit flipped.
    FlippedBit = "flipped-bit", BadArchive;
    /// Directory and local header have another name.
    DisagreeName = "disagree-name", BadArchive;
    /// Directory and local header have another method.
    DisagreeMethod = "disagree-method", BadArchive;
    /// Directory and local header have another length.
    DisagreeLength = "disagree-length", BadArchive;
    /// Directory and local header have another length in the zip.
    DisagreeCompressed = "disagree-compressed", BadArchive;
    /// Directory and local header have another checksum.
    DisagreeChecksum = "disagree-checksum", BadArchive;
    /// Directory and local header have other flags.
    DisagreeFlags = "disagree-flags", BadArchive;
    /// The lengths behind the content are others.
    DisagreeDescriptor = "disagree-descriptor", BadArchive;
    /// Stored content that says behind itself how long it is.
    StoredWithDescriptor = "stored-with-descriptor", BadArchive;
    /// A ZIP64 field is referred to and not there.
    Zip64Missing = "zip64-missing", BadArchive;
    /// A ZIP64 field that nothing refers to: readers differ in whether they believe it.
    Zip64Unasked = "zip64-unasked", BadArchive;
    /// A ZIP64 field with another length than the local header's.
    Zip64Lies = "zip64-lies", BadArchive;
    /// A ZIP64 end record that says something else than the end record.
    Zip64EndLies = "zip64-end-lies", BadArchive;
    /// A ZIP64 end record somewhere else.
    Zip64EndElsewhere = "zip64-end-elsewhere", BadArchive;
    /// A second name in an extra field.
    SecondName = "second-name", BadArchive;
    /// Encrypted content.
    Encrypted = "encrypted", BadArchive;
    /// A method that nobody here reads.
    UnknownMethod = "unknown-method", BadArchive;
    /// Something in front of the zip.
    DataBefore = "data-before", BadArchive;
    /// A member in front of those that the directory knows: there for who reads front to back.
    CountedDataBefore = "counted-data-before", BadArchive;
    /// Something behind the zip.
    DataBehind = "data-behind", BadArchive;
    /// Something between two members.
    DataBetween = "data-between", BadArchive;
    /// Something in front of the directory.
    DataBeforeDirectory = "data-before-directory", BadArchive;
    /// Something behind the directory.
    DataBehindDirectory = "data-behind-directory", BadArchive;
    /// A zip behind the zip.
    ZipBehind = "zip-behind", BadArchive;
    /// An end record in the comment of another, each of which reaches the end.
    TwoEnds = "two-ends", BadArchive;
    /// A second end record, which says that there is nothing.
    EmptyEndBehind = "empty-end-behind", BadArchive;
    /// The end record counts more members than there are.
    CountsMore = "counts-more", BadArchive;
    /// The end record counts fewer members than there are.
    CountsLess = "counts-less", BadArchive;
    /// One part of several.
    OnePart = "one-part", BadArchive;
    /// Cut in half.
    Truncated = "truncated", Truncated;
    /// The zip in a tar.
    Tar = "tar", BadRequest;
    /// The zip in a gzip.
    Gzip = "gzip", BadRequest;
}

impl Hostile {
    /// Such a zip, made from a good one of ours: one without ZIP64, and with a member that is deflated.
    ///
    /// # Panics
    /// It is not such a zip.
    #[must_use]
    pub fn from_good(self, good: &[u8]) -> Vec<u8> {
        let mut zip = Craft::of(good);
        let first = zip.members.first().expect("a member").clone();
        let (added, last) = (first.clone(), zip.members.len() - 1);
        // Whoever reads a zip for something reads this one: the first that is deflated.
        let main = zip.members.iter().position(|member| member.central.method == 8).expect("a deflated member");
        let stored = added.clone().holding(0, b"content", b"content".to_vec());
        let mut add = |member: Member| zip.members.push(member);
        match self {
            Self::Traversal => add(added.named("../evil")),
            Self::TraversalWithin => add(added.named("targets/../../evil")),
            Self::Detour => add(added.named("targets//./evil")),
            Self::Absolute => add(added.named("/etc/evil")),
            Self::Drive => add(added.named("C:evil")),
            Self::Backslash => add(added.named("..\\evil")),
            Self::Nul => add(added.named("evil\0.gz")),
            Self::WindowsDevice => add(added.named("targets/nul.xml")),
            Self::WindowsStream => add(added.named("targets.xml:evil")),
            Self::TrailingDot => {
                let name = [&first.central.name[..], b"."].concat();
                add(added.named(name));
            }
            Self::UnknownEncoding => add(added.named(b"\x81vil.xml".to_vec())),
            Self::LongName => add(added.named("e".repeat(300))),
            Self::CaseTwins => {
                let name = first.central.name.iter().map(|byte| match byte {
                    byte if byte.is_ascii_lowercase() => byte.to_ascii_uppercase(),
                    byte => byte.to_ascii_lowercase(),
                });
                let name: Vec<u8> = name.collect();
                add(added.named(name));
            }
            Self::FolderTwins => {
                add(added.clone().named("evil/one"));
                add(added.named("Evil/two"));
            }
            Self::UnicodeTwins => {
                let utf8 = |header: &mut Header| header.flags |= 1 << 11;
                add(added.clone().named("\u{e9}vil").both(utf8));
                add(added.named("e\u{301}vil").both(utf8));
            }
            Self::Duplicate => {
                let name = first.central.name.clone();
                add(stored.named(name));
            }
            Self::InsideAFile => {
                let name = [&first.central.name[..], b"/evil"].concat();
                add(added.named(name));
            }
            Self::Symlink => {
                let target = b"../../etc/passwd";
                let link = added.named("evil").holding(0, target, target.to_vec());
                add(Member { attributes: 0o120_777 << 16, ..link });
            }
            Self::Device => add(Member { attributes: 0o060_644 << 16, ..added.named("evil") }),
            Self::HalfADirectory => add(Member { attributes: 0o040_755 << 16 | 0x10, ..added.named("evil") }),
            Self::FullDirectory => add(Member { attributes: 0o040_755 << 16 | 0x10, ..stored.named("evil/") }),
            Self::TooMany => {
                for number in 0..=Limits::default().archive_members {
                    add(added.clone().named(format!("evil/{number}")).holding(0, b"", Vec::new()));
                }
            }
            Self::Bomb => {
                let zeros = vec![0; BOMB_BYTES];
                add(added.named("evil").holding(8, &zeros, deflated(&zeros)));
            }
            Self::ManyBombs => {
                // Just below what the smallest member may open to.
                let zeros = vec![0; 1 << 20];
                let bomb = added.holding(8, &zeros, deflated(&zeros));
                for number in 0..100_usize.max(good.len() >> 11) {
                    add(bomb.clone().named(format!("evil/{number}")));
                }
            }
            Self::LyingBomb => {
                let zeros = vec![0; BOMB_BYTES];
                let bomb = zip.members[main].clone().holding(8, &zeros, deflated(&zeros));
                zip.members[main] = bomb.both(|header| {
                    // The checksum of what it declares, so that reading on is all that shows it.
                    (header.length, header.crc) = (100, crc(&[0; 100]));
                });
            }
            Self::SharedContent => {
                let mut ghost = Member { offset: Some(0), is_ghost: true, ..added };
                ghost.central.name = b"evil".to_vec();
                add(ghost);
            }
            Self::Overlapping => zip = overlapping(zip, main),
            Self::ReachesTooFar => {
                let rest = 8;
                zip.members[last] = zip.members[last].clone().both(|header| {
                    header.compressed += rest;
                    header.length += rest;
                });
            }
            Self::DeclaresMore => zip.members[main] = zip.members[main].clone().both(|header| header.length += 1),
            Self::TwoLengths => add(stored.named("evil").both(|header| header.length += 1)),
            Self::HiddenBehindContent => {
                let mut member = zip.members[main].clone().both(|header| header.compressed += 4);
                member.data.extend(b"evil");
                zip.members[main] = member;
            }
            Self::FlippedBit => {
                let data = &mut zip.members[main].data;
                let middle = data.len() / 2;
                data[middle] ^= 0x10;
            }
            Self::DisagreeName => zip.members[main].local.name[0] ^= 1,
            Self::DisagreeMethod => zip.members[main].local.method = 0,
            Self::DisagreeLength => zip.members[main].local.length += 1,
            Self::DisagreeCompressed => zip.members[main].local.compressed += 1,
            Self::DisagreeChecksum => zip.members[main].local.crc ^= 1,
            Self::DisagreeFlags => zip.members[main].local.flags ^= 1 << 1,
            Self::DisagreeDescriptor => {
                let mut member = with_descriptor(zip.members[main].clone());
                *member.descriptor.last_mut().expect("not empty") ^= 1;
                zip.members[main] = member;
            }
            Self::StoredWithDescriptor => add(with_descriptor(stored.named("evil"))),
            Self::Zip64Missing => zip.members[main].central.length = u32::MAX,
            Self::Zip64Unasked => {
                let header = &mut zip.members[main].central;
                header.extra = zip64(&[u64::from(header.length) + 1]);
            }
            Self::Zip64Lies => {
                let header = &mut zip.members[main].central;
                header.extra = zip64(&[u64::from(header.length) + 1]);
                header.length = u32::MAX;
            }
            Self::Zip64EndLies | Self::Zip64EndElsewhere => zip.behind_directory = zip64_end(&zip, self),
            Self::SecondName => {
                let name = zip.members[main].central.name.clone();
                let second = [&[1][..], &crc(&name).to_le_bytes(), b"evil"].concat();
                let extra = [&0x7075_u16.to_le_bytes(), &(second.len() as u16).to_le_bytes()[..], &second].concat();
                zip.members[main] = zip.members[main].clone().both(|header| header.extra.clone_from(&extra));
            }
            Self::Encrypted => zip.members[main] = zip.members[main].clone().both(|header| header.flags |= 1),
            Self::UnknownMethod => zip.members[main] = zip.members[main].clone().both(|header| header.method = 14),
            Self::DataBefore => zip.prefix = b"#!/bin/sh\nevil\n".to_vec(),
            Self::CountedDataBefore => zip.counted_prefix = first.bytes(),
            Self::DataBehind => zip.suffix = b"evil".to_vec(),
            Self::DataBetween => zip.members[last].gap = b"evil".to_vec(),
            Self::DataBeforeDirectory => zip.before_directory = b"evil".to_vec(),
            Self::DataBehindDirectory => zip.behind_directory = b"evil".to_vec(),
            Self::ZipBehind => zip.suffix = good.to_vec(),
            Self::TwoEnds => zip.comment = end(0, 0, 0, 0, 0),
            Self::EmptyEndBehind => zip.suffix = end(0, 0, 0, 0, 0),
            Self::CountsMore => zip.more_entries = 1,
            Self::CountsLess => zip.more_entries = -1,
            Self::OnePart => zip.disk = 1,
            Self::Truncated => return good[..good.len() / 2].to_vec(),
            Self::Tar => return tar(good),
            Self::Gzip => {
                let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
                gzip.write_all(good).expect("writing to memory does not fail");
                return gzip.finish().expect("writing to memory does not fail");
            }
        }
        zip.bytes()
    }
}

impl fmt::Display for Hostile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn deflated(content: &[u8]) -> Vec<u8> {
    let mut deflate = DeflateEncoder::new(Vec::new(), Compression::best());
    deflate.write_all(content).expect("writing to memory does not fail");
    deflate.finish().expect("writing to memory does not fail")
}

fn tar(content: &[u8]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, "bundle.zip", content).expect("a short path, writing to memory");
    tar.into_inner().expect("writing to memory does not fail")
}

/// Checksum and lengths behind the content, and 0 in front of it.
fn with_descriptor(member: Member) -> Member {
    let mut member = member.both(|header| header.flags |= 1 << 3);
    let header = &mut member.local;
    let values = [header.crc, header.compressed, header.length].map(u32::to_le_bytes);
    (header.crc, header.compressed, header.length) = (0, 0, 0);
    member.descriptor = [&b"PK\x07\x08"[..], &values.concat()].concat();
    member
}

/// A ZIP64 extra field.
fn zip64(values: &[u64]) -> Vec<u8> {
    let values: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    [&1_u16.to_le_bytes()[..], &(values.len() as u16).to_le_bytes(), &values].concat()
}

/// A member inside of what another one is packed into: stored in a block of deflate, so that it is content to the one and a
/// local header to the other.
fn overlapping(mut zip: Craft, main: usize) -> Craft {
    let inner = zip.members[main].clone().named("evil");
    let content = &inner.bytes()[..];
    // One block, the last, stored: its length, and its length's complement.
    let length = content.len() as u16;
    let block = [&[1][..], &length.to_le_bytes(), &(!length).to_le_bytes(), content].concat();
    let outer = zip.members[main].clone().named("outer.xml").holding(8, content, block);
    let before: usize = zip.members.iter().map(|member| member.bytes().len()).sum();
    let offset = (before + 30 + "outer.xml".len() + 5) as u32;
    zip.members.push(outer);
    zip.members.push(Member { offset: Some(offset), is_ghost: true, ..inner });
    zip
}

/// A ZIP64 end record and its locator, behind the directory.
fn zip64_end(zip: &Craft, how: Hostile) -> Vec<u8> {
    let whole = zip.bytes();
    let at = (whole.len() - 22) as u64;
    let numbers = &whole[whole.len() - 12..];
    let number =
        |at: usize| u64::from(u32::from_le_bytes([numbers[at], numbers[at + 1], numbers[at + 2], numbers[at + 3]]));
    let (directory, offset) = (number(2), number(6));
    let entries = zip.members.len() as u64;
    let lie = u64::from(how == Hostile::Zip64EndLies);
    let mut end = b"PK\x06\x06".to_vec();
    end.extend(44_u64.to_le_bytes());
    end.extend([45, 0, 45, 0]);
    end.extend([0; 8]);
    for value in [entries, entries, directory - lie, offset + lie] {
        end.extend(value.to_le_bytes());
    }
    end.extend(b"PK\x06\x07\0\0\0\0");
    end.extend((at - u64::from(how == Hostile::Zip64EndElsewhere)).to_le_bytes());
    end.extend(1_u32.to_le_bytes());
    end
}
