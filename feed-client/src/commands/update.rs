//! `feed-client update`

use bundles::report::Failure;
use indicatif::HumanBytes;
use serde_json::json;

use super::{Global, failed, print};
use crate::clock::Edge;
use crate::refusals::Asker;
use crate::state::HoldReason;
use crate::update::{Outcome, Trigger, Updater};

pub(super) async fn update(global: &Global, edge: Edge) -> Result<(), Failure> {
    let settings = global.settings(&global.refusals(Asker::Operator, edge))?;
    settings.remote().map_err(failed)?;
    let updater = Updater { settings: &settings, edge, show_progress: !global.json };
    let outcome = updater.update(Trigger::Operator).await.map_err(failed)?;
    say(global.json, outcome)
}

pub(super) fn say(json: bool, outcome: Outcome) -> Result<(), Failure> {
    let (facts, text) = match outcome {
        Outcome::Applied { serial, previous, bytes } => {
            let before = previous.map_or_else(|| "for the first time".to_owned(), |before| format!("before: {before}"));
            // Going back fetches nothing, and where everything was here already there is nothing to say either.
            let fetched =
                if bytes > 0 { format!("; {} of payloads fetched", HumanBytes(bytes)) } else { String::new() };
            let text = format!("Release {serial} runs now ({before}{fetched})");
            (json!({ "result": "ok", "serial": serial, "previous_serial": previous, "bytes": bytes }), text)
        }
        Outcome::Unchanged { serial } => {
            (json!({ "result": "unchanged", "serial": serial }), format!("Already up to date: release {serial} runs"))
        }
        Outcome::Held { serial, why } => {
            let because = match why {
                HoldReason::HookFailed => "the hook refused it",
                HoldReason::Rollback => "an operator went back",
                HoldReason::StateLost => "why it does not run is lost with the state file",
            };
            (json!({ "result": "held", "serial": serial, "why": why }), format!("Release {serial} is held: {because}"))
        }
    };
    print(json, &facts, &text)
}
