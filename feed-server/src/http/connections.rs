//! How many connections the system lets this process have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

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
