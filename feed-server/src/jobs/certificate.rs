//! Looks whether the server's certificate has been replaced.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::app::certificate::{Look, ServerCertificate};

/// How often the files are looked at: two small reads, and whoever renews by hand sees what became of it at once.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Looks every few seconds and at each `hangup`, until `stop`, and tells the log what came of it.
pub async fn keep(app: Arc<App>, mut hangup: Signal, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = hangup.recv() => {
                tracing::info!("SIGHUP: looking at [listen] tls_certificate and tls_key; all else is read at the start alone");
            }
            () = tokio::time::sleep(LOOK_EVERY), if app.certificate.get().is_some() => {}
        }
        if let Some(certificate) = app.certificate.get() {
            look(&app, certificate).await;
        }
    }
}

async fn look(app: &App, certificate: &Arc<ServerCertificate>) {
    // A file may lie where reading waits for a network.
    let (looked, now) = (Arc::clone(certificate), app.now());
    match tokio::task::spawn_blocking(move || looked.look(now)).await {
        Ok(Look::Renewed) => {
            let leaf = certificate.presented().leaf.clone();
            let (subject, sha256, not_after) = (leaf.subject, leaf.sha256, leaf.not_after);
            tracing::info!(subject, sha256, %not_after, "new connections are shown another certificate from now on");
        }
        Ok(Look::Refused) => {
            let why = certificate.refused().map(|refused| refused.message).unwrap_or_default();
            tracing::error!(error = why, "the certificate stays what it was");
        }
        Ok(Look::Same | Look::StillRefused) => {}
        Err(error) => tracing::error!(%error, "the certificate could not be looked at"),
    }
}
