//! What one side packs the other unpacks, and nothing else is taken for it.

use proptest::prelude::*;

use super::*;
use crate::fake::{Edition, Feed, Options};
use crate::{FileName, Reason, Reasoned as _};

fn unpack(base: &[u8], packed: &[u8], limit: u64, piece: usize) -> Result<Vec<u8>, IncrementError> {
    let mut unpacking = Unpacking::increment(base, limit, Vec::new())?;
    for piece in packed.chunks(piece) {
        unpacking.push(piece)?;
    }
    unpacking.finish()
}

fn unzstd(packed: &[u8], limit: u64) -> Result<Vec<u8>, IncrementError> {
    let mut unpacking = Unpacking::zstd(limit, Vec::new())?;
    unpacking.push(packed)?;
    unpacking.finish()
}

/// Two charts of which a few rows differ.
fn charts() -> (Vec<u8>, Vec<u8>) {
    let options = Options { rows: 400, ..Options::small() };
    let [before, after] = [Edition::before(), Edition::after()].map(|edition| {
        let feed = Feed::make(&edition, &options);
        let (name, archive) = feed.files.iter().find(|(name, _)| name.as_str().contains("win")).unwrap();
        let mut payload = Vec::new();
        crate::archive::open(&mut std::io::Cursor::new(archive), name, &crate::Limits::default(), &mut payload)
            .unwrap();
        payload
    });
    (before, after)
}

#[test]
fn an_increment_of_a_chart_is_a_small_part_of_it() {
    let (before, after) = charts();
    assert_ne!(before, after);
    let packed = increment(&before, &after).unwrap();
    assert_eq!(&packed[..8], &MAGIC);
    assert_eq!(&packed[8..40], Digest::of(&before).as_bytes());
    assert!(packed.len() * 5 < zstd(&after).unwrap().len(), "{} bytes", packed.len());
    assert_eq!(unpack(&before, &packed, after.len() as u64, 1000).unwrap(), after);
}

#[test]
fn content_larger_than_the_window_of_the_web_needs_no_larger_one() {
    // 9 MiB over 1 KiB: the frame has to make do with a window of 8 MiB.
    let content: Vec<u8> = (0..9_u32 << 18).flat_map(|n| (n / 7).to_le_bytes()).collect();
    let base = &content[..1024];
    let packed = increment(base, &content).unwrap();
    assert_eq!(unpack(base, &packed, content.len() as u64, 1 << 16).unwrap(), content);
    assert_eq!(unzstd(&zstd(&content).unwrap(), content.len() as u64).unwrap(), content);
}

#[test]
fn an_increment_over_something_else_is_told_by_its_header() {
    let packed = increment(b"one", b"one and two").unwrap();
    let refused = unpack(b"other", &packed, 100, 7).unwrap_err();
    assert!(matches!(refused, IncrementError::OtherBase { named } if named == Digest::of(b"one")), "{refused}");
    assert_eq!(refused.reason(), Reason::DigestMismatch);
    assert!(matches!(unpack(b"one", b"<html>", 100, 2), Err(IncrementError::Header)));
    assert!(matches!(unpack(b"one", &zstd(b"one and two").unwrap(), 100, 99), Err(IncrementError::Header)));
}

#[test]
fn a_bomb_is_stopped_at_the_promised_length() {
    let zeros = vec![0; 64 << 20];
    for packed in [zstd(&zeros).unwrap(), zstd(&vec![0; 1001]).unwrap()] {
        assert!(matches!(unzstd(&packed, 1000), Err(IncrementError::TooLarge { limit: 1000 })));
    }
    let packed = increment(b"base", &zeros).unwrap();
    assert!(matches!(unpack(b"base", &packed, 1000, 4096), Err(IncrementError::TooLarge { limit: 1000 })));
}

