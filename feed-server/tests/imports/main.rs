//! Bundles on a relay: the real binary and real zips.
#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up is to fail")]
// What other test binaries use of the helpers they share.
#![allow(dead_code)]

#[path = "../server/running.rs"]
mod running;
#[path = "../support/mod.rs"]
mod support;

mod folder;
mod import;
mod inspect;
mod interrupted;
mod killed;
mod origin;
mod refused;
mod vendor;

use std::path::Path;

use serde_json::Value;

use running::Site;

/// What the newest release is, and what came of the last import.
fn status(site: &Site) -> Value {
    serde_json::from_str(&site.prints(&["status", "--json"])).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn nothing_is_staged(site: &Site) {
    let left: Vec<_> = std::fs::read_dir(site.data().join("staging")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A JSON answer, with its status.
async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
}
