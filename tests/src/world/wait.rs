//! Waiting for what must hold. The one place with a timer: everything else waits for conditions.

use std::time::Duration;

use anyhow::{Result, bail};

/// How long to wait for what takes seconds at most, on a busy machine with two cores. It ends a test that would hang; no
/// test gets slower by it.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Between two looks: short against everything that is waited for, long against the cost of a look.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until there is something, and gives it.
///
/// # Errors
/// There was nothing within the deadline; `what` says what was waited for.
pub async fn wait_for<T>(deadline: Duration, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> Result<T> {
    let mut pause = tokio::time::interval(PAUSE);
    let looking = async {
        loop {
            pause.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    match tokio::time::timeout(deadline, looking).await {
        Ok(found) => Ok(found),
        Err(_) => bail!("within {deadline:?}, this did not happen: {what}"),
    }
}

/// Looks until the condition holds.
///
/// # Errors
/// It did not within the deadline; `what` says what was waited for.
pub async fn wait_until(deadline: Duration, what: &str, mut condition: impl AsyncFnMut() -> bool) -> Result<()> {
    wait_for(deadline, what, async || condition().await.then_some(())).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_condition_is_looked_at_until_it_holds() {
        let mut looks = 0;
        let found = wait_for(DEADLINE, "three looks", async || {
            looks += 1;
            (looks == 3).then_some("found")
        });
        assert_eq!(found.await.unwrap(), "found");
        let late = wait_until(Duration::from_millis(1), "pigs fly", async || false).await.unwrap_err();
        assert!(late.to_string().contains("pigs fly"), "{late}");
    }
}