#[test]
fn a_frame_that_wants_more_memory_than_it_may_is_refused() {
    use std::io::Write as _;
    let mut encoder = ::zstd::stream::raw::Encoder::new(1).unwrap();
    encoder.set_parameter(::zstd::stream::raw::CParameter::WindowLog(27)).unwrap();
    let mut frame = ::zstd::stream::write::Encoder::with_encoder(Vec::new(), encoder);
    frame.write_all(b"little").unwrap();
    let greedy = frame.finish().unwrap();
    assert!(matches!(unzstd(&greedy, 1000), Err(IncrementError::Damaged(_))));
}

#[test]
fn a_failure_to_write_is_the_disks() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let packed = zstd(&[7; 1000]).unwrap();
    let mut unpacking = Unpacking::zstd(1000, Full).unwrap();
    let failed = unpacking.push(&packed).and_then(|()| unpacking.finish().map(|_| ())).unwrap_err();
    assert_eq!(failed.reason(), Reason::Storage);
}

#[test]
fn dictionaries_are_named_as_the_standard_writes_them() {
    // From RFC 9842, section 2.2's form; the digest of nothing.
    let digest = Digest::of(b"");
    let header = available_dictionary(&digest);
    assert_eq!(header, ":47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:");
    assert_eq!(parse_available_dictionary(&header), Some(digest));
    assert_eq!(parse_available_dictionary(&format!(" {header}")), Some(digest));
    for bad in ["", ":", "::", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", ":47DEQpj8:", "?1", ":====:"] {
        assert_eq!(parse_available_dictionary(bad), None, "{bad}");
    }
}

#[test]
fn the_base_is_the_file_of_the_same_name_or_of_the_same_kind() {
    let file = |name: &str, content: &[u8]| {
        let of = |name: &str| FileRef {
            name: FileName::parse(name).unwrap(),
            sha256: Digest::of(content),
            length: content.len() as u64,
        };
        ReleasedFile { archive: of(&format!("{name}.gz")), payload: of(name) }
    };
    let then = [file("a.tar", b"1"), file("chart_4_3_1.xml", b"2"), file("b1.tar", b"3"), file("b2.tar", b"4")];
    let base = |name: &str, then: &[ReleasedFile]| {
        let now = [file(name, b"new")];
        base_of(&now[0].payload, &now, then).map(|base| base.name.to_string())
    };
    assert_eq!(base("a.tar", &then).as_deref(), Some("a.tar"));
    assert_eq!(base("chart_4_3_25.xml", &then).as_deref(), Some("chart_4_3_1.xml"));
    assert_eq!(base("b3.tar", &then), None, "one of two: which?");
    assert_eq!(base("b2.tar", &then).as_deref(), Some("b2.tar"));
    assert_eq!(base("renamed.tar", &then[..1]).as_deref(), Some("a.tar"));
    assert_eq!(base("renamed.tar", &[]), None);
}

proptest! {
    #[test]
    fn whatever_is_packed_is_unpacked(
        base in proptest::collection::vec(any::<u8>(), 0..2000),
        content in proptest::collection::vec(any::<u8>(), 0..2000),
        kept in 0_usize..2000,
        piece in 1_usize..300,
    ) {
        let content = [&base[..kept.min(base.len())], &content].concat();
        let length = content.len() as u64;
        let packed = increment(&base, &content).unwrap();
        prop_assert_eq!(&unpack(&base, &packed, length, piece).unwrap(), &content);
        prop_assert_eq!(unzstd(&zstd(&content).unwrap(), length).unwrap(), content);
        // Cut anywhere, it is never taken for whole.
        let cut = piece % packed.len();
        prop_assert!(unpack(&base, &packed[..cut], length, piece).is_err());
    }

    #[test]
    fn no_bytes_open_to_more_than_they_may(bytes in proptest::collection::vec(any::<u8>(), 0..500), at in 0_usize..100) {
        let base = b"an old version of something that is some words long";
        let mut packed = increment(base, b"a new version of something that is some words long").unwrap();
        let at = at.min(packed.len());
        packed.splice(at..(at + bytes.len()).min(packed.len()), bytes);
        if let Ok(opened) = unpack(base, &packed, 60, 50) {
            prop_assert!(opened.len() <= 60);
        }
    }
}
