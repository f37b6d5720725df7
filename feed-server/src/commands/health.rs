//! `feed-server health`: whether the server that runs here answers, for where nothing else could ask it: an image holds this program alone.

use std::time::Duration;

use bundles::Reason;
use bundles::report::Failure;

use super::Global;
use super::door::Door;
use super::output::{print, print_json};

/// A server that lives answers at once; what probes it wants to know within its own patience, which is longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the server on the data directory what monitoring asks at `/healthz`; opens and changes nothing.
///
/// # Errors
/// None runs, or it does not answer.
pub async fn run(global: &Global) -> anyhow::Result<()> {
    let config = global.config()?;
    let directory = config.data.directory.display();
    let Some(door) = Door::to_server(&config)? else {
        return Err(Failure::new(Reason::Connect, format!("no server runs on {directory}; its log says why")).into());
    };
    let asked = tokio::time::timeout(PATIENCE, door.bytes("/healthz")).await;
    let silent =
        || Failure::new(Reason::Timeout, format!("the server on {directory} does not answer within {PATIENCE:?}"));
    asked.map_err(|_| silent())??;
    if global.json {
        return print_json(&serde_json::json!({ "healthy": true }));
    }
    print("The server answers.\n")
}
