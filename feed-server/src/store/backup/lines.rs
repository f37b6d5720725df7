//! The catalog as lines of text, so that another engine can take them: a table, a key in hex, a value, which is JSON.

use std::io::{BufRead, Read as _};

use super::{BackupError, MOST_LINE};
use crate::store::{Table, TablePair};

/// What is backed up of the catalog: all but what can be made again.
pub(super) const TABLES: [Table; 14] = [
    Table::Releases,
    Table::Runs,
    Table::Imports,
    Table::Headends,
    Table::Reports,
    Table::Tokens,
    Table::Audit,
    Table::Refusals,
    Table::Samples,
    Table::PastReleases,
    Table::Ise,
    Table::IseSeen,
    Table::Validators,
    Table::State,
];

/// A record.
pub type Line = TablePair;

pub(super) fn write(pairs: &[TablePair]) -> Vec<u8> {
    let mut text = Vec::new();
    for (table, key, value) in pairs {
        text.extend_from_slice(format!("{} {} ", table.name(), hex::encode(key)).as_bytes());
        // JSON without line ends: `serde_json::to_vec` writes none, and text in it has them escaped.
        text.extend_from_slice(value);
        text.push(b'\n');
    }
    text
}

/// Reads to the end.
pub(super) fn read(
    mut source: impl BufRead,
    mut take: impl FnMut(Line) -> Result<(), BackupError>,
) -> Result<(), BackupError> {
    let bad = || BackupError::not_a_backup("a line of its catalog is none");
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = (&mut source).take(MOST_LINE + 1).read_until(b'\n', &mut line).map_err(BackupError::Unreadable)?;
        if length == 0 {
            return Ok(());
        }
        if length as u64 > MOST_LINE {
            return Err(BackupError::TooLarge { name: "a line of the catalog".to_owned(), most: MOST_LINE });
        }
        let text = std::str::from_utf8(line.strip_suffix(b"\n").ok_or_else(bad)?).map_err(|_| bad())?;
        let mut parts = text.splitn(3, ' ');
        let (Some(table), Some(key), Some(value)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(bad());
        };
        let table = TABLES.into_iter().find(|known| known.name() == table).ok_or_else(bad)?;
        let key = hex::decode(key).map_err(|_| bad())?;
        serde_json::from_str::<serde::de::IgnoredAny>(value).map_err(|_| bad())?;
        take((table, key, value.as_bytes().to_vec()))?;
    }
}
