//! `feed-server status`

pub mod check;
mod imports;

use std::collections::BTreeMap;
use std::time::Duration;

use bundles::probe;
use bundles::report::Failure;
use clap::Args;
use jiff::tz::TimeZone;

use super::door::Door;
use super::output::{local_time, print, print_json};
use super::release::{held, source_line};
use super::{Global, chain};
use crate::app::warnings::Warning;
use crate::clock;
use crate::config::Role;
use crate::http::api::views::{CooldownView, ExpiryView, RunView, StatusView};

/// `feed-server status`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Be a probe for Nagios and its like: one line, figures, details, and the exit codes 0 OK, 1 WARNING, 2 CRITICAL, 3
    /// UNKNOWN; asks the server that runs, and opens nothing itself
    #[arg(long)]
    pub check: bool,
    /// With --check: the last success may be that old before it is a WARNING [default: 6h, three intervals at least]
    #[arg(long, value_name = "AGE", requires = "check", value_parser = probe::age)]
    warning: Option<Duration>,
    /// With --check: and before it is CRITICAL [default: 48h, four intervals at least]
    #[arg(long, value_name = "AGE", requires = "check", value_parser = probe::age)]
    critical: Option<Duration>,
}

/// Shows Update Information and what stands around it.
///
/// # Errors
/// There is no way to the data.
pub async fn run(global: &Global) -> anyhow::Result<()> {
    let (status, is_running) =
        Door::with(global, async |door| Ok((door.get::<StatusView>("/api/v1/status").await?, door.leads_to_server())))
            .await?;
    if global.json {
        return print_json(&status);
    }
    print(&text(&status, is_running))?;
    let Some(presented) = &status.upstream_chain else { return Ok(()) };
    // Update Information tells the failure of the last run already.
    let detail = match (global.verbose > 0, &status.last_failure) {
        (true, _) => chain::Detail::Everything,
        (false, None) => chain::Detail::Lines,
        (false, Some(_)) => chain::Detail::LinesWithoutReason,
    };
    print(&chain::text(presented, detail, clock::now()))
}

