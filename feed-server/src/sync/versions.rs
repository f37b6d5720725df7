//! Which version a component has.

use bundles::{Component, Digest, Version};

/// What its files say of a component's version.
pub(super) struct FileVersion<'a> {
    /// By the index.
    pub(super) index: Option<&'a Version>,
    /// Found inside.
    pub(super) inner: Option<&'a Version>,
    /// Of the payload.
    pub(super) payload: Digest,
}

/// The index's word, else what stands inside, else a digest of the content: the payload's, or for several files that of
/// their payloads' digests, sorted, one after the other.
///
/// Files of one component may differ (`osgroups` and `osgroupsV2` are of different makes): then the highest stands for
/// the component, since that is what moves when any of them is brought up to date, and a log line says so.
pub(super) fn of_component(component: &Component, files: &[FileVersion<'_>]) -> Version {
    let by_index = highest(component, files.iter().filter_map(|file| file.index));
    by_index
        .or_else(|| highest(component, files.iter().filter_map(|file| file.inner)))
        .unwrap_or_else(|| Version::Digest(of_content(files)))
}

fn highest<'a>(component: &Component, versions: impl Iterator<Item = &'a Version>) -> Option<Version> {
    let mut versions: Vec<&Version> = versions.collect();
    let first = *versions.first()?;
    if versions.iter().any(|version| *version != first) {
        let shown: Vec<String> = versions.iter().map(|version| version.short()).collect();
        let versions = shown.join(" ");
        tracing::warn!(%component, versions, "files of one component differ in version; the highest is taken");
    }
    // Dotted versions have an order; a digest only stands where nothing else does.
    versions.retain(|version| matches!(version, Version::Dotted(_)));
    let highest = versions.into_iter().reduce(|one, other| if one.is_rollback_from(other) { other } else { one });
    Some(highest.unwrap_or(first).clone())
}

fn of_content(files: &[FileVersion<'_>]) -> Digest {
    let mut digests: Vec<Digest> = files.iter().map(|file| file.payload).collect();
    digests.sort_unstable();
    digests.dedup();
    match digests.as_slice() {
        [one] => *one,
        several => {
            let whole: Vec<u8> = several.iter().flat_map(|digest| *digest.as_bytes()).collect();
            Digest::of(&whole)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn of(files: &[(Option<&Version>, Option<&Version>, &[u8])]) -> Version {
        let files: Vec<_> = files
            .iter()
            .map(|(index, inner, bytes)| FileVersion { index: *index, inner: *inner, payload: Digest::of(bytes) })
            .collect();
        of_component(&Component::SupportedOs, &files)
    }

    #[test]
    fn the_index_goes_before_what_is_inside_and_that_before_the_digest() {
        let (one, two) = (version("1.0"), version("2.0"));
        assert_eq!(of(&[(Some(&one), Some(&two), b"x")]), one);
        assert_eq!(of(&[(None, Some(&two), b"x")]), two);
        assert_eq!(of(&[(None, None, b"x")]), Version::Digest(Digest::of(b"x")));
        assert_eq!(of(&[(None, Some(&two), b"x"), (Some(&one), None, b"y")]), one);
    }

    #[test]
    fn of_several_versions_the_highest_stands_for_the_component() {
        let (low, high) = (version("99.0"), version("101.6.3.0"));
        assert_eq!(of(&[(Some(&low), None, b"x"), (Some(&high), None, b"y")]), high);
        assert_eq!(of(&[(Some(&high), None, b"x"), (Some(&low), None, b"y")]), high);
    }

    proptest! {
        #[test]
        fn a_digest_stands_for_the_content_whatever_its_order(
            contents in prop::collection::btree_set(prop::collection::vec(any::<u8>(), 0..4), 2..5),
            more in prop::collection::vec(any::<u8>(), 5..6),
        ) {
            let contents: Vec<_> = contents.into_iter().collect();
            let of_all = |contents: &[Vec<u8>]| {
                of(&contents.iter().map(|bytes| (None, None, bytes.as_slice())).collect::<Vec<_>>())
            };
            let mut reversed = contents.clone();
            reversed.reverse();
            prop_assert_eq!(of_all(&contents), of_all(&reversed));
            let mut other = contents.clone();
            other[0] = more;
            prop_assert_ne!(of_all(&contents), of_all(&other));
        }
    }
}
