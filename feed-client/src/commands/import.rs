//! `feed-client import`

use std::path::{Path, PathBuf};

use bundles::report::Failure;
use bundles::{Reason, Reasoned as _};
use clap::Args;
use serde_json::json;

use super::{Global, enroll, failed, print};
use crate::clock::Edge;
use crate::crash;
use crate::durable::{self, Readers};
use crate::receipt::{Place, Receipt, Taken};
use crate::refusals::Asker;
use crate::update::{Imported, Outcome, Updater};

/// Which bundle.
#[derive(Debug, Args)]
pub struct Import {
    /// The bundle, posture-bundle-N.zip; the medium that it lies on is only read
    #[arg(value_name = "ZIP")]
    bundle: PathBuf,
    /// Write what came in, when and where to this file, as JSON
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
}

pub(super) async fn import(global: &Global, arguments: Import, edge: Edge) -> Result<(), Failure> {
    // What comes by hand needs no network: its report is not worth a try of what the proxy refused.
    let settings = global.settings(&global.refusals(Asker::Timer, edge))?;
    let updater = Updater { settings: &settings, edge, show_progress: !global.json };
    let imported = updater.import(&arguments.bundle).await.map_err(failed)?;
    let Imported { at, manifest, previous, bundle, root, .. } = &imported;
    let place = Place { host: enroll::host_name(), headend: settings.id.clone() };
    let taken = Taken { manifest, previous: *previous, bundle, root: *root };
    let receipt = Receipt::new(*at, place, taken);
    // Printed first: whatever becomes of the file, a pen takes the line.
    say(global.json, &imported, &receipt)?;
    arguments.receipt.map_or(Ok(()), |path| write(&path, &receipt))
}

/// The release runs, with a receipt or without.
fn write(path: &Path, receipt: &Receipt) -> Result<(), Failure> {
    crash::point("client.receipt.before_write");
    durable::write(path, &receipt.to_json(), Readers::Anyone).map_err(|error| {
        let serial = receipt.serial;
        let what = format!(
            "release {serial} runs, and its receipt was not written: {}; the line that was printed is the receipt, or give \
             --receipt another place and import the same bundle again",
            error.whole_message()
        );
        Failure::new(Reason::Storage, what)
    })?;
    crash::point("client.receipt.written");
    Ok(())
}

fn say(json: bool, imported: &Imported, receipt: &Receipt) -> Result<(), Failure> {
    let Imported { outcome, bundle, .. } = imported;
    let serial = outcome.serial();
    let text = match outcome {
        Outcome::Applied { previous, .. } => {
            let before = previous.map_or_else(|| "for the first time".to_owned(), |before| format!("before: {before}"));
            format!("Release {serial} runs now ({before}), imported from {}", bundle.name)
        }
        Outcome::Unchanged { .. } | Outcome::Held { .. } => format!("Already up to date: release {serial} runs"),
    };
    let facts = json!({
        "result": outcome.result(), "serial": serial, "previous_serial": imported.previous, "receipt": receipt,
    });
    print(json, &facts, &format!("{text}\nReceipt: {}", receipt.line))
}
