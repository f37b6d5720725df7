//! `feed-client doctor`

use std::io::Write as _;

use bundles::report::Failure;

use super::{Global, print};
use crate::clock::Edge;
use crate::doctor::{Line, Mark, examine};

pub(super) async fn doctor(global: &Global, edge: Edge) -> Result<(), Failure> {
    let is_json = global.json;
    let mut has_failed = false;
    let tell = move |line: &Line| {
        let is_first = line.result == Mark::Failed && !std::mem::replace(&mut has_failed, true);
        if !is_json {
            // What cannot be printed now cannot be later either, and is told then.
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(line.to_text(is_first).as_bytes()).and_then(|()| out.flush());
        }
    };
    let report = examine(global.config.as_deref(), &global.data, edge, tell).await;
    print(is_json, &report, &report.verdict.to_text())?;
    report.verdict.into_result()
}
