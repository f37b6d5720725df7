//! `feed-client check-config`: what a service asks before it starts.

use bundles::report::Failure;
use serde_json::json;

use super::{Global, failed, print};
use crate::clock::Edge;
use crate::refusals::Asker;
use crate::settings::Local;

/// Reads the configuration and the files that it names. An enrolment is no mistake of the configuration, nor is its absence.
pub(super) fn check_config(global: &Global, edge: Edge) -> Result<(), Failure> {
    let local = Local::load(global.config.as_deref(), &global.data).map_err(failed)?;
    if local.enrolment.is_some() {
        // Asked as the timer would: a look spends no attempt at a proxy that refused a password.
        local.clone().minding(global.refusals(Asker::Timer, edge)).settings().map_err(failed)?;
    }
    let file = local.config_file.as_ref().map(|path| path.display().to_string());
    let text = match &file {
        Some(file) => format!("{file} is good."),
        None => "There is no configuration file (--config); the defaults are good.".to_owned(),
    };
    print(global.json, &json!({ "good": true, "file": file, "enrolled": local.enrolment.is_some() }), &text)
}
