//! What a single value of the index can be, by its look and by the name of its field.

use url::Url;

use crate::name::BadName;
use crate::{Checksum, FileName, Version};

/// Endings of archives (design, section 5).
const ARCHIVES: [&str; 6] = [".tar.gz", ".tgz", ".gz", ".zip", ".xml", ".tar"];

/// Parts of names of fields that hold locators.
const LOCATOR_NAMES: [&str; 10] =
    ["url", "uri", "href", "src", "file", "path", "link", "location", "locator", "download"];

/// Names of fields that tell people or programs what a thing is: what they hold is a locator only where no other is.
const LABELS: [&str; 10] =
    ["id", "title", "label", "key", "type", "kind", "description", "summary", "comment", "component"];

/// Names of fields that tell which component an entry is.
const HINTS: [&str; 12] = [
    "id",
    "title",
    "label",
    "key",
    "type",
    "kind",
    "component",
    "category",
    "os",
    "platform",
    "product",
    "operatingsystem",
];

/// Dotted numbers under these names are no versions of the thing beside them.
const NOT_VERSIONS: [&str; 14] = [
    "min", "max", "schema", "format", "require", "protocol", "api", "client", "host", "address", "date", "time",
    "released", "size",
];

/// Hex digits under these names are no checksums of the file beside them, and taking one for a checksum would refuse a
/// good file for ever.
const NOT_CHECKSUMS: [&str; 10] =
    ["id", "guid", "uuid", "key", "token", "etag", "signature", "commit", "revision", "build"];

/// Names of fields that hold checksums.
const CHECKSUM_NAMES: [&str; 6] = ["md5", "sha", "checksum", "digest", "hash", "sum"];

/// Servers refuse longer URLs, and messages and logs should not have to carry them.
const MAX_LOCATOR: usize = 4096;

/// Longer than any name that tells something; descriptions are not kept.
const MAX_HINT: usize = 100;

/// A field's name as it is compared: without letter case and separators.
pub(super) fn plain_name(local: &str) -> String {
    local.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn any(words: &[&str], name: &str) -> bool {
    words.iter().any(|word| name.contains(word))
}

pub(super) fn is_locator_name(name: &str) -> bool {
    !is_label_name(name) && any(&LOCATOR_NAMES, name)
}

pub(super) fn is_label_name(name: &str) -> bool {
    name.ends_with("name") || LABELS.contains(&name)
}

fn is_one_word(value: &str) -> bool {
    !value.is_empty() && value.len() <= MAX_LOCATOR && !value.chars().any(|c| c.is_whitespace() || c.is_control())
}

/// Path and the rest of a locator: what stands before `?` and `#`.
fn path_of(locator: &str) -> &str {
    locator.split(['?', '#']).next().unwrap_or_default()
}

/// Whether a text ends as archives do.
pub(super) fn ends_as_archive(text: &str) -> bool {
    let lower = path_of(text).to_ascii_lowercase();
    ARCHIVES
        .iter()
        .any(|ending| lower.strip_suffix(ending).is_some_and(|stem| !stem.ends_with('/') && !stem.is_empty()))
}

/// A URL or file name that ends as archives do: a locator by itself.
pub(super) fn is_archive_locator(value: &str) -> bool {
    is_one_word(value) && ends_as_archive(value) && !is_list(value)
}

/// Several locators without white space between them. URLs may hold such marks too, but what stands before one does not
/// end as archives do.
fn is_list(value: &str) -> bool {
    let parts = || value.split([',', ';', '|']).filter(|part| !part.is_empty());
    parts().nth(1).is_some() && parts().all(ends_as_archive)
}

/// Names an archive at the end of its query: `https://h/get?file=a.zip`.
pub(super) fn is_archive_query(value: &str) -> bool {
    is_one_word(value) && query_file(value.split('#').next().unwrap_or_default()).is_some()
}

/// What ends as archives do at the end of a query.
fn query_file(value: &str) -> Option<&str> {
    let (_, query) = value.split_once('?')?;
    query.rsplit(['=', '&', '/']).next().filter(|last| ends_as_archive(last))
}

/// How the file that a URL leads to is called: by the end of its path, or of its query where only that ends as archives
/// do.
pub(super) fn file_name_of(url: &Url) -> Result<FileName, BadName> {
    let named = if ends_as_archive(url.path()) { None } else { query_file(url.as_str()) };
    FileName::from_locator(named.unwrap_or(url.path()))
}

/// Has a scheme and `//`.
pub(super) fn is_url(value: &str) -> bool {
    is_one_word(value)
        && value.split_once("://").is_some_and(|(scheme, rest)| {
            !rest.is_empty()
                && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
        })
}

/// A file name with any ending, such as `charts/data.bin`: a locator only beside a checksum or a size.
pub(super) fn is_file_name(value: &str) -> bool {
    let last = path_of(value).rsplit('/').next().unwrap_or_default();
    is_one_word(value)
        && !value.contains("://")
        && last.rsplit_once('.').is_some_and(|(stem, ending)| {
            !stem.is_empty()
                && (1..=8).contains(&ending.len())
                && ending.chars().all(|c| c.is_ascii_alphanumeric())
                && ending.chars().any(|c| c.is_ascii_alphabetic())
        })
}

/// How sure a value is to be the version of what it stands beside; smaller is surer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sureness {
    /// Named just `version`.
    Named,
    /// Named something with `version`.
    NamedLonger,
    /// Dotted numbers under any other name.
    Dotted,
}

pub(super) fn version(name: &str, value: &str) -> Option<(Sureness, Version)> {
    let version: Version = value.parse().ok()?;
    let Version::Dotted(dotted) = &version else { return None };
    let named = name.contains("version");
    if name == "version" {
        Some((Sureness::Named, version))
    } else if any(&NOT_VERSIONS, name) || (!named && !dotted.has_dot()) || name == "ip" {
        None
    } else {
        Some((if named { Sureness::NamedLonger } else { Sureness::Dotted }, version))
    }
}

