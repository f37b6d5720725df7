//! A large feed of which little changes: ten archives of plain tables, and one row in a hundred is another one in the next edition.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::Result;
use bundles::{Digest, FileName};
use flate2::{Compression, GzBuilder};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use url::Url;

/// How many archives the feed is spread over, since a server tells payloads up to 16 MiB in terms of others.
const ARCHIVES: u64 = 10;

/// One row in this many changes with an edition.
const CHANGES: u64 = 100;

/// The archives of an edition, which open to `bytes` in all.
///
/// # Errors
/// None that is known of: they are made in memory.
pub fn archives(bytes: u64, edition: u64) -> Result<BTreeMap<FileName, Vec<u8>>> {
    (0..ARCHIVES)
        .map(|number| {
            let name: FileName = format!("table-{}.tar.gz", char::from(b'a' + u8::try_from(number)?)).parse()?;
            Ok((name, archive(&table(bytes / ARCHIVES, number, edition))?))
        })
        .collect()
}

/// The vendor's index of these archives, at that URL.
///
/// # Errors
/// A name does not fit into a URL.
pub fn index(archives: &BTreeMap<FileName, Vec<u8>>, base: &Url, edition: u64) -> Result<Vec<u8>> {
    let mut xml = "<?xml version=\"1.0\"?>\n<update>\n".to_owned();
    for (name, archive) in archives {
        let (url, sha256) = (base.join(name.as_str())?, Digest::of(archive));
        writeln!(
            xml,
            "<file version=\"{edition}.0.0.0\" url=\"{url}\" sha256=\"{sha256}\" size=\"{}\"/>",
            archive.len()
        )?;
    }
    xml.push_str("</update>\n");
    Ok(xml.into_bytes())
}

/// Rows of names, versions and a digest: what part of such data does not compress is the digests' bytes.
fn table(bytes: u64, number: u64, edition: u64) -> Vec<u8> {
    let mut text = String::new();
    let mut row = 0;
    while (text.len() as u64) < bytes {
        // What a row says follows from its place and from the edition that changed it last.
        let changed = (1..=edition).rev().find(|edition| (row + edition * 37) % CHANGES == 0).unwrap_or(0);
        let mut random = StdRng::seed_from_u64((number << 48) ^ (changed << 32) ^ row);
        let (major, minor, build): (u8, u8, u16) = (random.random(), random.random(), random.random());
        let digest: [u8; 16] = random.random();
        let _ = writeln!(
            text,
            "<row id=\"{number}-{row}\"><product>Product {}</product><version>{major}.{minor}.{build}</version>\
             <file>C:\\Program Files\\Vendor {}\\agent.exe</file><md5>{}</md5></row>",
            random.random_range(0..5_000),
            random.random_range(0..300),
            hex::encode(digest),
        );
        row += 1;
    }
    text.into_bytes()
}

/// An archive of one member.
///
/// # Errors
/// None that is known of: it is made in memory.
pub fn archive(table: &[u8]) -> Result<Vec<u8>> {
    let gzip = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::default());
    let mut tar = tar::Builder::new(gzip);
    let mut header = tar::Header::new_ustar();
    header.set_size(table.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, "table.xml", table)?;
    let mut gzip = tar.into_inner()?;
    gzip.flush()?;
    Ok(gzip.finish()?)
}
