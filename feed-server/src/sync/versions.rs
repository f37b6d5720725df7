//! Which version a component has.

use bundles::{Component, Digest, Version};
use serde::Serialize;

/// What its files say of a component's version.
pub(crate) struct FileVersion<'a> {
    /// By the index.
    pub(crate) index: Option<&'a Version>,
    /// Found inside.
    pub(crate) inner: Option<&'a Version>,
    /// Of the payload; `None` where nobody has looked at it.
    pub(crate) payload: Option<Digest>,
}

/// Where a component's version comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum VersionFrom {
    /// The index gives it.
    Index,
    /// It stands inside of the archive.
    Inside,
    /// Neither: the content's digest stands in.
    Digest,
}

/// The index's word, else what stands inside, else a digest of the content: the payload's, or for several files that of
/// their payloads' digests, sorted, one after the other. `None` where that cannot be known yet.
///
/// Files of one component may differ (`osgroups` and `osgroupsV2` are of different makes): then the highest stands for
/// the component, since that is what moves when any of them is brought up to date, and a log line says so.
pub(crate) fn of_component(component: &Component, files: &[FileVersion<'_>]) -> Option<(Version, VersionFrom)> {
    let by_index = highest(component, files.iter().filter_map(|file| file.index));
    if let Some(version) = by_index {
        return Some((version, VersionFrom::Index));
    }
    let payloads: Vec<Digest> = files.iter().map(|file| file.payload).collect::<Option<_>>()?;
    let inside = highest(component, files.iter().filter_map(|file| file.inner)).map(|v| (v, VersionFrom::Inside));
    Some(inside.unwrap_or_else(|| (Version::Digest(of_content(payloads)), VersionFrom::Digest)))
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

fn of_content(mut digests: Vec<Digest>) -> Digest {
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
            .map(|(index, inner, bytes)| FileVersion { index: *index, inner: *inner, payload: Some(Digest::of(bytes)) })
            .collect();
        of_component(&Component::SupportedOs, &files).unwrap().0
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
