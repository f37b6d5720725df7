//! Every attack that TUF names, and the tricks beside them, against the real programs: each is refused for its own reason, leaves
//! what the headend runs alone, and is over when the server is honest again. python-tuf has to refuse what ours refuses.
//! `SECURITY.md` lists them by these names.

mod forging;
mod line;
mod listed;
mod replays;
mod stage;
