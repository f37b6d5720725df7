//! What commands print, on standard output.

use std::io::{self, Write as _};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

/// Prints text as it is. A reader that went away (`… | head`) is no error.
///
/// # Errors
/// It cannot be written otherwise.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Prints facts as JSON.
///
/// # Errors
/// They cannot be written.
pub fn print_json(facts: &impl Serialize) -> anyhow::Result<()> {
    print(&(serde_json::to_string_pretty(facts)? + "\n"))
}

/// Prints rows with columns of equal width; the first row is the heading.
///
/// # Errors
/// They cannot be written.
pub fn print_table<const N: usize>(rows: &[[String; N]]) -> anyhow::Result<()> {
    print(&table(rows))
}

pub(super) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A time as ISE writes it, in this machine's zone.
#[must_use]
pub fn local_time(at: Timestamp) -> String {
    at.to_zoned(TimeZone::system()).strftime("%Y/%m/%d %H:%M:%S").to_string()
}

/// Bytes for people.
#[must_use]
pub fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_without_blanks_at_the_end() {
        let rows = [["ID".to_owned(), "State".to_owned()], ["a-long-id".to_owned(), String::new()]];
        assert_eq!(table(&rows), "ID         State\na-long-id\n");
    }
}
