//! `feed-server keys …`

use std::path::PathBuf;

use clap::Subcommand;

use super::Global;
use super::door::{Door, cannot_write};
use super::output::{print, print_json, print_table};
use crate::http::api::views::KeysView;

/// Signing keys and the roots that headends trust.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List keys and roots by fingerprint
    List,
    /// Write the root file that headends enroll with
    ExportRoot {
        /// The offline repository's, for those that are fed by bundles alone
        #[arg(long)]
        offline: bool,
        /// Where to write it, instead of standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Lists keys, or exports a root.
///
/// # Errors
/// There is no way to the data, or the file cannot be written.
pub async fn run(global: &Global, verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::List => {
            let keys: KeysView = Door::with(global, async |door| door.get("/api/v1/keys").await).await?;
            if global.json {
                return print_json(&keys);
            }
            if keys.keys.is_empty() {
                eprintln!("This is a relay: it has no signing keys, and serves what its origin signed.");
            }
            list(keys)
        }
        Verb::ExportRoot { offline, out } => export(global, if offline { "offline" } else { "online" }, out).await,
    }
}

fn list(keys: KeysView) -> anyhow::Result<()> {
    let mut rows = vec![["REPOSITORY", "WHAT", "SHA-256"].map(str::to_owned)];
    rows.extend(keys.keys.into_iter().map(|key| [key.repository, format!("{} key", key.role), key.fingerprint]));
    rows.extend(keys.roots.into_iter().map(|root| [root.repository, "root file".to_owned(), root.fingerprint]));
    rows.extend(keys.trusted_root.map(|root| ["-".to_owned(), "root file that is trusted".to_owned(), root]));
    print_table(&rows)
}

async fn export(global: &Global, repository: &str, out: Option<PathBuf>) -> anyhow::Result<()> {
    let path = format!("/api/v1/keys/root/{repository}");
    let (root, keys) =
        Door::with(global, async |door| Ok((door.bytes(&path).await?, door.get::<KeysView>("/api/v1/keys").await?)))
            .await?;
    let fingerprint = keys.roots.into_iter().find(|root| root.repository == repository);
    let fingerprint = fingerprint.map(|root| root.fingerprint).unwrap_or_default();
    match out {
        Some(out) => std::fs::write(&out, root).map_err(|error| cannot_write(&out, &error))?,
        None => print(&String::from_utf8_lossy(&root))?,
    }
    eprintln!("The {repository} root's SHA-256: {fingerprint}");
    Ok(())
}
