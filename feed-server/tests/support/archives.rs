//! Small archives, good and bad.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn tar_gz(member: &str, bytes: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_data(&mut header, member, bytes).unwrap();
    gzip(&tar.into_inner().unwrap())
}

pub(crate) fn conditions(version: &str) -> Vec<u8> {
    tar_gz("conditions.xml", format!("<conditions version=\"{version}\"/>").as_bytes())
}

pub(crate) fn chart() -> Vec<u8> {
    let chart = br#"<?xml version="1.0"?><xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"><x SDKVersion="4.3.3030.6145"/></xsl:stylesheet>"#;
    gzip(chart)
}

/// A tar whose member would be written outside: tar's own builder refuses to make one.
pub(crate) fn outside() -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    let name = b"../../etc/cron.d/evil";
    header.as_mut_bytes()[..name.len()].copy_from_slice(name);
    header.set_size(0);
    header.set_mode(0o644);
    header.set_cksum();
    let mut tar = tar::Builder::new(Vec::new());
    tar.append(&header, &b""[..]).unwrap();
    gzip(&tar.into_inner().unwrap())
}
