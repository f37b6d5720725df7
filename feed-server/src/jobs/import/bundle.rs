//! A bundle, on a relay: verified as a whole, then every file of it, then taken at once.

use std::io;

use bundles::bundle::{Bundle, Trust};
use bundles::report::Failure;
use bundles::{Digest, Reason, Reasoned};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::app::imports::{ImportProgress, ImportStep};
use crate::app::trust::BundleTrust;
use crate::crash;
use crate::jobs::startup;
use crate::release::relay::{self, Received, Took};
use crate::store::Repository;
use crate::store::imports::{ImportOutcome, ImportRecord, VerifiedFacts};
use crate::sync::bundle;
use crate::sync::intake::ReceivedZip;

/// Takes a bundle. What its signatures say is recorded before anything of it is kept. Blocks.
///
/// # Errors
/// It is not genuine, too old, from the future, ended, not whole, or cannot be kept. Then nothing was changed. `stop` cuts
/// it off as long as nothing was.
pub(super) fn take(
    app: &App,
    zip: ReceivedZip,
    record: &mut ImportRecord,
    progress: &ImportProgress,
    stop: &CancellationToken,
) -> Result<ImportOutcome, Failure> {
    let (store, limits) = (&app.store, &app.config.limits);
    progress.begin(ImportStep::Checking, 0);
    let BundleTrust { root, floors } = app.bundle_trust()?;
    let trust = Trust {
        root: &root,
        held: floors.held.as_ref(),
        highest_serial: floors.highest_serial,
        signed_time: floors.signed_time,
        now: app.now(),
    };
    let mut opened = Bundle::open(zip.file(), limits).map_err(failed)?;
    let checked = opened.check(&trust).map_err(failed)?;
    let manifest = checked.manifest.manifest().clone();
    let versions = manifest.components.iter().map(|it| (it.component.clone(), it.version.clone())).collect();
    record.verified = Some(VerifiedFacts {
        serial: manifest.serial,
        highest_before: floors.highest_serial,
        signer: checked.verified.root().fingerprint,
        valid_until: checked.verified.valid_until(),
        versions,
    });
    store.put_import(record).map_err(failed)?;
    crash::point("import.verified");

    // What cannot be known to be here is taken from the bundle.
    let is_known = |digest: &Digest| store.blobs.contains(digest).unwrap_or(false);
    let is_new = store.release(manifest.serial).map_err(failed)?.is_none();
    super::has_room(app, bundle::room(&manifest, is_new, is_known)).map_err(failed)?;
    progress.begin(ImportStep::Checking, bundle::input_bytes(&manifest));
    let mut told = |bytes| {
        progress.add(bytes);
        if stop.is_cancelled() { Err(io::Error::other("the server is stopping")) } else { Ok(()) }
    };
    let files = bundle::intake(&mut opened, &manifest, is_known, &store.staging, limits, &mut told);
    let files = match files {
        Err(_) if stop.is_cancelled() => return Err(startup::import_cut_off()),
        files => files.map_err(failed)?,
    };
    crash::point("import.staged");
    // Its room may be needed for what is published.
    drop(opened);
    drop(zip);
    let serial = manifest.serial;
    let metadata = vec![(Repository::Offline, checked.metadata)];
    let received = Received { manifest: checked.manifest, files, metadata, now: app.now() };
    // Once more, and nobody begins to hold releases before it is taken.
    let settled = app.settled().map_err(failed)?;
    if let Some(hold) = &settled.holding().hold {
        return Err(Failure::new(Reason::BadRequest, hold.sentence("nothing is imported now")));
    }
    let took = relay::take(store, received).map_err(failed)?;
    drop(settled);
    crash::point("import.taken");
    Ok(match took {
        Took::New => ImportOutcome::Imported { serial },
        Took::Refreshed => ImportOutcome::Refreshed { serial },
        Took::UpToDate => ImportOutcome::UpToDate { serial: Some(serial) },
    })
}

// By value, as `map_err` hands it over.
#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn failed(error: impl Reasoned) -> Failure {
    Failure::of(&error)
}
