//! What `status` says of imports.

use crate::app::imports::ImportStep;
use crate::commands::output::{bytes, local_time};
use crate::http::api::views::{ImportProgressView, ImportView};

pub(super) fn going_on(importing: &ImportProgressView) -> String {
    let step = match importing.step {
        ImportStep::Receiving => "is coming in",
        ImportStep::Checking => "is being checked",
        ImportStep::Publishing => "is being published",
    };
    let of = |total| if total > 0 { format!(" of {}", bytes(total)) } else { String::new() };
    let done = if importing.done_bytes > 0 {
        format!(", {}{}", bytes(importing.done_bytes), of(importing.total_bytes))
    } else {
        String::new()
    };
    format!("import {}, {} {step}{done}", importing.id, importing.name.as_deref().unwrap_or("a zip"))
}

pub(super) fn ended(import: &ImportView) -> String {
    let name = import.name.as_deref().unwrap_or("a zip");
    let by = match (&import.token, &import.user, import.by.as_str()) {
        (Some(token), _, _) => format!("with the token {token}"),
        (None, Some(user), _) => format!("by {user} on the server itself"),
        (None, None, "watched_folder") => "from the watched folder".to_owned(),
        (None, None, _) => "by hand".to_owned(),
    };
    let at = local_time(import.ended.unwrap_or(import.started));
    let serial = import.serial.map_or_else(String::new, |serial| format!(" {serial}"));
    let came = match (import.result.as_deref(), &import.message) {
        (Some("imported"), _) => format!("brought release{serial}"),
        (Some("refreshed"), _) => format!("brought newer signatures of release{serial}"),
        (Some("up_to_date"), _) => "brought nothing new".to_owned(),
        (Some(reason), message) => format!("failed ({reason}): {}", message.as_deref().unwrap_or_default()),
        (None, _) => "has no end".to_owned(),
    };
    format!("{at}, {name} {by}: {came}")
}