pub(super) fn text(status: &StatusView, is_running: bool) -> String {
    let mut text = status.update_information.to_text(&TimeZone::system());
    let none = || "none".to_owned();
    let release = status.release.as_ref().map_or_else(
        || "none yet".to_owned(),
        |release| {
            // Who is woken at night asks first whether anybody is worse off.
            let stays = if status.last_failure.is_some() { "; it stays what headends get" } else { "" };
            let again = release.content_of.map_or_else(String::new, |of| format!(", the content of {of} again"));
            format!("{}, made {}{again}{stays}", release.serial, local_time(release.created))
        },
    );
    let server = if is_running { "running" } else { "not running" };
    let is_relay = status.role == Role::Relay.as_str();
    let relay = if is_relay { ", a relay: it serves what its origin signed" } else { "" };
    let mut lines = vec![
        ("Server", format!("{server}{relay}")),
        ("Release", release),
        ("Source", status.release.as_ref().and_then(|release| release.source.as_ref()).map_or_else(none, source_line)),
        ("Next run", status.next_run.map_or_else(none, local_time)),
    ];
    lines.extend(held(&status.holding).into_iter().map(|held| ("Held", held)));
    if is_relay {
        let by_hand = || "nobody: it is fed by hand, with `feed-server bundle import`".to_owned();
        lines.push(("Follows", status.follows.clone().unwrap_or_else(by_hand)));
        lines.extend(valid_until(&status.metadata_expires).map(|ends| ("Valid until", ends)));
    }
    if let Some(certificate) = &status.server_certificate {
        let (ends, sha256) = (local_time(certificate.not_after), &certificate.sha256);
        lines.push(("Certificate", format!("its own ends {ends} (SHA-256 {sha256})")));
    }
    if let Some(running) = &status.running {
        let done = format!("run {}, {} of {} files", running.run, running.files_done, running.entries);
        lines.push(("Running", done));
    }
    if let Some(importing) = &status.importing {
        lines.push(("Importing", imports::going_on(importing)));
    }
    if let Some(import) = &status.last_import {
        lines.push(("Last import", imports::ended(import)));
    }
    for cooldown in &status.cooldowns {
        lines.push(("Cool-down", cooling(cooldown)));
    }
    if let Some((run, url)) = served_by_fallback(&status.runs) {
        lines.push(("Fallback", format!("{url} served run {run}, since no URL before it could be used")));
    }
    if let Some(refused) = &status.proxy_password_refused {
        let (proxy, since) = (&refused.proxy, local_time(refused.since));
        let ends = "until user name, password or proxy is another one; `feed-server sync` tries once";
        lines
            .push(("Proxy", format!("{proxy}: not asked again since {since} ({}) {ends}", bundles::Reason::ProxyAuth)));
    }
    if let Some(failed) = &status.last_failure {
        lines.push(("Failing", failing(&status.runs)));
        if status.running.is_some() {
            // Update Information tells of the run that is going on instead.
            lines.push(("Last failure", failed.message.clone().unwrap_or_default()));
        }
        lines.push((
            "Check next",
            "`feed-server doctor` tries every step on the way and explains the first that fails".to_owned(),
        ));
    }
    for Warning { kind, message, since } in &status.warnings {
        lines.push(("Warning", format!("{} since {}: {message}", kind.as_str(), local_time(*since))));
    }
    if let Some(problem) = &status.cannot_store {
        lines.push(("Storage", problem.clone()));
    }
    if let Some(Failure { reason, message }) = &status.cannot_publish {
        lines.push(("Publishing", format!("{message} ({reason})")));
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

/// What a relay cannot make last longer: when the first role's metadata of each repository ends.
fn valid_until(expires: &[ExpiryView]) -> Option<String> {
    let mut first: BTreeMap<&str, &ExpiryView> = BTreeMap::new();
    for expiry in expires {
        let kept = first.entry(&expiry.repository).or_insert(expiry);
        if expiry.expires < kept.expires {
            *kept = expiry;
        }
    }
    let told: Vec<_> = first
        .values()
        .map(|first| format!("{} ({} repository, {})", local_time(first.expires), first.repository, first.role))
        .collect();
    (!told.is_empty()).then(|| told.join(", "))
}

/// The last run that ended and the fallback URL that it was served by, where it was.
fn served_by_fallback(runs: &[RunView]) -> Option<(u64, &str)> {
    let last = runs.iter().find(|run| run.result.is_some())?;
    last.source_url.as_deref().filter(|_| last.reason.is_none()).map(|url| (last.id, url))
}

fn cooling(cooldown: &CooldownView) -> String {
    let CooldownView { url, until, status, proxy, .. } = cooldown;
    let by = proxy.as_ref().map_or_else(String::new, |proxy| format!(" by {proxy}"));
    format!("{url}{by} until {} (status {status}); `feed-server sync --ignore-cooldown` asks once", local_time(*until))
}

/// How long it has been so, and whether always for the same reason.
fn failing(runs: &[RunView]) -> String {
    let ended = runs.iter().skip_while(|run| run.result.is_none());
    let failed: Vec<_> = ended.take_while(|run| run.reason.is_some()).collect();
    let mut reasons = Vec::new();
    for reason in failed.iter().filter_map(|run| run.reason) {
        if !reasons.contains(&reason.as_str()) {
            reasons.push(reason.as_str());
        }
    }
    let since = failed.last().map_or_else(String::new, |first| format!(" since {}", local_time(first.started)));
    let (reasons, count) = (reasons.join(", "), failed.len());
    match count {
        1 => format!("{reasons}{since}"),
        // The status has the newest ones alone.
        _ if count == runs.len() && failed.last().is_some_and(|first| first.id > 1) => {
            format!("{reasons}, {count} runs in a row or more, at least{since}")
        }
        _ => format!("{reasons}, {count} runs in a row{since}"),
    }
}

#[cfg(test)]
mod tests {
    use bundles::Reason;
    use bundles::report::Failure;
    use jiff::Timestamp;

    use super::*;
    use crate::store::records::{Outcome, RunRecord, Trigger};

    fn at(age: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 - 3_600 * age).unwrap()
    }

    fn runs(reasons: &[Option<Reason>]) -> Vec<RunView> {
        let run = |(age, reason): (u64, &Option<Reason>)| {
            let outcome = match reason {
                None => Outcome::Unchanged,
                Some(reason) => Outcome::Failed { failure: Failure::new(*reason, reason.sentence()) },
            };
            let started = at(i64::try_from(age).unwrap());
            let begun = RunRecord::begun(100 - age, started, Trigger::Schedule);
            RunView::from(&RunRecord { outcome: Some(outcome), ..begun })
        };
        (0..).zip(reasons).map(run).collect()
    }

    #[test]
    fn a_fallback_is_named_while_the_last_run_that_ended_was_served_by_it() {
        let mut known = runs(&[None, None]);
        assert_eq!(served_by_fallback(&known), None);
        known[1].source_url = Some("https://reserve.example/x.xml".to_owned());
        assert_eq!(served_by_fallback(&known), None);
        known[0].result = None;
        assert_eq!(served_by_fallback(&known), Some((99, "https://reserve.example/x.xml")));
        known[1].reason = Some(Reason::Dns);
        assert_eq!(served_by_fallback(&known), None);
    }

    #[test]
    fn how_long_it_fails_and_why_is_one_line() {
        let (proxy, dns) = (Some(Reason::ProxyAuth), Some(Reason::Dns));
        let since = |age| local_time(at(age));
        assert_eq!(failing(&runs(&[proxy, None, dns])), format!("proxy_auth since {}", since(0)));
        let several = format!("proxy_auth, dns, 3 runs in a row since {}", since(2));
        assert_eq!(failing(&runs(&[proxy, dns, proxy, None])), several);
        let mut going_on = runs(&[None, proxy, dns, proxy, None]);
        going_on[0].result = None;
        assert_eq!(failing(&going_on), format!("proxy_auth, dns, 3 runs in a row since {}", since(3)));
        let all = format!("dns, 2 runs in a row or more, at least since {}", since(1));
        let mut two = runs(&[dns, dns]);
        assert_eq!(failing(&two), all);
        (two[0].id, two[1].id) = (2, 1);
        assert_eq!(failing(&two), format!("dns, 2 runs in a row since {}", since(1)));
    }
}
