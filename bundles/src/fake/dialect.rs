//! How an index may be written. The real one's schema is not public, so readers are tried on several unlike each other.

use std::fmt::Write as _;
use std::str::FromStr;

use md5::Digest as _;
use quick_xml::escape::escape;
use url::Url;

use crate::{Component, Digest, FileName, Version};

/// How an index is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Everything in attributes, absolute URLs, SHA-256.
    Attributes,
    /// Child elements, relative names, MD5, names in a namespace.
    Elements,
    /// Upper-case names, absolute URLs, SHA-1 that is called a checksum, no sizes.
    UpperCase,
    /// Child elements whose values stand in CDATA.
    CData,
    /// Attributes and elements mixed: one element for each component, with its version, and the component's files in it.
    Mixed,
    /// Names and sizes, and no version anywhere.
    NoVersions,
    /// A table for some script, in one value: a reader finds the locators and nothing else.
    Listed,
}

/// One file of a feed.
pub(super) struct Row<'a> {
    pub(super) component: &'a Component,
    pub(super) version: &'a Version,
    pub(super) name: &'a FileName,
    pub(super) bytes: &'a [u8],
}

impl Dialect {
    /// Every dialect.
    pub const ALL: [Self; 7] =
        [Self::Attributes, Self::Elements, Self::UpperCase, Self::CData, Self::Mixed, Self::NoVersions, Self::Listed];

    /// Its name on command lines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Attributes => "attributes",
            Self::Elements => "elements",
            Self::UpperCase => "upper-case",
            Self::CData => "cdata",
            Self::Mixed => "mixed",
            Self::NoVersions => "no-versions",
            Self::Listed => "listed",
        }
    }

    /// Whether an index of it says which version each component has.
    #[must_use]
    pub const fn gives_versions(self) -> bool {
        match self {
            Self::Attributes | Self::Elements | Self::UpperCase | Self::CData | Self::Mixed => true,
            Self::NoVersions | Self::Listed => false,
        }
    }

    pub(super) fn write(self, rows: &[Row<'_>], base: &Url) -> Vec<u8> {
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let url = |name: &FileName| base.join(name.as_str()).map_or_else(|_| name.to_string(), String::from);
        match self {
            Self::Attributes => attributes(&mut xml, rows, url),
            Self::Elements => elements(&mut xml, rows),
            Self::UpperCase => upper_case(&mut xml, rows, url),
            Self::CData => cdata(&mut xml, rows, url),
            Self::Mixed => mixed(&mut xml, rows),
            Self::NoVersions => no_versions(&mut xml, rows),
            Self::Listed => listed(&mut xml, rows),
        }
        xml.into_bytes()
    }
}

// A String takes whatever is written to it, so what `writeln!` answers says nothing below.

fn attributes(xml: &mut String, rows: &[Row<'_>], url: impl Fn(&FileName) -> String) {
    xml.push_str("<postureUpdate schemaVersion=\"2\" publisher=\"Posture Feed lab\">\n");
    for Row { component, version, name, bytes } in rows {
        let (sha256, size) = (Digest::of(bytes), bytes.len());
        let label = escape(component.label().unwrap_or("posture data"));
        let url = url(name);
        let url = escape(url.as_str());
        let _ = writeln!(
            xml,
            "  <file name=\"{label}\" type=\"{component}\" version=\"{version}\" url=\"{url}\" sha256=\"{sha256}\" size=\"{size}\"/>",
        );
    }
    xml.push_str("</postureUpdate>\n");
}

fn elements(xml: &mut String, rows: &[Row<'_>]) {
    xml.push_str("<pf:Feed xmlns:pf=\"urn:x-posture-feed:lab\">\n  <pf:Title>Posture Feed lab</pf:Title>\n");
    for Row { component, version, name, bytes } in rows {
        let (md5, size) = (md5_of(bytes), bytes.len());
        let _ = write!(
            xml,
            "  <pf:Component>\n    <pf:ID>{component}</pf:ID>\n    <pf:Version>{version}</pf:Version>\n    \
             <pf:File>{name}</pf:File>\n    <pf:Checksum>md5:{md5}</pf:Checksum>\n    <pf:FileSize>{size}</pf:FileSize>\n  \
             </pf:Component>\n"
        );
    }
    xml.push_str("</pf:Feed>\n");
}

fn upper_case(xml: &mut String, rows: &[Row<'_>], url: impl Fn(&FileName) -> String) {
    xml.push_str("<POSTURE_UPDATE VERSION=\"1.0\">\n <PACKAGES>\n");
    for Row { component, version, name, bytes } in rows {
        let sha1 = hex::encode_upper(sha1::Sha1::digest(bytes));
        let kind = component.to_string().to_uppercase();
        let url = url(name);
        let url = escape(url.as_str());
        let _ = write!(
            xml,
            "  <PACKAGE>\n   <TYPE>{kind}</TYPE>\n   <VERSION>{version}</VERSION>\n   <URL>{url}</URL>\n   \
             <CHECKSUM>{sha1}</CHECKSUM>\n  </PACKAGE>\n"
        );
    }
    xml.push_str(" </PACKAGES>\n</POSTURE_UPDATE>\n");
}

fn cdata(xml: &mut String, rows: &[Row<'_>], url: impl Fn(&FileName) -> String) {
    xml.push_str("<updates>\n");
    for Row { component, version, name, .. } in rows {
        let (label, url) = (component.label().unwrap_or("posture data"), url(name));
        let _ = writeln!(
            xml,
            "  <update><title><![CDATA[{label}]]></title><version><![CDATA[{version}]]></version><link><![CDATA[{url}]]></link></update>",
        );
    }
    xml.push_str("</updates>\n");
}

fn mixed(xml: &mut String, rows: &[Row<'_>]) {
    xml.push_str("<feed>\n");
    for of_component in rows.chunk_by(|one, other| one.component == other.component) {
        let Some(Row { component, version, .. }) = of_component.first() else { continue };
        let _ = writeln!(xml, "  <component id=\"{component}\" version=\"{version}\">");
        for Row { name, bytes, .. } in of_component {
            let (md5, size) = (md5_of(bytes), bytes.len());
            let _ = writeln!(xml, "    <file md5=\"{md5}\" size=\"{size}\">{name}</file>");
        }
        xml.push_str("  </component>\n");
    }
    xml.push_str("</feed>\n");
}

fn no_versions(xml: &mut String, rows: &[Row<'_>]) {
    xml.push_str("<files>\n");
    for Row { name, bytes, .. } in rows {
        let _ = writeln!(xml, "  <file><name>{name}</name><bytes>{}</bytes></file>", bytes.len());
    }
    xml.push_str("</files>\n");
}

fn listed(xml: &mut String, rows: &[Row<'_>]) {
    xml.push_str("<posture>\n<data><![CDATA[\n");
    for Row { component, version, name, .. } in rows {
        let _ = writeln!(xml, "{component}|{version}|{name}");
    }
    xml.push_str("]]></data>\n</posture>\n");
}

fn md5_of(bytes: &[u8]) -> String {
    hex::encode(md5::Md5::digest(bytes))
}

impl FromStr for Dialect {
    type Err = UnknownDialect;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|dialect| dialect.as_str() == text).ok_or_else(|| UnknownDialect(text.to_owned()))
    }
}

/// A text that names no dialect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no dialect {name:?}; there are {known}", name = .0, known = Dialect::ALL.map(Dialect::as_str).join(", "))]
pub struct UnknownDialect(String);
