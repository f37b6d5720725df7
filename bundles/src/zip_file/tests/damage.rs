//! Zips that were cut, changed or put on a bad medium.

use std::io::{self, SeekFrom};
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::{Reason, Reasoned};

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// With a zip inside, whose end record must not be taken for the outer one's.
static LARGE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let inner = ours(&[("posture-update.xml", &b"<index/>".repeat(1_000)), ("a.tar.gz", &noise(20_000))]);
    ours(&[
        ("bundle.json", b"{\"format\":1,\"serial\":42}"),
        ("targets/noise.tar.gz", &noise(50_000)),
        ("targets/text.xml", &b"<row a='1'/>".repeat(9_000)),
        ("targets/posture-offline.zip", &inner),
    ])
});

fn small() -> Vec<u8> {
    ours(&[("bundle.json", b"{\"format\":1,\"serial\":42,\"serials\":[42,42,42]}"), ("targets/a.gz", b"content")])
}

#[test]
fn cut_at_any_4_kib_it_is_refused() {
    let zip = LARGE.clone();
    let mut cuts: Vec<_> = (0..zip.len()).step_by(4 << 10).collect();
    // And at every byte of the end record, and around it.
    cuts.extend(zip.len() - 100..zip.len());
    for cut in cuts {
        for rules in both() {
            let error = ZipFile::open(Cursor::new(&zip[..cut]), &rules).unwrap_err();
            let inner_is_at_the_end = matches!(error, ZipFileError::End { .. });
            let reason = if inner_is_at_the_end { Reason::BadArchive } else { Reason::Truncated };
            assert_eq!(error.reason(), reason, "{cut}: {error}");
        }
    }
}

/// In a bundle there is one byte, of all, that may be another: which version of the format its writer knew.
#[test]
fn one_flipped_bit_anywhere_is_seen() {
    let zip = small();
    let content = all(Cursor::new(&zip), &both()[0]).unwrap();
    let mut harmless = Vec::new();
    for bit in 0..zip.len() * 8 {
        let mut flipped = zip.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(read) = all(Cursor::new(&flipped), &both()[0]) {
            assert_eq!(read, content, "bit {bit}");
            harmless.push(bit / 8);
        }
        if let Ok(read) = all(Cursor::new(&flipped), &both()[1]) {
            assert_eq!(read, content, "bit {bit}");
        }
    }
    harmless.dedup();
    let made_by: Vec<_> = (0..zip.len()).filter(|at| zip[*at..].starts_with(b"PK\x01\x02")).map(|at| at + 4).collect();
    assert_eq!(made_by.len(), 2);
    assert!(harmless.iter().all(|at| made_by.contains(at) || is_in_deflate_padding(&zip, *at)), "{harmless:?}");
}

/// Deflate ends within a byte, and what follows in it means nothing: the last one of the first member's content.
fn is_in_deflate_padding(zip: &[u8], at: usize) -> bool {
    let second = (4..zip.len()).find(|at| zip[*at..].starts_with(b"PK\x03\x04")).unwrap();
    at == second - 1
}

/// A file with a bad sector at some offset, or one that ends there though it says that it is longer.
struct Bad {
    bytes: Cursor<Vec<u8>>,
    from: u64,
    shrinks: bool,
}

impl Bad {
    fn is_in_sector(&self) -> bool {
        (self.from..self.from + 512).contains(&self.bytes.position())
    }
}

impl Read for Bad {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.from.checked_sub(self.bytes.position()) {
            Some(left @ 1..) => {
                let most = buffer.len().min(usize::try_from(left).unwrap());
                self.bytes.read(&mut buffer[..most])
            }
            _ if self.shrinks => Ok(0),
            _ if self.is_in_sector() => Err(io::Error::other("Input/output error (os error 5)")),
            _ => self.bytes.read(buffer),
        }
    }
}

impl Seek for Bad {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.bytes.seek(to)
    }
}

const NOWHERE: u64 = 1 << 40;

#[test]
fn a_bad_medium_is_named_wherever_it_fails() {
    let zip = LARGE.clone();
    for rules in both() {
        for from in (0..zip.len() as u64).step_by(499) {
            for (shrinks, reason) in [(false, Reason::Storage), (true, Reason::Truncated)] {
                let error = all(Bad { bytes: Cursor::new(zip.clone()), from, shrinks }, &rules).unwrap_err();
                let is_other = matches!(error, ZipFileError::NotAZip | ZipFileError::Truncated) && from == 0;
                assert!(error.reason() == reason || is_other, "{from}: {error}");
                assert!(shrinks || error.to_string().contains("medium"), "{error}");
            }
        }
    }
}

/// Opened once, and then the stick is pulled out.
#[test]
fn a_medium_that_fails_within_a_member_is_named_and_again() {
    for name in ["a.gz", "a.xml"] {
        let noise = noise(200_000);
        let bytes = Cursor::new(ours(&[(name, &noise)]));
        let mut zip = ZipFile::open(Bad { bytes, from: NOWHERE, shrinks: false }, &both()[0]).unwrap();
        zip.file.from = 100_000;
        let mut content = zip.read(0).unwrap();
        let mut read = Vec::new();
        for _ in 0..2 {
            let error = content.read_to_end(&mut read).unwrap_err();
            let error = ZipFileError::within(error).unwrap();
            assert_eq!(error.reason(), Reason::Storage);
            assert!(error.whole_message().contains("os error 5"), "{}", error.whole_message());
        }
        assert!(noise.starts_with(&read) && read.len() < 100_000);
        // Back in again, it goes on from the beginning.
        zip.file.from = NOWHERE;
        read.clear();
        zip.read(0).unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read, noise);
    }
}

/// What the zip crate reads out of it, which finds ends and headers in its own ways.
fn with_the_zip_crate(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut all = Vec::new();
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).unwrap();
        let mut content = Vec::new();
        member.read_to_end(&mut content).unwrap();
        if member.is_file() {
            all.push((member.name().unwrap().into_owned(), content));
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_flipped_bit_of_a_large_one_never_changes_the_content(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let content = all(Cursor::new(&*LARGE), &both()[0]).unwrap();
        let mut flipped = LARGE.clone();
        let at = at.index(flipped.len());
        flipped[at] ^= 1_u8 << bit;
        for rules in both() {
            if let Ok(read) = all(Cursor::new(&flipped), &rules) {
                prop_assert_eq!(&read, &content);
            }
        }
    }

    #[test]
    fn what_is_taken_another_reader_takes_for_the_same(
        patches in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        moved in any::<prop::sample::Index>(),
        piece in 0_usize..100,
    ) {
        let mut bytes = small();
        for (at, byte) in &patches {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        let from = moved.index(bytes.len());
        let copy = bytes[from..(from + piece).min(bytes.len())].to_vec();
        let doubled = [&bytes[..from], &copy, &bytes[from..]].concat();
        for bytes in [bytes, doubled] {
            for rules in both() {
                if let Ok(read) = all(Cursor::new(&bytes), &rules) {
                    prop_assert_eq!(read, with_the_zip_crate(&bytes));
                }
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..500), in_front in any::<bool>()) {
        let zip = small();
        let around = if in_front { [&zip[..], &bytes].concat() } else { [&bytes[..], &zip[zip.len() / 2..]].concat() };
        for bytes in [bytes, around] {
            for rules in both() {
                let _ = all(Cursor::new(&bytes), &rules);
            }
        }
    }
}
