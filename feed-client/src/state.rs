//! What the client knows about itself, durable: floors, holds, what it is in the middle of, how attempts went.

mod seal;

use std::collections::BTreeMap;
use std::fmt;

use bundles::inspection::ZipFacts;
use bundles::report::{Failure, Transfer};
use bundles::signed::RootFacts;
use bundles::{Digest, Reason, Reasoned, Serial};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use crate::crash;
use crate::data::Paths;
use crate::durable::{self, Readers, StorageError};
use crate::fetch::Received;

/// The state format that this code writes and reads.
const FORMAT: u32 = 1;

/// New roots show in a full refresh alone, and so does a server that answers 304 to everything.
const FULL_REFRESH_WITHIN: SignedDuration = SignedDuration::from_hours(24);

/// The content of `state.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Always `FORMAT`.
    pub format: u32,
    /// The highest release number that a verified manifest ever had: nothing older is applied from the network.
    pub highest_serial: Option<Serial>,
    /// The release that must not be applied by itself.
    pub hold: Option<Hold>,
    /// A switch that is not yet kept; the next run finishes it.
    pub activating: Option<Activating>,
    /// When the attempt that is going on began; a killed one leaves it behind.
    pub running_since: Option<Timestamp>,
    /// When the last attempt was made.
    pub last_attempt: Option<Timestamp>,
    /// When content last was brought up to date or found to be so.
    pub last_success: Option<Timestamp>,
    /// Why the last attempt failed; absent where it succeeded.
    pub last_failure: Option<Failure>,
    /// Why the server did not take the last report; absent where it did, and where none is made.
    pub last_report_failure: Option<Failure>,
    /// Failed attempts in a row.
    pub failures_in_a_row: u32,
    /// When `feed-client run` polls next.
    pub next_poll: Option<Timestamp>,
    /// Attempts by result (`ok`, `unchanged`, or a reason) since installation.
    pub poll_total: BTreeMap<String, u64>,
    /// The newest time at which anything was made that was verified here: without NTP, no clock is believed to be before
    /// it when a bundle is held to its end.
    pub newest_signed: Option<Timestamp>,
    /// Where the releases that are here came from, as far as it was noted.
    pub sources: BTreeMap<Serial, ReleaseSource>,
    /// The last import. Imports have notes of their own: one that an operator makes by hand neither ends nor begins a
    /// series of failed polls, which is about the way to the server.
    pub last_import: Option<LastImport>,
    /// When an import last succeeded.
    pub last_import_success: Option<Timestamp>,
    /// Imports by result since installation, as `poll_total`.
    pub import_total: BTreeMap<String, u64>,
    /// The repository's root as last verified.
    #[serde(deserialize_with = "readable_or_none")]
    pub root: Option<RootFacts>,
    /// What the last full refresh came to, if the next poll may do with less.
    #[serde(deserialize_with = "readable_or_none")]
    pub refreshed: Option<Refreshed>,
    /// How the last release came, if it came from the server.
    #[serde(deserialize_with = "readable_or_none")]
    pub last_transfer: Option<Transfer>,
    /// What the server sent since installation.
    #[serde(skip_serializing_if = "Received::is_nothing")]
    pub received: Received,
    /// When this file itself was last found damaged or gone, and put together anew from what else is here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rebuilt: Option<Rebuilt>,
    /// The latest time that was known when the last attempt began, if the clock was behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_behind: Option<Timestamp>,
    /// The damage that was last found among signed metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damage: Option<Damage>,
}

/// A state that was put together from what else is here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebuilt {
    /// What had become of the file.
    pub why: Loss,
    /// When that was found; absent until the next attempt takes note of it.
    pub at: Option<Timestamp>,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// It is not there.
    Missing,
    /// It is not what was written.
    Damaged,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::Damaged => "damaged",
        })
    }
}

/// Damaged files, and when they were found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// When.
    pub at: Timestamp,
    /// Below the data directory.
    pub files: Vec<String>,
}

