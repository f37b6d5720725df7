//! `feed-server keys …`

mod change;
mod passphrase;
mod sign;

use std::path::PathBuf;

use clap::Subcommand;

use super::door::{Door, cannot_write};
use super::output::{print, print_json, print_table};
use super::{Global, failed};
use crate::app::App;
use crate::clock;
use crate::http::api::views::{KeysChange, KeysView, NextRootView};
use crate::publish::Quorum;
use crate::store::audit::{Act, Doing};
use crate::store::{Who, user_name};

/// Signing keys and the roots that headends trust.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List keys and roots by fingerprint, and what waits for signatures (-v: with key ids)
    List,
    /// Make the first keys, before the first start; without it, that makes one of each
    Init {
        /// How many root keys each repository gets
        #[arg(long, value_name = "N", default_value_t = 1)]
        root_keys: u64,
        /// How many of them have to sign a root
        #[arg(long, value_name = "M", default_value_t = 1)]
        threshold: u64,
    },
    /// Write the root file that headends enroll with
    ExportRoot {
        /// The offline repository's, for those that are fed by bundles alone
        #[arg(long)]
        offline: bool,
        /// Where to write it, instead of standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Replace keys by new ones, which the next root names
    Rotate(change::Rotate),
    /// Change how many root keys have to sign
    Threshold(change::Threshold),
    /// Make the next root with a later end: by itself where root keys are here
    Renew(change::Renew),
    /// Write what waits for signatures to a file, to carry to where root keys are
    Request {
        /// Where to write it, instead of standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Sign such a file with root keys; takes no data directory
    Sign(sign::Arguments),
    /// Take the signatures in such files
    ImportSignatures {
        /// What was signed
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Give up what waits for signatures
    Cancel,
    /// Make a key anywhere: FILE, and FILE.pub for `rotate root --public`; takes no data directory
    Generate {
        /// Where to write the private key (mode 0600)
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Encrypt it with a passphrase
        #[arg(long)]
        encrypt: bool,
        /// Where that comes from
        #[command(flatten)]
        passphrase: passphrase::Source,
    },
    /// Encrypt a key's file with a passphrase, or with another one; takes no data directory
    Encrypt(passphrase::File),
    /// Write a key's file without a passphrase; takes no data directory
    Decrypt(passphrase::File),
}

/// Does what the verb says.
///
/// # Errors
/// There is no way to the data, a file cannot be read or written, or the server's problem.
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
            list(keys, global.verbose > 0)
        }
        Verb::Init { root_keys, threshold } => init(global, Quorum { root_keys, threshold }).await,
        Verb::ExportRoot { offline, out } => export(global, if offline { "offline" } else { "online" }, out).await,
        Verb::Rotate(arguments) => arguments.run(global).await,
        Verb::Threshold(arguments) => arguments.run(global).await,
        Verb::Renew(arguments) => arguments.run(global).await,
        Verb::Request { out } => sign::request(global, out).await,
        Verb::Sign(arguments) => sign::run(global, arguments),
        Verb::ImportSignatures { files } => sign::import(global, &files).await,
        Verb::Cancel => {
            Door::with(global, async |door| door.delete("/api/v1/keys/request").await).await?;
            if global.json { Ok(()) } else { print("Nothing waits for signatures any more.\n") }
        }
        Verb::Generate { file, encrypt, passphrase } => passphrase::generate(&file, encrypt, &passphrase),
        Verb::Encrypt(file) => passphrase::encrypt(&file),
        Verb::Decrypt(file) => passphrase::decrypt(&file),
    }
}

fn list(keys: KeysView, with_ids: bool) -> anyhow::Result<()> {
    let mut rows = vec![["REPOSITORY", "WHAT", "SHA-256"].map(str::to_owned)];
    for key in keys.keys {
        let here = if key.at_hand { "" } else { " (not here)" };
        rows.push([key.repository, format!("{} key{here}", key.role), key.fingerprint]);
        if with_ids {
            rows.push([String::new(), "  its id".to_owned(), key.key_id]);
        }
    }
    rows.extend(keys.roots.into_iter().map(|root| [root.repository, "root file".to_owned(), root.fingerprint]));
    rows.extend(keys.trusted_root.map(|root| ["-".to_owned(), "root file that is trusted".to_owned(), root]));
    print_table(&rows)?;
    tell(&keys.waiting)
}

/// What became of next roots, for people.
fn tell(roots: &[NextRootView]) -> anyhow::Result<()> {
    let mut text = String::new();
    for root in roots {
        let NextRootView { repository, version, what, lacking } = root;
        if lacking.is_empty() {
            text += &format!("Version {version} of the {repository} root is in place.\n");
            continue;
        }
        let what = what.as_ref().map(|what| format!(" ({what})")).unwrap_or_default();
        text += &format!("Version {version} of the {repository} root{what} waits for signatures:\n");
        for lacking in lacking {
            text += &format!("  {} of these keys of version {}:\n", lacking.signatures, lacking.version);
            for key in &lacking.keys {
                text += &format!("    SHA-256 {}\n", key.fingerprint);
            }
        }
    }
    if roots.iter().any(|root| !root.lacking.is_empty()) {
        text += "Nothing changes until then. Carry what `feed-server keys request` writes to where these keys are, sign it \
                 there with `feed-server keys sign`, and bring it back with `feed-server keys import-signatures`.\n";
    }
    if text.is_empty() { Ok(()) } else { print(&text) }
}

async fn init(global: &Global, quorum: Quorum) -> anyhow::Result<()> {
    let config = global.config()?;
    let who = Who::User { name: user_name(rustix::process::getuid().as_raw()) };
    let from = Some("command line".to_owned());
    let doing = Doing { who, from, act: Act::KeysInit, object: None, detail: None };
    App::make_keys(&config, quorum, doing, clock::now())?;
    let keys: KeysView = Door::making(global, async |door| door.get("/api/v1/keys").await).await?;
    if global.json {
        return print_json(&keys);
    }
    eprintln!(
        "The keys are in {}. Back them up. The files of root keys can be moved elsewhere: the server needs them only for the \
         next root.",
        config.data.directory.join("keys").display()
    );
    list(keys, false)
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

/// Asks for next roots, and signs them with the keys in these files where that is lacking.
async fn change(
    global: &Global,
    wanted: &KeysChange,
    keys: &[PathBuf],
    passphrase: &passphrase::Source,
) -> anyhow::Result<()> {
    // Before anything happens: a passphrase that is wrong, or a stick that is not there, should not leave anything half done.
    let keys = sign::read_keys(keys, passphrase)?;
    let roots = Door::with(global, async |door| {
        let roots: Vec<NextRootView> = door.post("/api/v1/keys/changes", wanted).await?;
        if keys.is_empty() || roots.iter().all(|root| root.lacking.is_empty()) {
            return Ok(roots);
        }
        let mut request = sign::read(&door.bytes("/api/v1/keys/request").await?)?;
        for key in &keys {
            request.sign(key).map_err(failed)?;
        }
        let signed: Vec<NextRootView> = door.post("/api/v1/keys/signatures", &request).await?;
        Ok(roots.into_iter().filter(|root| root.lacking.is_empty()).chain(signed).collect::<Vec<_>>())
    })
    .await?;
    if global.json { print_json(&roots) } else { tell(&roots) }
}
