//! `feed-server check-config`

use clap::Args;

use super::{Global, failed, output};
use crate::app::certificate::ServerCertificate;
use crate::app::settings::effective;
use crate::clock;
use crate::config::Config;
use crate::http::api::views::SettingsView;
use crate::http::clients::Clients;
use crate::jobs::update::USER_AGENT;
use crate::publish::Sources;
use crate::upstream::{Environment, Vendor, trusted_root};

/// What `feed-server check-config` takes.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Show every key with its value and where that comes from; no secrets
    #[arg(long)]
    pub show: bool,
}

/// Reads the configuration and the files that it names.
///
/// # Errors
/// Every mistake in it, or the first file that is not what it should be.
pub fn run(global: &Global, arguments: &Arguments) -> anyhow::Result<()> {
    let config = global.config()?;
    // The proxy's password and everybody's roots are read with it, whether or not a run would come to need them.
    drop(Vendor::new(&config.upstream, USER_AGENT).map_err(failed)?);
    drop(trusted_root(&config.upstream).map_err(failed)?);
    drop(Sources::new(config.signing.clone(), Environment::of_process()).passphrase().map_err(failed)?);
    if let Some(tls) = &config.listen.tls {
        drop(ServerCertificate::open(tls, clock::now()).map_err(failed)?);
    }
    drop(Clients::of(config.listen.client_ca.as_deref()).map_err(failed)?);
    if arguments.show {
        return show(global, &config);
    }
    if global.json {
        return output::print_json(&serde_json::json!({ "good": true }));
    }
    match &global.config {
        Some(path) => output::print(&format!("{} is good.\n", path.display())),
        None => output::print("There is no configuration file (--config); the defaults are good.\n"),
    }
}

fn show(global: &Global, config: &Config) -> anyhow::Result<()> {
    let settings = effective(config, &Environment::of_process());
    if global.json {
        return output::print_json(&SettingsView::new(config.origins.file(), &settings));
    }
    let heading = ["Key", "Value", "From"].map(str::to_owned);
    let rows = settings.into_iter().map(|setting| {
        let value = setting.value.unwrap_or_else(|| "-".to_owned());
        [setting.key, value, setting.origin.to_string()]
    });
    output::print_table(&std::iter::once(heading).chain(rows).collect::<Vec<_>>())
}
