//! Content negotiation (RFC 9110, section 12.5.3; RFC 9842): which form of some content a client is sent.

use actix_web::http::header::{self, HeaderMap, HeaderName};
use bundles::Digest;
use bundles::increment::parse_available_dictionary;

use crate::increments::Variant;
use crate::store::Coding;

/// RFC 9842, section 2.2.
const AVAILABLE_DICTIONARY: HeaderName = HeaderName::from_static("available-dictionary");

/// Hex digits of [`Digest::short`].
const SHORT: usize = 16;

/// How much a coding is wanted, in thousandths; 0 is not at all.
type Weight = u16;

/// What a client says that it can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Accepted {
    /// Whether it said anything: who did not gets the content itself, and can read anything by the letter of the RFC.
    is_said: bool,
    dcz: Weight,
    zstd: Weight,
    gzip: Weight,
    identity: Weight,
    /// What it holds. Anything else than one digest in the form of the RFC is as if it held nothing.
    base: Option<Digest>,
}

impl Accepted {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let lines = || headers.get_all(header::ACCEPT_ENCODING).filter_map(|value| value.to_str().ok());
        let elements: Vec<(&str, Weight)> = lines().flat_map(|line| line.split(',')).filter_map(element).collect();
        let named = |names: &[&str]| {
            let weight = |(name, weight): &(&str, Weight)| {
                names.iter().any(|known| name.eq_ignore_ascii_case(known)).then_some(*weight)
            };
            elements.iter().find_map(weight)
        };
        let any = named(&["*"]);
        let weight = |names: &[&str]| named(names).or(any).unwrap_or(0);
        let mut dictionaries = headers.get_all(AVAILABLE_DICTIONARY);
        let base = match (dictionaries.next(), dictionaries.next()) {
            (Some(one), None) => one.to_str().ok().and_then(parse_available_dictionary),
            _ => None,
        };
        Self {
            is_said: headers.contains_key(header::ACCEPT_ENCODING),
            dcz: weight(&["dcz"]),
            zstd: weight(&["zstd"]),
            gzip: weight(&["gzip", "x-gzip"]),
            identity: named(&["identity"]).unwrap_or(0),
            base,
        }
    }

    fn weight(&self, coding: Coding) -> Weight {
        match coding {
            Coding::Dcz { .. } => self.dcz,
            Coding::Zstd => self.zstd,
            Coding::Gzip => self.gzip,
        }
    }

    /// The form to send of content of `length` bytes: of those that the client wants most the smallest. `None` is the content
    /// itself, also where the client says that it takes no such thing (which RFC 9110 allows: it can do more with that than
    /// with an error).
    pub(super) fn choose<'v>(&self, variants: &'v [Variant], length: u64) -> Option<&'v Variant> {
        if !self.is_said {
            return None;
        }
        let fits = |variant: &&Variant| match variant.coding {
            Coding::Dcz { base } => self.base == Some(base),
            Coding::Zstd | Coding::Gzip => true,
        };
        variants
            .iter()
            .filter(fits)
            .filter(|variant| {
                let weight = self.weight(variant.coding);
                weight > 0 && weight >= self.identity && variant.length < length
            })
            .min_by_key(|variant| (std::cmp::Reverse(self.weight(variant.coding)), variant.length, variant.coding))
    }

    /// Whether this is a tag of some form, one that the client can read, of the content whose own tag is `identity`. Whether
    /// the form is (still) prepared does not matter: who holds the tag holds the content.
    pub(super) fn may_be_tagged(&self, tag: &str, identity: &str) -> bool {
        if tag == identity {
            return true;
        }
        let begin = identity.get(..=SHORT);
        let coding = begin.and_then(|begin| tag.strip_prefix(begin)?.strip_suffix('"'));
        let weight = match coding {
            Some("-zstd") => self.zstd,
            Some("-gzip") => self.gzip,
            Some(coding) if coding.strip_prefix("-dcz-").is_some_and(is_short_digest) => self.dcz,
            Some(_) | None => return false,
        };
        !self.is_said || weight > 0
    }
}

/// `"<16 hex of the content's digest>-zstd"`, `"…-dcz-<16 hex of the base's>"`: strong, for each form is other bytes. Short, since
/// the answers that carry it are: it only has to differ from those of what else was ever served under one URL.
pub(super) fn etag(content: &Digest, coding: Coding) -> String {
    match coding {
        Coding::Dcz { base } => format!("\"{}-dcz-{}\"", content.short(), base.short()),
        Coding::Zstd | Coding::Gzip => format!("\"{}-{}\"", content.short(), coding.as_str()),
    }
}

fn is_short_digest(text: &str) -> bool {
    text.len() == SHORT && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// One coding of a list and its weight; `None` where it is none.
fn element(text: &str) -> Option<(&str, Weight)> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    match (parts.next(), parts.next()) {
        (None, _) => Some((name, 1000)),
        (Some(parameter), None) => {
            let (key, value) = parameter.split_once('=')?;
            let is_weight = key.trim().eq_ignore_ascii_case("q");
            is_weight.then(|| weight(value.trim())).flatten().map(|weight| (name, weight))
        }
        (Some(_), Some(_)) => None,
    }
}

