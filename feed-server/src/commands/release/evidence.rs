//! `feed-server release evidence`: plain text that can be filed.

use bundles::release::FileRef;
use bundles::{Manifest, Serial};

use super::source_line;
use crate::commands::Global;
use crate::commands::chain::{self, Detail};
use crate::commands::door::Door;
use crate::commands::output::{local_time, print, print_json};
use crate::http::api::views::{EvidenceView, PresentedView, RunView};

pub(super) async fn run(global: &Global, serial: Serial) -> anyhow::Result<()> {
    let route = format!("/api/v1/releases/{serial}/evidence");
    let evidence: EvidenceView = Door::with(global, async |door| door.get(&route).await).await?;
    if global.json { print_json(&evidence) } else { print(&text(&evidence)) }
}

fn text(evidence: &EvidenceView) -> String {
    let EvidenceView { at, manifest, taken, content_of, run, import, acts, headends, ise } = evidence;
    let mut text = format!("Evidence of release {}, put together at {at}\n\n", manifest.serial);
    let mut lines = vec![("Made", manifest.created.to_string())];
    lines.extend(taken.map(|taken| ("Taken", format!("{taken}, from another feed-server"))));
    lines.extend(content_of.iter().map(|of| ("Again", format!("the content of release {of}"))));
    lines.push(("Source", source_line(&manifest.source)));
    lines.extend(manifest.source.sha256.map(|sha256| ("SHA-256", sha256.to_string())));
    if let Some(run) = run {
        let RunView { id, started, ended, trigger, received_bytes, .. } = &run.run;
        let ended = ended.map_or_else(|| "not known".to_owned(), |ended| ended.to_string());
        let trigger = format!("{trigger:?}").to_lowercase();
        lines.push(("Run", format!("{id}, by {trigger}, from {started} to {ended}, {received_bytes} bytes received")));
    }
    if let Some(import) = import {
        let name = import.name.as_deref().unwrap_or("a zip");
        let sha256 = import.sha256.map_or_else(String::new, |sha256| format!(", SHA-256 {sha256}"));
        lines.push(("Import", format!("{} at {}: {name}{sha256}", import.id, import.started)));
        lines.extend(import.signer.map(|signer| ("Signed under", format!("the root of SHA-256 {signer}"))));
    }
    if run.is_none() && import.is_none() {
        lines.push(("Run", "no longer remembered, or made by a restored backup".to_owned()));
    }
    for act in acts {
        let doing = &act.doing;
        let from = doing.from.as_ref().map_or_else(String::new, |from| format!(" ({from})"));
        let detail = doing.detail.as_ref().map_or_else(String::new, |detail| format!(": {detail}"));
        let act = format!("{} {} by {}{from}, {}{detail}", act.at, doing.act.as_str(), doing.who, act.result.as_str());
        lines.push(("Act", act));
    }
    for (label, value) in lines {
        text.push_str(&format!("{label:<13} {value}\n"));
    }
    text.push_str("\nFiles (SHA-256, bytes, name)\n");
    files(manifest, &mut text);
    match run {
        Some(run) if !run.chains.is_empty() => {
            let chains = run.chains.clone();
            let presented = PresentedView { run: run.run.id, at: run.run.started, chains };
            text.push_str(&chain::text(&presented, Detail::Everything, evidence.at));
        }
        Some(_) | None => {}
    }
    text.push_str(&format!("\nHeadends that run it, by their last reports: {}\n", headends.len()));
    for one in headends {
        text.push_str(&format!("  {}, reported {}\n", one.headend, local_time(one.reported)));
    }
    if !ise.is_empty() {
        text.push_str(&format!("ISE deployments that got its index last: {}\n", ise.join(", ")));
    }
    text
}

fn files(manifest: &Manifest, text: &mut String) {
    let mut line = |file: &FileRef, what: &str| {
        text.push_str(&format!("  {}  {:>12}  {}{what}\n", file.sha256, file.length, file.name));
    };
    for released in &manifest.components {
        for file in &released.files {
            line(&file.archive, &format!("  ({} {})", released.component, released.version));
            if file.payload.sha256 != file.archive.sha256 {
                line(&file.payload, "  (the same, opened)");
            }
        }
    }
    manifest.index.iter().for_each(|index| line(index, "  (the index)"));
    manifest.offline_zip.iter().for_each(|zip| line(zip, "  (the vendor's own zip)"));
}
