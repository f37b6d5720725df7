//! `feed-server check-config`

use super::{Global, failed, output};
use crate::app::certificate::ServerCertificate;
use crate::clock;
use crate::http::clients::Clients;
use crate::jobs::update::USER_AGENT;
use crate::publish::Sources;
use crate::upstream::{Environment, Vendor, trusted_root};

/// Reads the configuration and the files that it names.
///
/// # Errors
/// Every mistake in it, or the first file that is not what it should be.
pub fn run(global: &Global) -> anyhow::Result<()> {
    let config = global.config()?;
    // The proxy's password and everybody's roots are read with it, whether or not a run would come to need them.
    drop(Vendor::new(&config.upstream, USER_AGENT).map_err(failed)?);
    drop(trusted_root(&config.upstream).map_err(failed)?);
    drop(Sources::new(config.signing.clone(), Environment::of_process()).passphrase().map_err(failed)?);
    if let Some(tls) = &config.listen.tls {
        drop(ServerCertificate::open(tls, clock::now()).map_err(failed)?);
    }
    drop(Clients::of(config.listen.client_ca.as_deref()).map_err(failed)?);
    if global.json {
        return output::print_json(&serde_json::json!({ "good": true }));
    }
    match &global.config {
        Some(path) => output::print(&format!("{} is good.\n", path.display())),
        None => output::print("There is no configuration file (--config); the defaults are good.\n"),
    }
}
