//! Bodies of requests, read only when whoever sends one has been let in, and no further than a limit.

use actix_web::web::{Bytes, Payload};
use bundles::Reason;

use super::errors::{Problem, came_too_slowly};

/// Reads a whole body.
///
/// # Errors
/// It has more than `limit` bytes, came too slowly, or did not arrive whole.
pub async fn read(body: Payload, what: &str, limit: usize) -> Result<Bytes, Problem> {
    let body = body.to_bytes_limited(limit).await;
    let body = body.map_err(|_| Problem::new(Reason::TooLarge, format!("{what} has at most {limit} bytes")))?;
    body.map_err(|error| match error.as_error() {
        Some(error) if came_too_slowly(error) => Problem::too_slow(),
        Some(_) | None => Problem::bad_request(format!("{what} did not arrive whole: {error}")),
    })
}
