//! What the server says of itself: everything that can be had of it, each by itself, so that what fails hides nothing else.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::commands::door::Door;
use crate::commands::failure_in;
use crate::http::api::views::{
    AuditView, HeadendView, ImportsView, KeysView, ReleaseSummary, RunView, StatusView, TokenView,
};

/// Records of the audit trail.
const AUDIT: usize = 200;

/// What there is, as text or as it is, or why it is not.
pub(super) struct Facts {
    pub(super) is_running: bool,
    pub(super) status: Result<StatusView, String>,
    pub(super) headends: Result<Vec<HeadendView>, String>,
    pub(super) runs: Result<String, String>,
    pub(super) releases: Result<String, String>,
    pub(super) imports: Result<String, String>,
    pub(super) keys: Result<String, String>,
    pub(super) audit: Result<String, String>,
    pub(super) metrics: Result<String, String>,
    /// For names.
    pub(super) tokens: Vec<TokenView>,
    pub(super) release_views: Vec<ReleaseSummary>,
    pub(super) import_views: Option<ImportsView>,
    pub(super) audit_view: Option<AuditView>,
}

impl Facts {
    pub(super) async fn of(door: &Door) -> Self {
        let releases: Result<Vec<ReleaseSummary>, String> = ask(door, "/api/v1/releases").await;
        let imports: Result<ImportsView, String> = ask(door, "/api/v1/imports").await;
        let audit: Result<AuditView, String> = ask(door, &format!("/api/v1/audit?limit={AUDIT}")).await;
        let keys: Result<KeysView, String> = ask(door, "/api/v1/keys").await;
        let runs: Result<Vec<RunView>, String> = ask(door, "/api/v1/runs").await;
        let metrics = match door.bytes("/metrics").await {
            Ok(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
            Err(error) => Err(said(&error)),
        };
        Self {
            is_running: door.leads_to_server(),
            status: ask(door, "/api/v1/status").await,
            headends: ask(door, "/api/v1/headends").await,
            runs: runs.map(|runs| lines(&runs)),
            releases: releases.as_ref().map(|releases| lines(releases)).map_err(Clone::clone),
            imports: imports.as_ref().map(|imports| lines(&imports.imports)).map_err(Clone::clone),
            keys: keys.and_then(|keys| serde_json::to_string_pretty(&keys).map_err(|error| error.to_string())),
            audit: audit.as_ref().map(|audit| lines(&audit.records)).map_err(Clone::clone),
            metrics,
            tokens: ask(door, "/api/v1/tokens").await.unwrap_or_default(),
            release_views: releases.unwrap_or_default(),
            import_views: imports.ok(),
            audit_view: audit.ok(),
        }
    }
}

async fn ask<T: DeserializeOwned>(door: &Door, path: &str) -> Result<T, String> {
    door.get(path).await.map_err(|error| said(&error))
}

fn said(error: &anyhow::Error) -> String {
    failure_in(error).map_or_else(|| format!("{error:#}"), |failure| failure.message.clone())
}

/// A line of JSON each.
fn lines<T: Serialize>(records: &[T]) -> String {
    let lines: Vec<_> = records.iter().filter_map(|record| serde_json::to_string(record).ok()).collect();
    if lines.is_empty() { "none".to_owned() } else { lines.join("\n") }
}
