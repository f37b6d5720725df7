//! `feed-server status`

use jiff::tz::TimeZone;

use super::Global;
use super::door::Door;
use super::output::{local_time, print, print_json};
use crate::http::api::views::StatusView;

/// Shows Update Information and what stands around it.
///
/// # Errors
/// There is no way to the data.
pub async fn run(global: &Global) -> anyhow::Result<()> {
    let (status, is_running) =
        Door::with(global, async |door| Ok((door.get::<StatusView>("/api/v1/status").await?, door.leads_to_server())))
            .await?;
    if global.json { print_json(&status) } else { print(&text(&status, is_running)) }
}

fn text(status: &StatusView, is_running: bool) -> String {
    let mut text = status.update_information.to_text(&TimeZone::system());
    let none = || "none".to_owned();
    let release = status.release.as_ref().map_or_else(
        || "none yet".to_owned(),
        |release| format!("{}, made {}", release.serial, local_time(release.created)),
    );
    let server = if is_running { "running" } else { "not running" };
    let mut lines = vec![
        ("Server", server.to_owned()),
        ("Release", release),
        ("Next run", status.next_run.map_or_else(none, local_time)),
    ];
    if let Some(running) = &status.running {
        let done = format!("run {}, {} of {} files", running.run, running.files_done, running.entries);
        lines.push(("Running", done));
    }
    if let Some(failed) = &status.last_failure {
        let reason = failed.reason.map_or("", bundles::Reason::as_str);
        let message = failed.message.as_deref().unwrap_or_default();
        lines.push(("Last failure", format!("{} {reason}: {message}", local_time(failed.started))));
    }
    if let Some(problem) = &status.cannot_store {
        lines.push(("Storage", problem.clone()));
    }
    let headends: Vec<String> =
        status.headends.iter().filter(|c| c.count > 0).map(|c| format!("{} {}", c.count, c.state.as_str())).collect();
    lines.push(("Headends", if headends.is_empty() { none() } else { headends.join(", ") }));
    text.push('\n');
    for (label, value) in lines {
        text.push_str(&format!("{label:<13} {value}\n"));
    }
    text
}
