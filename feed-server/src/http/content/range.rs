//! Range requests (RFC 9110, section 14).

use bytes::Bytes;

/// More digits than any length has; what is longer is no number of ours.
const MAX_DIGITS: usize = 19;

/// What a `Range` header asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// No range, or one that is to be ignored: another unit, several ranges, or no range at all.
    Whole,
    /// These bytes.
    Part(Part),
    /// None of the bytes that there are.
    Unsatisfiable,
}

/// Some of a file's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) first: u64,
    pub(super) length: u64,
}

impl Part {
    /// For `Content-Range`.
    pub(super) fn content_range(self, whole: u64) -> String {
        format!("bytes {}-{}/{whole}", self.first, self.first + self.length - 1)
    }

    /// These bytes of content that is in memory.
    pub(super) fn of(self, whole: &Bytes) -> Bytes {
        let bound = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX).min(whole.len());
        whole.slice(bound(self.first)..bound(self.first + self.length))
    }
}

/// Reads a `Range` header for content of `length` bytes. Several ranges are answered with the whole, which the RFC
/// allows: nobody who resumes a download asks for them, and many of them are a known way to exhaust servers.
pub(super) fn parse(header: &str, length: u64) -> Wanted {
    let Some((unit, range)) = header.split_once('=') else { return Wanted::Whole };
    let range = range.trim_matches([' ', '\t']);
    let Some((first, last)) = range.split_once('-') else { return Wanted::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || length == 0 {
        return Wanted::Whole;
    }
    match (first.is_empty(), last.is_empty()) {
        (true, true) => Wanted::Whole,
        (true, false) => match number(last) {
            None => Wanted::Whole,
            Some(0) => Wanted::Unsatisfiable,
            Some(count) => Wanted::Part(Part { first: length.saturating_sub(count), length: count.min(length) }),
        },
        (false, open) => {
            let last = if open { Some(u64::MAX) } else { number(last) };
            match number(first).zip(last) {
                None => Wanted::Whole,
                Some((first, last)) if first > last => Wanted::Whole,
                Some((first, _)) if first >= length => Wanted::Unsatisfiable,
                Some((first, last)) => Wanted::Part(Part { first, length: last.min(length - 1) - first + 1 }),
            }
        }
    }
}

fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match is_number.then(|| text.trim_start_matches('0'))? {
        "" => Some(0),
        // A valid number, and past the end of everything.
        digits if digits.len() > MAX_DIGITS => Some(u64::MAX),
        digits => digits.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(first: u64, length: u64) -> Wanted {
        Wanted::Part(Part { first, length })
    }

    #[test]
    fn the_examples_of_the_rfc() {
        for (header, wanted) in [
            ("bytes=0-499", part(0, 500)),
            ("bytes=500-999", part(500, 500)),
            ("bytes=-500", part(9_500, 500)),
            ("bytes=9500-", part(9_500, 500)),
            ("BYTES=0-0", part(0, 1)),
            ("bytes=-1", part(9_999, 1)),
            ("bytes= 0-999 ", part(0, 1_000)),
            ("bytes=0-99999999999999999999999", part(0, 10_000)),
            ("bytes=-20000", part(0, 10_000)),
            ("bytes=10000-", Wanted::Unsatisfiable),
            ("bytes=99999999999999999999999-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=0-0,-1", Wanted::Whole),
            ("bytes=500-499", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("lines=0-1", Wanted::Whole),
            ("bytes", Wanted::Whole),
        ] {
            assert_eq!(parse(header, 10_000), wanted, "{header}");
        }
        assert_eq!(parse("bytes=0-", 0), Wanted::Whole);
    }

    proptest! {
        #[test]
        fn whatever_is_asked_for_lies_within_the_file(
            header in "bytes=[0-9]{0,22}-[0-9]{0,22}|\\PC{0,40}",
            length in prop_oneof![0_u64..20, any::<u64>()],
        ) {
            if let Wanted::Part(part) = parse(&header, length) {
                prop_assert!(part.length > 0);
                prop_assert!(part.first.checked_add(part.length).is_some_and(|end| end <= length));
            }
        }

        #[test]
        fn a_range_gives_the_bytes_that_slicing_gives(
            content in proptest::collection::vec(any::<u8>(), 1..200),
            first in 0_usize..200,
            more in 0_usize..200,
        ) {
            let last = first + more;
            let expected = content.get(first..=last.min(content.len() - 1));
            match (parse(&format!("bytes={first}-{last}"), content.len() as u64), expected) {
                (Wanted::Part(part), Some(expected)) => {
                    prop_assert_eq!(&*part.of(&Bytes::from(content.clone())), expected);
                }
                (Wanted::Unsatisfiable, _) => prop_assert!(first >= content.len()),
                (other, _) => prop_assert!(false, "{other:?}"),
            }
        }
    }
}
