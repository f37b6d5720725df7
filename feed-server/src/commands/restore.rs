//! `feed-server restore FILE`

use std::path::PathBuf;

use bundles::Reason;
use bundles::Serial;
use bundles::report::Failure;
use jiff::Timestamp;
use serde::Serialize;

use super::door::{refuse_other_owner, server_answers};
use super::output::{local_time, print, print_json};
use super::{Global, failed};
use crate::clock;
use crate::config::Role;
use crate::jobs::restore::{self, Restored, Wanted};

/// What from.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What `feed-server backup` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The newest root that is in use (`keys export-root`): a backup from before it is refused. May be given for both repositories
    #[arg(long, value_name = "FILE")]
    root: Vec<PathBuf>,
    /// No release gets this number or a lower one, where more were made than time and the backup let expect
    #[arg(long, value_name = "N")]
    serial_floor: Option<Serial>,
    /// Check all of it, and restore nothing
    #[arg(long)]
    check: bool,
}

/// What was in it, and what became of it.
#[derive(Debug, Serialize)]
struct Facts {
    directory: PathBuf,
    restored: bool,
    created: Timestamp,
    program: String,
    schema: u64,
    role: Role,
    private_keys: usize,
    /// The newest release in it.
    newest: Option<Serial>,
    /// The number that its content has from now on.
    serial: Option<Serial>,
}

/// Makes a data directory of a backup.
///
/// # Errors
/// The backup cannot be restored, or the data directory is not empty, or a server's.
pub async fn run(global: &Global, arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { file, root: roots, serial_floor, check } = arguments;
    let config = global.config()?;
    let directory = config.data.directory.clone();
    let wanted = Wanted { file, roots, serial_floor };
    if !check {
        refuse_other_owner(&directory)?;
        if directory.exists() && server_answers(&directory)? {
            let message = format!(
                "a server runs on {}; nothing is restored over its head: stop it, and move its data away",
                directory.display()
            );
            return Err(Failure::new(Reason::Busy, message).into());
        }
    }
    let into = directory.clone();
    let work = move || {
        let now = clock::now();
        if check { restore::check(&wanted, now) } else { restore::restore(&into, &wanted, now) }
    };
    let Restored { contents, serial, newest } = tokio::task::spawn_blocking(work).await?.map_err(failed)?;
    if contents.role != config.upstream.role() {
        eprintln!("warning: this is {}'s, and the configuration says otherwise: see [upstream] kind", a(contents.role));
    }
    let facts = Facts {
        directory,
        restored: !check,
        created: contents.created,
        private_keys: contents.keys(),
        program: contents.program,
        schema: contents.schema,
        role: contents.role,
        newest,
        serial,
    };
    if global.json { print_json(&facts) } else { print(&told(&facts)) }
}

const fn a(role: Role) -> &'static str {
    match role {
        Role::Origin => "an origin",
        Role::Relay => "a relay",
    }
}

fn told(facts: &Facts) -> String {
    let Facts { directory, restored, created, role, private_keys, newest, serial, .. } = facts;
    let newest = newest.map_or_else(|| "no release yet".to_owned(), |newest| format!("newest release {newest}"));
    let mut text = format!(
        "The backup is whole: {}'s, of {}, {newest}, {private_keys} private keys.\n",
        a(*role),
        local_time(*created)
    );
    if !restored {
        return text + "Nothing was restored.\n";
    }
    text += &format!("It is in {} now.\n", directory.display());
    if let Some(serial) = serial {
        text += &format!(
            "Its newest content is release {serial} from now on: a number above all that headends can have seen, so that they \
             take it.\n"
        );
    }
    text += match role {
        Role::Origin if *private_keys == 0 => {
            "No private key was in it. Put the keys into keys/ there (mode 0600), and then start the server: nothing can be \
             signed, and so nothing be served, without those of targets, snapshot and timestamp.\n"
        }
        Role::Origin => "Start the server: it signs everything anew. Then take a backup of it.\n",
        Role::Relay => "Start the server: it serves what it had, and goes on with the next release of its origin.\n",
    };
    text
}
