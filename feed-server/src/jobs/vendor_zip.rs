//! Taking in the vendor's zip that somebody brought: what it holds becomes a release like an online run's, and is
//! published. Same zip again, same act: nothing.

use std::sync::Arc;

use bundles::report::Failure;

use super::update::{self, Taken};
use crate::app::App;
use crate::app::runs::Wishes;
use crate::sync::intake::ReceivedZip;
use crate::sync::vendor_zip::Reading;

/// Takes a zip in; what came of it. `given` is what the zip was
/// called where it came from, `who` answers for it, as an auditor should read it. Of the wishes, only
/// `accept_version_rollback` means anything here.
///
/// Nothing else may run meanwhile: the caller holds the one run at a time ([`crate::app::runs`]). Killed anywhere, the
/// next run or start finds what an update run leaves behind, and heals it.
///
/// # Errors
/// The zip is refused, and nothing was changed; or the release could not be stored; or it was, and could not be
/// published, which the next run tries again.
pub async fn take(app: &Arc<App>, zip: ReceivedZip, given: &str, who: &str, wishes: Wishes) -> Result<Taken, Failure> {
    let (sha256, bytes) = (zip.sha256(), zip.length());
    tracing::info!(given, who, %sha256, bytes, "taking in the vendor's zip");
    let (known, newest) = update::known(app)?;
    let reading = Reading::new(&app.config, &app.store.staging).map_err(|error| Failure::of(&error))?;
    let feed = reading.read(zip, known, who.to_owned()).await.map_err(|error| Failure::of(&error))?;
    let made = update::take(app, feed, newest, wishes.accept_version_rollback).await?;
    update::retain(app).await;
    // Also where nothing is new: a kill or a full disk may have left a release half published.
    app.publisher.publish(app.now()).await.map_err(|error| Failure::of(&error))?;
    update::collect(app).await;
    match &made {
        Taken::Released(serial) => tracing::info!(serial = serial.get(), %sha256, "the vendor's zip became a release"),
        Taken::Held(_) => tracing::warn!(%sha256, "the vendor's zip holds what was withdrawn"),
        Taken::Nothing => tracing::info!(%sha256, "the vendor's zip holds nothing that the newest release lacks"),
    }
    Ok(made)
}
