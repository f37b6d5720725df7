//! `feed-client rollback`

use bundles::Serial;
use bundles::report::Failure;
use clap::Args;

use super::{Global, failed, update};
use crate::clock::Edge;
use crate::refusals::Asker;
use crate::update::Updater;

/// Which release.
#[derive(Debug, Args)]
pub struct Rollback {
    /// The release to go back to [default: the newest one that is older than the one that runs]
    #[arg(value_name = "N")]
    serial: Option<Serial>,
}

pub(super) async fn rollback(global: &Global, arguments: Rollback, edge: Edge) -> Result<(), Failure> {
    // What goes back needs no network: its report is not worth a try.
    let settings = global.settings(&global.refusals(Asker::Timer, edge))?;
    let updater = Updater { settings: &settings, edge, show_progress: false };
    let outcome = updater.roll_back(arguments.serial).await.map_err(failed)?;
    update::say(global.json, outcome)
}