/// What there is of a state.
#[derive(Debug)]
pub enum Found {
    /// It, as it was written.
    Whole(Box<State>),
    /// Nothing that it could be read from.
    Lost(Loss),
}

/// Where a release came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ReleaseSource {
    /// From the server.
    Server {
        /// Its base URL.
        url: Url,
    },
    /// By hand.
    Bundle(ZipFacts),
}

impl fmt::Display for ReleaseSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server { url } => url.fmt(f),
            Self::Bundle(zip) => write!(f, "imported from {}, SHA-256 {}", zip.name, zip.sha256),
        }
    }
}

/// How an import went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastImport {
    /// When it was begun.
    pub at: Timestamp,
    /// The bundle's file name.
    pub file: String,
    /// The release that it brought, or that ran already.
    pub serial: Option<Serial>,
    /// Why it failed; absent where it did not.
    pub failure: Option<Failure>,
}

/// A release that is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// This one and older ones are not applied by a scheduled poll.
    pub serial: Serial,
    /// Who said so.
    pub why: HoldReason,
}

/// Why a release is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldReason {
    /// The hook program refused it.
    HookFailed,
    /// An operator went back.
    Rollback,
    /// A newer release is here and does not run, and the state that said why is lost.
    StateLost,
}

/// A switch from one release to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activating {
    /// The release to run.
    pub serial: Serial,
    /// The one that ran before; absent for the first.
    pub previous: Option<Serial>,
    /// Whether an operator goes back: then the newest release seen is held once the switch is kept.
    pub rollback: bool,
    /// Whether the hook refused it: then it only remains to go back.
    pub refused: bool,
}

/// What the last full refresh came to, so that the next poll may do without one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refreshed {
    /// When it was made.
    pub at: Timestamp,
    /// The timestamp's URL, which says server and repository.
    pub url: Url,
    /// The tag that the server had for the timestamp.
    pub etag: String,
    /// The timestamp that is held.
    pub timestamp: Digest,
    /// The root that was pinned.
    pub pinned_root: Digest,
    /// When the first of the verified metadata ends.
    pub valid_until: Timestamp,
    /// The newest release.
    pub serial: Serial,
}

impl Refreshed {
    /// Whether a 304 may stand for a refresh at `now`, by time alone. `floor` is the newest time that is vouched for: a clock
    /// before it is wrong.
    #[must_use]
    pub fn is_fresh(&self, now: Timestamp, floor: Option<Timestamp>) -> bool {
        let age = now.duration_since(self.at);
        !age.is_negative() && age < FULL_REFRESH_WITHIN && floor.map_or(now, |floor| now.max(floor)) < self.valid_until
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            format: FORMAT,
            highest_serial: None,
            hold: None,
            activating: None,
            running_since: None,
            last_attempt: None,
            last_success: None,
            last_failure: None,
            last_report_failure: None,
            failures_in_a_row: 0,
            next_poll: None,
            poll_total: BTreeMap::new(),
            newest_signed: None,
            sources: BTreeMap::new(),
            last_import: None,
            last_import_success: None,
            import_total: BTreeMap::new(),
            root: None,
            refreshed: None,
            last_transfer: None,
            received: Received::default(),
            rebuilt: None,
            clock_behind: None,
            damage: None,
        }
    }
}

/// Other clients write less or more of it, and the next refresh gives all of it anew: nothing to call the state damaged for.
fn readable_or_none<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::de::DeserializeOwned,
{
    let value = Option::<serde_json::Value>::deserialize(from)?;
    Ok(value.and_then(|value| serde_json::from_value(value).ok()))
}

