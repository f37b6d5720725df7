//! `feed-server release hold`, `resume` and `republish`, and what is told of what is held.

use bundles::Serial;

use crate::commands::Global;
use crate::commands::door::Door;
use crate::commands::output::{local_time, print, print_json};
use crate::http::api::views::{ReasonGiven, RepublishRequest};
use crate::store::holding::{Hold, Holding, Withdrawal};

pub(super) async fn hold(global: &Global, reason: String) -> anyhow::Result<()> {
    let held = change(global, "/api/v1/releases/hold", reason).await?;
    if global.json {
        return print_json(&held);
    }
    print("Releases are held: no new one is made or followed here, and headends stay on what they run.\n")
}

pub(super) async fn resume(global: &Global, reason: String) -> anyhow::Result<()> {
    let held = change(global, "/api/v1/releases/resume", reason).await?;
    if global.json {
        return print_json(&held);
    }
    match &held.withdrawal {
        None => print("Nothing is held any more: the next run, or `feed-server sync`, releases what is new.\n"),
        Some(withdrawal) => print(&format!(
            "Releases are no longer held. What release {} took the place of stays withdrawn while upstream serves it; \
             `feed-server release resume` once more lets it come back.\n",
            withdrawal.serial
        )),
    }
}

async fn change(global: &Global, route: &str, reason: String) -> anyhow::Result<Holding> {
    let given = ReasonGiven { reason };
    Door::with(global, async |door| door.post(route, &given).await).await
}

pub(super) async fn republish(global: &Global, serial: Serial, reason: Option<String>) -> anyhow::Result<()> {
    let given = RepublishRequest { reason };
    let route = format!("/api/v1/releases/{serial}/republish");
    let made: Withdrawal = Door::with(global, async |door| door.post(&route, &given).await).await?;
    if global.json {
        return print_json(&made);
    }
    let Withdrawal { serial, content_of, files, .. } = &made;
    let mut text = format!("Release {serial} is published: the content of {content_of} again.\n");
    if !files.is_empty() {
        text.push_str("No run or import brings this back while upstream serves it:\n");
    }
    for file in files {
        text.push_str(&format!("  {}  {}\n", file.sha256, file.name));
    }
    print(&text)
}

/// A line for each thing that holds releases back.
pub(in crate::commands) fn held(holding: &Holding) -> Vec<String> {
    let hold = holding.hold.as_ref().map(|Hold { since, by, reason }| {
        let since = local_time(*since);
        format!("no new release since {since}, by {by}: {reason}; `feed-server release resume --reason TEXT` ends it")
    });
    let withdrawal = holding.withdrawal.as_ref().map(|Withdrawal { since, by, reason, serial, content_of, files }| {
        let names: std::collections::BTreeSet<_> = files.iter().map(|file| file.name.as_str()).collect();
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        let why = reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        format!(
            "release {serial} has the content of {content_of} again since {}, by {by}{why}; nothing with {names} as it was \
             comes back while upstream serves it",
            local_time(*since)
        )
    });
    hold.into_iter().chain(withdrawal).collect()
}
