//! The version that content names: the first `SDKVersion` on any element, or `version` on a root that is not
//! `xsl:stylesheet`, whose `version="1.0"` is the stylesheet language's (design, sections 4 and 5).

use std::io::{BufRead, BufReader, Read};

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::Version;

/// How far a member is read for its version. Real charts name it within the first kilobyte; the bound keeps a member
/// without one from being parsed whole.
const LOOK_BYTES: u64 = 256 << 10;

/// Looks at the beginning of a member's content. `None` where it is not XML or names none.
pub(super) fn find(content: &mut dyn Read) -> Option<Version> {
    let mut content = BufReader::new(content.take(LOOK_BYTES));
    if !looks_like_xml(content.fill_buf().ok()?) {
        return None;
    }
    let mut reader = Reader::from_reader(content);
    let mut buffer = Vec::new();
    let mut root_seen = false;
    loop {
        buffer.clear();
        let element = match reader.read_event_into(&mut buffer) {
            Ok(Event::Start(element) | Event::Empty(element)) => element,
            Ok(Event::Eof) | Err(_) => return None,
            Ok(
                Event::End(_)
                | Event::Text(_)
                | Event::CData(_)
                | Event::Comment(_)
                | Event::Decl(_)
                | Event::PI(_)
                | Event::DocType(_)
                | Event::GeneralRef(_),
            ) => continue,
        };
        let is_root = !std::mem::replace(&mut root_seen, true);
        let is_stylesheet = element.local_name().as_ref().eq_ignore_ascii_case("stylesheet");
        for attribute in element.attributes().flatten() {
            let name = attribute.key.local_name();
            let fits = name.as_ref().eq_ignore_ascii_case("sdkversion")
                || (is_root && !is_stylesheet && name.as_ref().eq_ignore_ascii_case("version"));
            let version = attribute.value.trim().parse().ok();
            if let (true, Some(version @ Version::Dotted(_))) = (fits, version) {
                return Some(version);
            }
        }
    }
}

/// Whether content begins as XML does, a byte order mark aside.
pub(super) fn looks_like_xml(start: &[u8]) -> bool {
    let start = start.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(start);
    start.trim_ascii_start().starts_with(b"<")
}

/// Whether content begins as a web page does.
pub(super) fn looks_like_a_web_page(start: &[u8]) -> bool {
    let start = start.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(start).trim_ascii_start();
    [b"<!doctype html".as_slice(), b"<html"]
        .iter()
        .any(|page| start.get(..page.len()).is_some_and(|start| start.eq_ignore_ascii_case(page)))
}
