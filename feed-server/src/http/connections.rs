//! How many connections the system lets this process have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Of the open files that there may be, this part is for connections; the rest is for the catalog, for content that is being sent,
/// and for imports.
const FOR_CONNECTIONS: (u64, u64) = (7, 8);

/// How many connections a listener that is to have `wanted` gets, where there may be so many open files.
#[must_use]
pub fn at_most(wanted: usize, open_files: Option<u64>) -> usize {
    let (part, whole) = FOR_CONNECTIONS;
    let room = open_files.map_or(usize::MAX, |files| usize::try_from(files / whole * part).unwrap_or(usize::MAX));
    if room < wanted {
        tracing::warn!(wanted, room, "the limit of open files (LimitNOFILE, ulimit -n) allows for fewer connections");
    }
    wanted.min(room).max(1)
}

/// Raises the limit of open files to what the system allows this process at most. What processes begin with (1,024 mostly) is
/// for programs that still use `select(2)`, which takes no more; when power comes back at a large site, there are more headends
/// than that. Returns the limit; `None` where there is none.
///
/// It is no error if it cannot be raised: then there are as many connections as there can be.
pub fn allow_as_many_as_the_system() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, limit = limit.current, "the limit of open files stays as it is");
            limit.current
        }
    }
}
