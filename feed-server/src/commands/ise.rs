//! `feed-server ise …`

use std::net::IpAddr;

use bundles::Serial;
use clap::Subcommand;

use super::Global;
use super::door::Door;
use super::output::{local_time, print, print_json, print_table};
use crate::app::ise::{CLOSED, Guide, IseState};
use crate::http::api::views::{IseListView, IseView, NewIse};

/// ISE deployments, as far as they can be seen.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Name a deployment, so that what comes from its addresses is seen as its own
    Add {
        /// Its name: 1 to 253 of A-Z a-z 0-9 . _ -
        deployment: String,
        /// Where its requests come from: those of its Admin nodes, of a proxy of theirs, or of NAT
        #[arg(long = "address", value_name = "IP", required = true, num_args = 1..)]
        addresses: Vec<IpAddr>,
        /// Hours between its updates, as they are set there
        #[arg(long, value_name = "HOURS", default_value_t = 2)]
        every: u32,
        /// The release that it has already, as after an Offline update
        #[arg(long, value_name = "N")]
        release: Option<Serial>,
    },
    /// List deployments, what was seen of each, and addresses that ask like one and belong to none
    List,
    /// Remove a deployment and what was seen of it
    Remove {
        /// Its name
        deployment: String,
    },
    /// Show what to type in ISE, which authority to import there, and what to expect
    Guide,
}

/// Adds, lists or removes deployments, or shows what to type in ISE.
///
/// # Errors
/// There is one already, there is none, or there is no way to the data.
pub async fn run(global: &Global, verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Add { deployment, addresses, every, release } => {
            let new = NewIse { name: deployment, addresses, every_hours: every, release };
            Door::with(global, async |door| door.tell("/api/v1/ise", &new).await).await?;
            if global.json { Ok(()) } else { print(&format!("Deployment {} is added.\n", new.name)) }
        }
        Verb::List => {
            let list: IseListView = Door::with(global, async |door| door.get("/api/v1/ise").await).await?;
            if global.json { print_json(&list) } else { show(&list) }
        }
        Verb::Remove { deployment } => {
            let path = format!("/api/v1/ise/{}", super::segment(&deployment)?);
            Door::with(global, async |door| door.delete(&path).await).await?;
            if global.json { Ok(()) } else { print(&format!("Deployment {deployment} is removed.\n")) }
        }
        Verb::Guide => {
            let guide: Guide = Door::with(global, async |door| door.get("/api/v1/ise/guide").await).await?;
            if global.json { print_json(&guide) } else { print(&text(&guide)) }
        }
    }
}

fn show(list: &IseListView) -> anyhow::Result<()> {
    let mut rows = vec![["DEPLOYMENT", "STATE", "RELEASE", "LAST INDEX", "WHAT WAS SEEN"].map(str::to_owned)];
    for deployment in &list.deployments {
        rows.push([
            deployment.name.clone(),
            deployment.state.as_str().to_owned(),
            deployment.release.map_or_else(|| "–".to_owned(), |serial| serial.to_string()),
            deployment.polled.map_or_else(|| "never".to_owned(), local_time),
            why(deployment),
        ]);
    }
    print_table(&rows)?;
    if list.strangers.is_empty() {
        return Ok(());
    }
    let mut rows = vec![["ADDRESS", "FIRST", "LAST", "INDEXES"].map(str::to_owned)];
    for stranger in &list.strangers {
        rows.push([
            stranger.address.to_string(),
            local_time(stranger.first),
            local_time(stranger.last),
            stranger.polls.to_string(),
        ]);
    }
    print("\nSeen, belongs to no deployment (`feed-server ise add DEPLOYMENT --address IP`):\n")?;
    print_table(&rows)
}

/// Why a deployment is in its state, in a line.
fn why(seen: &IseView) -> String {
    let mut parts = Vec::new();
    if let Some(alert) = &seen.last_alert {
        let what = if is_about_trust(&alert.alert) { "does not trust our CA" } else { "broke off TLS" };
        let when = local_time(alert.at);
        match seen.state {
            IseState::Refused => parts.push(format!("{what}: {} from {} at {when}", alert.alert, alert.from)),
            IseState::Silent | IseState::Partial | IseState::Fetched => {
                parts.push(format!("{what} at {when} ({}), and came again", alert.alert));
            }
        }
    }
    match (seen.release, seen.lacking.as_slice()) {
        (None, _) => {}
        (Some(_), []) => parts.push("fetched all of it".to_owned()),
        (Some(_), lacking) => parts.push(format!("has not fetched {}", lacking.join(", "))),
    }
    if !seen.missing.is_empty() {
        parts.push(format!("asked in vain for {}", seen.missing.join(", ")));
    }
    parts.join("; ")
}

/// Alerts by which clients refuse a certificate (RFC 8446, section 6.2); Java's close the connection without one.
fn is_about_trust(alert: &str) -> bool {
    [CLOSED, "unknown_ca", "bad_certificate", "certificate_unknown", "unsupported_certificate", "certificate_expired"]
        .contains(&alert)
}

fn text(guide: &Guide) -> String {
    let mut text = String::from("In ISE: Administration > System > Settings > Posture > Updates, Web\n\n");
    let unknown = || "not known: set [serve] public_url to what ISE reaches this server by".to_owned();
    let mut lines = vec![("Update Feed URL", guide.update_feed_url.clone().unwrap_or_else(unknown))];
    if guide.update_feed_url.is_some() && !guide.public_url_is_set {
        let note = "this is the listening address; set [serve] public_url to the name that ISE reaches this server by";
        lines.push(("", note.to_owned()));
    }
    match &guide.certificate {
        None => lines
            .push(("CA to import", "none: this server does not answer by TLS ([listen] tls_certificate)".to_owned())),
        Some(certificate) => {
            lines.push(("CA to import", certificate.subject.clone()));
            match (&certificate.sha256, certificate.not_after) {
                (Some(sha256), Some(not_after)) => {
                    lines.push(("", format!("SHA-256 {sha256}, until {}", local_time(not_after))));
                    lines.push(("", format!("the last certificate in {}", certificate.file)));
                }
                _ => lines.push(("", format!("it is not in {}; whoever issued that has it", certificate.file))),
            }
            lines.push(("", "Administration > System > Certificates > Trusted Certificates > Import,".to_owned()));
            lines.push(("", "with \"Trust for authentication of Cisco Services\"".to_owned()));
        }
    }
    let bypass = guide.proxy_bypass.clone().unwrap_or_else(unknown);
    lines.push(("Proxy bypass", format!("{bypass} (Administration > System > Settings > Proxy, where ISE uses one)")));
    lines.push(("Then", "Save, Update Now; the first update takes about 20 minutes".to_owned()));
    lines.push(("Its log", format!("{} (on the Primary Admin node)", guide.log_command)));
    lines.push(("Seen from here", "feed-server ise list".to_owned()));
    lines.push(("The way back", "Set to Default, beside Update Feed URL".to_owned()));
    for (label, value) in lines {
        text.push_str(&format!("{label:<16} {value}\n"));
    }
    text.push_str("\nUpdate Information shows afterwards:\n");
    for row in &guide.versions {
        text.push_str(&format!("  {:<49} {}\n", row.label, row.version.as_deref().unwrap_or("–")));
    }
    text.push_str(
        "\nA fresh ISE creates its default policies, requirements and remediations with its first update, and only then: see \
         that a\nrelease with all five is here before it updates for the first time, and that it fetches all of it.\n",
    );
    text
}
