//! `feed-server headend …`

use std::path::PathBuf;

use bundles::report::Report;
use clap::Subcommand;

use super::Global;
use super::door::Door;
use super::output::{local_time, print, print_json, print_table};
use super::token_file::{self, Unwritten};
use crate::http::api::views::{HeadendView, IssuedToken, NewHeadend};

/// Headends that may report.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Add a headend and show its token, this once, or none with --certificate
    Add {
        /// Its id: 1 to 253 of A-Z a-z 0-9 . _ -
        id: String,
        /// Write the token to a new file (mode 0600) instead of showing it
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
        /// Make no token: it shows a certificate that names its id, of an authority in listen.client_ca
        #[arg(long, conflicts_with = "token_file")]
        certificate: bool,
    },
    /// Give a headend another token and show it, this once; the one before ends, its reports stay
    Token {
        /// Its id
        id: String,
        /// Write the token to a new file (mode 0600) instead of showing it
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
    },
    /// List headends and how they are
    List,
    /// Remove a headend; its token ends
    Remove {
        /// Its id
        id: String,
    },
}

/// Adds, lists or removes headends, or gives them other tokens.
///
/// # Errors
/// There is one already, there is none, or there is no way to the data.
pub async fn run(global: &Global, verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Add { id, certificate: true, .. } => {
            let new = NewHeadend { id, certificate: true };
            let added: IssuedToken = Door::with(global, async |door| door.post("/api/v1/headends", &new).await).await?;
            if global.json {
                return print_json(&added);
            }
            print(&format!("Headend {} is added; it shows a certificate that names it.\n", added.name))
        }
        Verb::Add { id, token_file, certificate: false } => {
            let told = format!("Headend {id} is added");
            let new = NewHeadend { id, certificate: false };
            token_file::issue(global, "/api/v1/headends", &new, token_file, Unwritten::Undone, |_| told.clone()).await
        }
        Verb::Token { id, token_file } => {
            let route = format!("/api/v1/headends/{}/token", super::segment(&id)?);
            let told = format!("Headend {id} has another token");
            let next = format!("The token of headend {id} is another one that nobody knows; run this once more.");
            token_file::issue(global, &route, &(), token_file, Unwritten::Try(&next), |_| told.clone()).await
        }
        Verb::List => {
            let headends: Vec<HeadendView> =
                Door::with(global, async |door| door.get("/api/v1/headends").await).await?;
            if global.json { print_json(&headends) } else { list(&headends) }
        }
        Verb::Remove { id } => {
            let path = format!("/api/v1/headends/{}", super::segment(&id)?);
            Door::with(global, async |door| door.delete(&path).await).await?;
            if global.json { Ok(()) } else { print(&format!("Headend {id} is removed.\n")) }
        }
    }
}

/// What is wrong there, by its own report.
fn wrong(report: &Report) -> String {
    let failure = report.last_failure.as_ref().map(ToString::to_string);
    let clock = report.clock_behind.map(|latest| format!("its clock went back behind {}", local_time(latest)));
    [failure, clock].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn list(headends: &[HeadendView]) -> anyhow::Result<()> {
    let mut rows = vec![["HEADEND", "STATE", "RELEASE", "LAST REPORT", "LAST FAILURE"].map(str::to_owned)];
    for headend in headends {
        let report = headend.report.as_ref();
        rows.push([
            headend.id.clone(),
            headend.state.as_str().to_owned(),
            report.and_then(|r| r.report.serial).map_or_else(|| "–".to_owned(), |serial| serial.to_string()),
            report.map_or_else(|| "never".to_owned(), |r| local_time(r.received)),
            report.map_or_else(String::new, |r| wrong(&r.report)),
        ]);
    }
    print_table(&rows)
}