/// Whether a value would be a version somewhere: for the list of what was not used.
pub(super) fn looks_like_version(name: &str, value: &str) -> bool {
    match value.parse() {
        Ok(Version::Dotted(dotted)) => dotted.has_dot() || name.contains("version"),
        Ok(Version::Digest(_)) | Err(_) => false,
    }
}

/// A checksum, with or without its algorithm before it (`md5:…`, `sha256=…`).
pub(super) fn checksum(name: &str, value: &str) -> Option<Checksum> {
    let named = any(&CHECKSUM_NAMES, name);
    if !named && (NOT_CHECKSUMS.contains(&name) || name.ends_with("id") || name.contains("version")) {
        return None;
    }
    let (algorithm, digits) = match value.split_once([':', '=']) {
        Some((algorithm, digits)) => (Some(plain_name(algorithm)), digits.trim()),
        None => (None, value),
    };
    let checksum = Checksum::parse(digits)?;
    let own = algorithm_of(&checksum);
    let agrees = |said: &str| said == own || (own == "sha1" && said == "sha");
    // `sha256` with 32 digits is not known to be either; better no checksum than a wrong one.
    let fits_name = ["md5", "sha1", "sha256", "sha512"].iter().all(|kind| !name.contains(kind) || *kind == own);
    (algorithm.is_none_or(|said| agrees(&said)) && fits_name).then_some(checksum)
}

fn algorithm_of(checksum: &Checksum) -> &'static str {
    match checksum {
        Checksum::Md5(_) => "md5",
        Checksum::Sha1(_) => "sha1",
        Checksum::Sha256(_) => "sha256",
        Checksum::Sha512(_) => "sha512",
    }
}

/// Strongest last.
pub(super) fn strength(checksum: &Checksum) -> u8 {
    match checksum {
        Checksum::Md5(_) => 0,
        Checksum::Sha1(_) => 1,
        Checksum::Sha256(_) => 2,
        Checksum::Sha512(_) => 3,
    }
}

/// Whether a value would be a checksum somewhere, or stands where one should: for the list of what was not used.
pub(super) fn looks_like_checksum(name: &str, value: &str) -> bool {
    let digits = value.rsplit([':', '=']).next().unwrap_or_default();
    Checksum::parse(digits).is_some()
        || (any(&CHECKSUM_NAMES, name) && is_one_word(value) && value.len() >= 16 && value.is_ascii())
}

/// A number of bytes.
pub(super) fn size(name: &str, value: &str) -> Option<u64> {
    let named = ["size", "length", "bytes"].iter().any(|word| name.ends_with(word));
    (named && value.bytes().all(|byte| byte.is_ascii_digit())).then(|| value.parse().ok()).flatten()
}

/// A text that tells which component its entry is.
pub(super) fn hint<'a>(name: &str, value: &'a str) -> Option<&'a str> {
    ((HINTS.contains(&name) || name.ends_with("name")) && !value.is_empty() && value.len() <= MAX_HINT).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locators() {
        for text in ["a.tar.gz", "a,b.gz", "https://h/a.ZIP?x=1", "../a.tgz", "x/y.xml#f", "b.tar"] {
            assert!(is_archive_locator(text), "{text}");
        }
        for text in [
            "see a.zip",
            "a.gz,b.gz",
            "a.gz|b.gz;",
            "",
            ".gz",
            "https://h/.zip",
            "a.exe",
            "https://h/get?file=a.zip",
            "1.2.3",
        ] {
            assert!(!is_archive_locator(text), "{text}");
        }
        assert!(is_archive_query("https://h/get?x=1&file=a.zip#f") && is_archive_query("get?a.zip"));
        assert!(!is_archive_query("https://h/get?file=a.exe") && !is_archive_query("https://h/a.zip"));
        let name = |url: &str| file_name_of(&url.parse().unwrap()).unwrap().to_string();
        assert_eq!(
            [name("https://h/d/a.zip?b.zip"), name("https://h/get?d/b.zip"), name("https://h/get")],
            ["a.zip", "b.zip", "get"]
        );
        assert!(is_url("ftp://h") && !is_url("://h") && !is_url("h://") && !is_url("mailto:a@b"));
        assert!(is_file_name("a/b.bin") && !is_file_name("4.3.4314.0") && !is_file_name("abc") && !is_file_name(".x"));
    }

    #[test]
    fn versions() {
        assert_eq!(version("version", "7").unwrap().0, Sureness::Named);
        assert_eq!(version("chartversion", "7").unwrap().0, Sureness::NamedLonger);
        assert_eq!(version("build", "1.2").unwrap().0, Sureness::Dotted);
        for (name, value) in [("build", "7"), ("minversion", "1.2"), ("hostaddress", "10.1.2.3"), ("version", "v1")] {
            assert_eq!(version(name, value), None, "{name} {value}");
        }
    }

    #[test]
    fn checksums() {
        let md5 = "d41d8cd98f00b204e9800998ecf8427e";
        for (name, value) in [("md5", md5), ("x", md5), ("checksum", "md5:d41d8cd98f00b204e9800998ecf8427e")] {
            assert!(checksum(name, value).is_some(), "{name}");
        }
        for (name, value) in [("sha256", md5), ("guid", md5), ("fileid", md5), ("hash", "sha256=d41d8cd98f00b204")] {
            assert!(checksum(name, value).is_none(), "{name}");
        }
        assert!(looks_like_checksum("sha256", md5) && looks_like_checksum("digest", "1B2M2Y8AsgTpgAmY7PhCfg=="));
    }
}