impl State {
    /// Reads the state, if it is what [`State::save`] wrote: [`crate::mend::load`] puts together what there is to know else.
    ///
    /// # Errors
    /// It cannot be read, or a newer client wrote it.
    pub fn read(paths: &Paths) -> Result<Found, StateError> {
        let path = paths.state();
        let Some(bytes) = durable::read_if_there(&path)? else { return Ok(Found::Lost(Loss::Missing)) };
        let Some(value) = seal::opened(&bytes) else { return Ok(Found::Lost(Loss::Damaged)) };
        let found = value.get("format").and_then(Value::as_u64).and_then(|format| u32::try_from(format).ok());
        match (found, serde_json::from_value(value)) {
            (Some(FORMAT), Ok(state)) => Ok(Found::Whole(Box::new(state))),
            (Some(found), _) if found != FORMAT => Err(StateError::Format { path, found }),
            _ => Ok(Found::Lost(Loss::Damaged)),
        }
    }

    /// Writes the state durably.
    ///
    /// # Errors
    /// The file system refuses; the old state then still stands.
    pub fn save(&self, paths: &Paths) -> Result<(), StorageError> {
        crash::point("client.state.before_write");
        // Strings, numbers and maps with string keys: serde_json has nothing to refuse here.
        let value = serde_json::to_value(self).unwrap_or_default();
        durable::write(&paths.state(), &seal::sealed(value), Readers::Anyone)
    }

    /// Takes note of the number and the time that a verified manifest has.
    pub fn saw(&mut self, serial: Serial, created: Timestamp) {
        self.highest_serial = self.highest_serial.max(Some(serial));
        self.newest_signed = self.newest_signed.max(Some(created));
    }

    /// One more import ended so.
    pub fn count_import(&mut self, result: &str) {
        *self.import_total.entry(result.to_owned()).or_default() += 1;
    }

    /// The latest time that is known to have been: the clock is behind it only if it went backwards, or was never right.
    #[must_use]
    pub fn latest_known(&self) -> Option<Timestamp> {
        let refreshed = self.refreshed.as_ref().map(|refreshed| refreshed.at);
        [self.last_attempt, self.last_success, refreshed, self.newest_signed].into_iter().flatten().max()
    }

    /// How the newest attempt went, poll or import: when it was made, and why it failed if it did.
    #[must_use]
    pub fn newest_attempt(&self) -> Option<(Timestamp, Option<&Failure>)> {
        let poll = self.last_attempt.map(|at| (at, self.last_failure.as_ref()));
        let import = self.last_import.as_ref().map(|import| (import.at, import.failure.as_ref()));
        [poll, import].into_iter().flatten().max_by_key(|(at, _)| *at)
    }

    /// Whether a scheduled poll must leave this release alone, and why.
    #[must_use]
    pub fn holds(&self, serial: Serial) -> Option<HoldReason> {
        self.hold.filter(|hold| serial <= hold.serial).map(|hold| hold.why)
    }

    /// One more attempt ended so.
    pub fn count(&mut self, result: &str) {
        *self.poll_total.entry(result.to_owned()).or_default() += 1;
    }
}

/// Why there is no state.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file system's answer.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A newer program's.
    #[error("the state file {} has format {found} and this program reads format {FORMAT}; use the newer feed-client that wrote it", path.display())]
    Format {
        /// The file.
        path: std::path::PathBuf,
        /// Its format.
        found: u32,
    },
}

