//! Which release to go back to.

use bundles::{Reason, Reasoned, Serial};

/// The release to go back to: the one asked for, else the newest that is older than the one that runs.
///
/// # Errors
/// There is none, or the one asked for is not here or not older.
pub fn choose(asked: Option<Serial>, current: Option<Serial>, here: &[Serial]) -> Result<Serial, RollbackError> {
    let current = current.ok_or(RollbackError::NothingRuns)?;
    let Some(asked) = asked else {
        let older = here.iter().filter(|serial| **serial < current).max();
        return older.copied().ok_or(RollbackError::NothingOlder { current });
    };
    if asked != current && !here.contains(&asked) {
        let here = list(here);
        return Err(if asked > current {
            RollbackError::Newer { asked, here }
        } else {
            RollbackError::NotHere { asked, here }
        });
    }
    if asked < current { Ok(asked) } else { Err(RollbackError::NotOlder { asked, current }) }
}

fn list(serials: &[Serial]) -> String {
    serials.iter().map(Serial::to_string).collect::<Vec<_>>().join(", ")
}

/// Why there is nothing to go back to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RollbackError {
    /// No release runs.
    #[error("no release runs here, so there is none to go back from; run `feed-client update`")]
    NothingRuns,
    /// No older release is here.
    #[error("no release older than {current} is here; [apply] keep_releases says how many stay")]
    NothingOlder {
        /// The one that runs.
        current: Serial,
    },
    /// Forward is not back.
    #[error("release {asked} is not older than {current}, which runs; `feed-client update` goes forward")]
    NotOlder {
        /// The one asked for.
        asked: Serial,
        /// The one that runs.
        current: Serial,
    },
    /// Not here, and no going back either way: like [`Self::NotOlder`] a mistake in what was asked for.
    #[error("there is no release {asked} here; there are: {here}")]
    Newer {
        /// The one asked for.
        asked: Serial,
        /// Those that are here.
        here: String,
    },
    /// Not here any more.
    #[error("there is no release {asked} here; there are: {here}")]
    NotHere {
        /// The one asked for.
        asked: Serial,
        /// Those that are.
        here: String,
    },
}

impl Reasoned for RollbackError {
    fn reason(&self) -> Reason {
        match self {
            Self::NothingRuns | Self::NothingOlder { .. } | Self::NotHere { .. } => Reason::NotFound,
            Self::NotOlder { .. } | Self::Newer { .. } => Reason::BadRequest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_is_older_and_here() {
        let serial = |number| Serial::new(number).unwrap();
        let here = [serial(2), serial(4), serial(5), serial(9)];
        assert_eq!(choose(None, Some(serial(5)), &here), Ok(serial(4)));
        assert_eq!(choose(Some(serial(2)), Some(serial(5)), &here), Ok(serial(2)));
        for (asked, current, reason) in [
            (None, None, Reason::NotFound),
            (None, Some(2), Reason::NotFound),
            (Some(3), Some(5), Reason::NotFound),
            (Some(5), Some(5), Reason::BadRequest),
            (Some(9), Some(5), Reason::BadRequest),
            (Some(99), Some(5), Reason::BadRequest),
        ] {
            let error = choose(asked.map(serial), current.map(serial), &here).unwrap_err();
            assert_eq!(error.reason(), reason, "{asked:?} {current:?}");
        }
        let error = choose(Some(serial(99)), Some(serial(5)), &here).unwrap_err();
        assert_eq!(error.to_string(), "there is no release 99 here; there are: 2, 4, 5, 9");
    }
}
