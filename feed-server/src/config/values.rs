//! What the text of a value can mean.

use std::net::SocketAddr;
use std::time::Duration;

use url::{Host, Url};

use super::document::Entry;

/// Seconds in each unit that a duration may be written with.
const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Ten years: longer is a typing error, and far from where adding to a timestamp would overflow.
const LONGEST: Duration = Duration::from_hours(10 * 365 * 24);

const SIZES: [(&str, u64); 8] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

/// `1d`, `2h`, `90m`, `1h30m`, `30s`, or `HH:MM:SS`.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let seconds = if text.contains(':') { clock_seconds(text) } else { unit_seconds(text) }?;
    Some(Duration::from_secs(seconds)).filter(|duration| *duration <= LONGEST)
}

fn clock_seconds(text: &str) -> Option<u64> {
    let mut parts = text.split(':').map(|part| {
        ((1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse::<u64>().ok())?
    });
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    (parts.next().is_none() && minutes < 60 && seconds < 60).then_some(hours * 3_600 + minutes * 60 + seconds)
}

fn unit_seconds(text: &str) -> Option<u64> {
    let mut total = 0_u64;
    let mut rest = text;
    // Units only get smaller, so that none can stand twice.
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|end| *end > 0)?;
        let (number, after) = rest.split_at(digits);
        let letter = after.chars().next()?;
        let (_, seconds) = units.find(|(unit, _)| *unit == letter)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*seconds)?)?;
        rest = &after[letter.len_utf8()..];
    }
    (!text.is_empty()).then_some(total)
}

/// A number of bytes: `1048576`, `512MiB`, `2 GiB`, `10GB`.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let factor = if unit.is_empty() { 1 } else { SIZES.iter().find(|(name, _)| *name == unit)?.1 };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Whole seconds as a person writes them.
pub(super) fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (unit, size) =
        UNITS.iter().find(|(_, size)| seconds >= *size && seconds.is_multiple_of(*size)).unwrap_or(&('s', 1));
    format!("{}{unit}", seconds / size)
}

/// Bytes as they would be written in the file: with the largest unit that leaves nothing over.
pub(super) fn show_size(bytes: u64) -> String {
    let binary = SIZES.iter().take(4).rev().find(|(_, size)| bytes >= *size && bytes.is_multiple_of(*size));
    binary.map_or_else(|| bytes.to_string(), |(unit, size)| format!("\"{}{unit}\"", bytes / size))
}

pub(super) fn string(entry: &Entry<'_, '_>, wanted: &str) -> Option<String> {
    let text = entry.value.as_str();
    match text {
        None => entry.wrong_type(wanted),
        Some("") => entry.wrong(format!("is empty; write {wanted}, or leave the key out")),
        Some(_) => {}
    }
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

pub(super) fn boolean(entry: &Entry<'_, '_>) -> Option<bool> {
    let value = entry.value.as_bool();
    if value.is_none() {
        entry.wrong_type("true or false, without quotes");
    }
    value
}

pub(super) fn duration(entry: &Entry<'_, '_>, shortest: Duration, longest: Duration) -> Option<Duration> {
    const WANTED: &str = "a duration such as \"2h\", \"90m\", \"7d\" or \"HH:MM:SS\"";
    let text = string(entry, WANTED)?;
    let Some(duration) = parse_duration(&text) else {
        entry.wrong(format!("{text:?} is no duration; write {WANTED}"));
        return None;
    };
    if duration < shortest || duration > longest {
        let (from, to) = (show_duration(shortest), show_duration(longest));
        entry.wrong(format!("{text:?} is out of range; write a duration from \"{from}\" to \"{to}\""));
        return None;
    }
    Some(duration)
}

/// A whole number, where none is an answer too.
pub(super) fn number<N: TryFrom<u64>>(entry: &Entry<'_, '_>) -> Option<N> {
    let Some(integer) = entry.value.as_integer() else {
        entry.wrong_type("a whole number, without quotes");
        return None;
    };
    let number =
        u64::from_str_radix(integer.as_str(), integer.radix()).ok().and_then(|number| N::try_from(number).ok());
    if number.is_none() {
        entry.wrong(format!("{integer} is out of range; write a whole number of at least 0"));
    }
    number
}

/// A whole number of at least 1: a limit of nothing would refuse everything.
pub(super) fn count<N: TryFrom<u64>>(entry: &Entry<'_, '_>) -> Option<N> {
    let Some(integer) = entry.value.as_integer() else {
        entry.wrong_type("a whole number of at least 1, without quotes");
        return None;
    };
    let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok().filter(|number| *number >= 1);
    let number = number.and_then(|number| N::try_from(number).ok());
    if number.is_none() {
        entry.wrong(format!("{integer} is out of range; write a whole number of at least 1"));
    }
    number
}

/// A number of bytes of at least 1, as an integer or with a unit.
pub(super) fn size(entry: &Entry<'_, '_>) -> Option<u64> {
    const WANTED: &str = "a number of bytes, or a text such as \"512MiB\" or \"2GiB\"";
    if entry.value.is_integer() {
        return count(entry);
    }
    let text = string(entry, WANTED)?;
    let size = parse_size(&text).filter(|size| *size >= 1);
    if size.is_none() {
        entry.wrong(format!("{text:?} is no size; write {WANTED}"));
    }
    size
}

pub(super) fn strings(entry: &Entry<'_, '_>, wanted: &str) -> Option<Vec<String>> {
    let Some(array) = entry.value.as_array() else {
        entry.wrong_type(&format!("a list of {wanted}, in brackets"));
        return None;
    };
    let texts: Option<Vec<String>> = array
        .iter()
        .map(|item| item.get_ref().as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned))
        .collect();
    if texts.is_none() {
        entry.wrong(format!("holds something else than texts; write a list of {wanted}, each in quotes"));
    }
    texts
}

/// A URL that others are to be reached by: a host, no credentials, no fragment.
pub(super) fn url(entry: &Entry<'_, '_>, schemes: &[&str], example: &str) -> Option<Url> {
    let text = string(entry, &format!("a URL such as \"{example}\""))?;
    let problem = match Url::parse(&text) {
        Err(error) => format!("is no URL ({error})"),
        Ok(url) if !schemes.contains(&url.scheme()) => {
            format!("begins with {}://, and only {}:// is accepted", url.scheme(), schemes.join(":// or "))
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            "holds a user name or password, which would end up in logs".to_owned()
        }
        Ok(url) if url.fragment().is_some() => "has a fragment (#…), which no server sees".to_owned(),
        Ok(url) if url.host().is_none() => "names no host".to_owned(),
        Ok(url) => return Some(url),
    };
    // The text itself is not repeated: it may hold a password.
    entry.wrong(format!("{problem}; write one such as \"{example}\""));
    None
}

/// A host by name or address, in the form in which URLs hold it.
pub(super) fn host(entry: &Entry<'_, '_>, text: &str) -> Option<String> {
    let parsed = Host::parse(text).ok().filter(|_| !text.contains('*'));
    if parsed.is_none() {
        entry.wrong(format!(
            "{text:?} is no host; write names such as \"iseservice.cisco.com\", without scheme, port or *"
        ));
    }
    parsed.map(|host| host.to_string())
}

pub(super) fn address(entry: &Entry<'_, '_>) -> Option<SocketAddr> {
    const WANTED: &str = "an IP address and port such as \"0.0.0.0:8080\" or \"[::]:8443\"";
    let text = string(entry, WANTED)?;
    let address = text.parse().ok();
    if address.is_none() {
        entry.wrong(format!("{text:?} is no address to listen on; write {WANTED}"));
    }
    address
}
