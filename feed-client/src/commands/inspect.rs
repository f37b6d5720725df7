//! `feed-client inspect`

use std::path::PathBuf;

use bundles::bundle::{Bundle, Trust};
use bundles::inspection::{self, Here, Inspection};
use bundles::report::Failure;
use bundles::{Limits, Manifest, Reason, Reasoned as _};
use clap::Args;

use super::{Global, enroll, failed, print};
use crate::apply;
use crate::carried;
use crate::clock::Edge;
use crate::mend;
use crate::progress::Progress;
use crate::repository::{Side, Store};
use crate::settings::{Local, SettingsError};

/// Which bundle, and whom to believe.
#[derive(Debug, Args)]
pub struct Inspect {
    /// The bundle, posture-bundle-N.zip; the medium that it lies on is only read
    #[arg(value_name = "ZIP")]
    bundle: PathBuf,
    /// The root of the origin's offline repository to hold the bundle to [default: the one that imports here are held to]
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
}

pub(super) fn inspect(global: &Global, arguments: &Inspect, edge: Edge) -> Result<(), Failure> {
    let local = global.local()?;
    let paths = &local.paths;
    let given = arguments.root.as_deref().map(enroll::read_root).transpose()?.map(|(root, _)| root);
    // Whom imports are held to here: whatever --root says, it is what decides about them.
    let own = local.import_root();
    let root = match (&given, &own) {
        (Some(root), _) | (None, Ok(root)) => root,
        (None, Err(SettingsError::NotEnrolled)) => return Err(no_root()),
        (None, Err(error)) => return Err(Failure::of(error)),
    };
    let state = mend::load(paths).map_err(failed)?;
    let held = Store::looking_at(&paths.metadata(Side::Offline)).held().map_err(failed)?;
    let running = apply::running(paths).map_err(failed)?;
    let trust = Trust {
        root,
        held: held.as_ref(),
        highest_serial: state.highest_serial,
        signed_time: state.newest_signed,
        now: edge.now(),
    };

    let length = std::fs::metadata(&arguments.bundle).map_or(0, |file| file.len());
    let progress = if global.json { Progress::hidden() } else { Progress::on_terminal(length) };
    let (file, zip) = carried::read_through(&arguments.bundle, &progress).map_err(failed)?;
    progress.finish();
    let limits = Limits::default();
    let mut inspection = match Bundle::open(file, &limits) {
        Ok(mut bundle) => {
            let inspection = inspection::inspect(&mut bundle, &trust, &limits);
            match &own {
                Ok(own) if given.as_ref().is_some_and(|given| given != own) => {
                    match bundle.check(&Trust { root: own, ..trust }) {
                        Ok(_) => inspection,
                        Err(error) => inspection.not_importable(error.whole_message()),
                    }
                }
                Ok(_) => inspection,
                Err(error) => inspection.not_importable(error.whole_message()),
            }
        }
        Err(error) => Inspection::of_no_bundle(&error, &trust),
    };
    inspection = inspection.with_zip(zip);
    if local.enrolment.is_some() {
        inspection = inspection.with_here(here(&local, running.as_ref()));
    }
    print(global.json, &inspection, &inspection.to_string())?;
    inspection.verdict.into_result()
}

fn here(local: &Local, running: Option<&Manifest>) -> Here {
    let components = running.into_iter().flat_map(|manifest| &manifest.components);
    Here {
        what: format!("headend in {}", local.paths.data().display()),
        serial: running.map(|manifest| manifest.serial),
        versions: components.map(|released| (released.component.clone(), released.version.clone())).collect(),
    }
}

fn no_root() -> Failure {
    Failure::new(
        Reason::BadRequest,
        "--root FILE is needed, since this headend is not enrolled (mind --data): the root says whose signatures count, so it \
         must not come with the bundle; export it on the origin with `feed-server keys export-root --offline`",
    )
}