impl Reasoned for StateError {
    fn reason(&self) -> Reason {
        match self {
            Self::Storage(error) => error.reason(),
            Self::Format { .. } => Reason::Storage,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(paths: &Paths) -> State {
        match State::read(paths).unwrap() {
            Found::Whole(state) => *state,
            Found::Lost(loss) => panic!("{loss}"),
        }
    }

    fn lost(paths: &Paths) -> Option<Loss> {
        match State::read(paths).unwrap() {
            Found::Whole(_) => None,
            Found::Lost(loss) => Some(loss),
        }
    }

    fn serial(number: u64) -> Serial {
        Serial::new(number).unwrap()
    }

    #[test]
    fn it_reads_back_unless_it_is_a_newer_one_or_anything_of_it_is_another() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::new(directory.path(), None);
        assert_eq!(lost(&paths), Some(Loss::Missing));

        let mut state = State::default();
        let made = |second| Timestamp::from_second(second).unwrap();
        state.saw(serial(7), made(70));
        state.saw(serial(3), made(30));
        state.count("ok");
        let zip = ZipFacts { name: "b.zip".to_owned(), sha256: bundles::Digest::of(b""), length: 0 };
        state.sources.insert(serial(7), ReleaseSource::Bundle(zip));
        state.sources.insert(serial(3), ReleaseSource::Server { url: Url::parse("https://feed.example/").unwrap() });
        state.save(&paths).unwrap();
        assert_eq!(whole(&paths), state);
        assert_eq!((state.highest_serial, state.newest_signed), (Some(serial(7)), Some(made(70))));

        let written = std::fs::read(paths.state()).unwrap();
        for at in 0..written.len() {
            std::fs::write(paths.state(), &written[..at]).unwrap();
            assert_eq!(lost(&paths), Some(Loss::Damaged), "cut off after {at} bytes");
            let mut flipped = written.clone();
            flipped[at] ^= 1;
            std::fs::write(paths.state(), &flipped).unwrap();
            // Space between what is said may be other space.
            let same = written[at].is_ascii_whitespace() && flipped[at].is_ascii_whitespace();
            assert!(same || lost(&paths) == Some(Loss::Damaged), "byte {at} is another");
        }
        std::fs::write(paths.state(), "{\"format\":2}").unwrap();
        let error = State::read(&paths).unwrap_err();
        assert_eq!(error.reason(), Reason::Storage);
        assert!(error.to_string().contains("format 2"), "{error}");
    }

    #[test]
    fn a_root_as_earlier_clients_noted_it_is_no_damage() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::new(directory.path(), None);
        let text =
            r#"{"format":1,"highest_serial":7,"root":{"version":1,"expires":"2030-01-01T00:00:00Z"},"refreshed":7}"#;
        std::fs::write(paths.state(), text).unwrap();
        let state = whole(&paths);
        assert_eq!((state.highest_serial, state.root, state.refreshed), (Some(serial(7)), None, None));
    }

    #[test]
    fn a_hold_is_for_that_release_and_older_ones() {
        let hold = Hold { serial: serial(5), why: HoldReason::HookFailed };
        let state = State { hold: Some(hold), ..State::default() };
        assert_eq!(state.holds(serial(4)), Some(HoldReason::HookFailed));
        assert_eq!(state.holds(serial(5)), Some(HoldReason::HookFailed));
        assert_eq!(state.holds(serial(6)), None);
        assert_eq!(State::default().holds(serial(1)), None);
    }

    #[test]
    fn it_is_fresh_for_a_day_and_never_beyond_its_end_or_before_its_time() {
        const DAY: i64 = 86_400;
        let at = |seconds: i64| Timestamp::from_second(1_800_000_000 + seconds).unwrap();
        let refreshed = |valid_for| Refreshed {
            at: at(0),
            url: Url::parse("https://feed.example/repo/metadata/timestamp.json").unwrap(),
            etag: "\"a\"".to_owned(),
            timestamp: Digest::of(b""),
            pinned_root: Digest::of(b""),
            valid_until: at(valid_for),
            serial: Serial::FIRST,
        };
        let long = refreshed(7 * DAY);
        assert!(long.is_fresh(at(0), None) && long.is_fresh(at(DAY - 1), Some(at(-DAY))));
        assert!(!long.is_fresh(at(DAY), None), "a day is over");
        assert!(!long.is_fresh(at(-1), None), "the clock was set back");
        assert!(!long.is_fresh(at(1), Some(at(7 * DAY))), "the clock is known to be behind its end");
        let short = refreshed(60);
        assert!(short.is_fresh(at(59), None) && !short.is_fresh(at(60), None), "expired");
        assert!(!short.is_fresh(at(59), Some(at(60))));
    }
}
