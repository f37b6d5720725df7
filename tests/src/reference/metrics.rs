//! Metrics, by the tables that the programs make theirs of.

use std::fmt::Write as _;

use anyhow::Result;
use serde::Deserialize;

use super::{Program, cell};

#[derive(Debug, Deserialize)]
struct Described {
    name: String,
    kind: String,
    labels: Vec<String>,
    help: String,
}

pub(super) fn text(programs: &[Program]) -> Result<String> {
    let mut text = String::from(
        "Times are Unix seconds and absent until there is one. `result` and `reason` are [reasons](reasons.md), or `ok` and its like; \
         every result is there from the start, at 0. [Monitoring](../monitoring.md) says what to do with them.\n",
    );
    for program in programs {
        let (prefix, how) = match program.name {
            "feed-server" => ("posture_feed_", "Served as `/metrics`"),
            _ => ("posture_feed_client_", "Written to `[metrics] textfile` after each attempt"),
        };
        let _ = write!(
            text,
            "\n## {}\n\n{how}.\n\n| metric | type | labels | what it says |\n| --- | --- | --- | --- |\n",
            program.name
        );
        let mut described: Vec<Described> = program.generated("metrics")?;
        described.sort_by(|a, b| a.name.cmp(&b.name));
        for Described { name, kind, labels, help } in described {
            let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
            let _ = writeln!(text, "| `{prefix}{name}` | {kind} | {} | {} |", labels.join(", "), cell(&help));
        }
    }
    Ok(text)
}