/// `0`, `0.5`, `1.000` (RFC 9110, section 12.4.2).
fn weight(text: &str) -> Option<Weight> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: Weight = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;
    use bundles::increment::available_dictionary;
    use proptest::prelude::*;

    use super::*;
    use crate::increments::Body;

    fn headers(accept: Option<&str>, dictionary: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(accept) = accept {
            headers.append(header::ACCEPT_ENCODING, HeaderValue::from_str(accept).unwrap());
        }
        for dictionary in dictionary {
            headers.append(AVAILABLE_DICTIONARY, HeaderValue::from_str(dictionary).unwrap());
        }
        headers
    }

    fn variants() -> Vec<Variant> {
        let variant = |coding, length| Variant { coding, length, sha256: Digest::of(b"packed"), body: Body::Stored };
        vec![
            variant(Coding::Gzip, 300),
            variant(Coding::Zstd, 200),
            variant(Coding::Dcz { base: Digest::of(b"old") }, 20),
            variant(Coding::Dcz { base: Digest::of(b"older") }, 30),
        ]
    }

    fn chosen(accept: Option<&str>, dictionary: &[&str]) -> &'static str {
        let variants = variants();
        Accepted::of(&headers(accept, dictionary)).choose(&variants, 1000).map_or("identity", |v| v.coding.as_str())
    }

    #[test]
    fn who_accepts_what_is_sent_what() {
        for (accept, expected) in [
            (None, "identity"),
            (Some(""), "identity"),
            (Some("identity"), "identity"),
            (Some("gzip"), "gzip"),
            (Some("X-GZIP"), "gzip"),
            (Some("gzip, deflate, br, zstd"), "zstd"),
            (Some("*"), "zstd"),
            (Some("*;q=0"), "identity"),
            (Some("zstd;q=0, gzip"), "gzip"),
            (Some("zstd;q=0.5, gzip;q=0.9"), "gzip"),
            (Some("zstd ; q = 0.5 ,gzip;Q=0.5"), "zstd"),
            (Some("identity, gzip;q=0.5"), "identity"),
            (Some("identity;q=0.5, gzip;q=0.5"), "gzip"),
            (Some("identity;q=0"), "identity"),
            (Some("identity;q=0, gzip;q=0.001"), "gzip"),
            (Some("gzip;q=2"), "identity"),
            (Some("gzip;q=0.0001"), "identity"),
            (Some("gzip;level=9"), "identity"),
            (Some("dcz"), "identity"),
            (Some("dcz, zstd"), "zstd"),
        ] {
            assert_eq!(chosen(accept, &[]), expected, "{accept:?}");
        }
    }

    #[test]
    fn an_increment_is_for_who_names_its_base() {
        let old = available_dictionary(&Digest::of(b"old"));
        let unknown = available_dictionary(&Digest::of(b"unknown"));
        let all = Some("dcz, zstd, gzip");
        assert_eq!(chosen(all, &[&old]), "dcz");
        assert_eq!(chosen(all, &[&format!(" {old} ")]), "dcz");
        for other in [&unknown, "", ":", &old[1..], &old.replace(':', "\""), "?1", ":AAAA:", &format!("{old}, {old}")] {
            assert_eq!(chosen(all, &[other]), "zstd", "{other}");
        }
        assert_eq!(chosen(all, &[&old, &old]), "zstd", "it is one header");
        assert_eq!(chosen(Some("zstd, gzip"), &[&old]), "zstd", "who names a base need not read dcz");
        assert_eq!(chosen(None, &[&old]), "identity");
        assert_eq!(chosen(Some("dcz;q=0.1, gzip"), &[&old]), "gzip");
    }

    #[test]
    fn every_form_has_a_tag_that_is_known_again() {
        let content = Digest::of(b"content");
        let identity = format!("\"{content}\"");
        let everything = Accepted::of(&headers(Some("dcz, zstd, gzip"), &[]));
        let nothing = Accepted::of(&headers(Some("identity"), &[]));
        let silent = Accepted::of(&headers(None, &[]));
        for variant in variants() {
            let tag = etag(&content, variant.coding);
            assert!(everything.may_be_tagged(&tag, &identity) && silent.may_be_tagged(&tag, &identity), "{tag}");
            // A cache that got a 304 for it would go on to send what this client cannot read.
            assert!(!nothing.may_be_tagged(&tag, &identity), "{tag}");
            assert!(!everything.may_be_tagged(&tag, &format!("\"{}\"", Digest::of(b"other"))), "{tag}");
        }
        assert!(nothing.may_be_tagged(&identity, &identity));
        for other in ["-br", "-dcz-", "-dcz-0123456789abcdeg", "-zstd-", ""] {
            let tag = format!("\"{}{other}", content.short());
            assert!(!everything.may_be_tagged(&tag, &identity) && !silent.may_be_tagged(&tag, &identity), "{tag}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_asked_nobody_is_sent_what_he_does_not_accept(
            accept in "((dcz|zstd|gzip|br|identity|\\*|[!-~]{0,5})(;[ -~]{0,8}|;q=[01](\\.[0-9]{0,4})?)?[, ]{0,2}){0,5}",
            dictionary in "[!-~]{0,60}",
        ) {
            let variants = variants();
            let headers = headers(Some(&accept), &[&dictionary]);
            if let Some(chosen) = Accepted::of(&headers).choose(&variants, 1000) {
                let name = chosen.coding.as_str();
                prop_assert!(name != "dcz", "{dictionary} names no base");
                let lower = accept.to_ascii_lowercase();
                prop_assert!(lower.contains(name) || lower.contains('*'), "{accept}: {name}");
            }
        }
    }
}
