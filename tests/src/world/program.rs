//! A program in the world: run to its end, or kept running and ended by its id.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;

use super::wait::{DEADLINE, wait_for};

/// What the crash points begin with that a run which releases, and a headend's update, do not come by. Those about manners are come by
/// where upstream asks for a pause, which makes no release; those about releasing again where an operator does (holding/crashes.rs);
/// those about imports where a zip is brought (air_gap/crashes.rs), about reports where a headend reports (reports.rs), about increments
/// after the release is visible (increments/), about keys where keys change (keys/crashes.rs), about backups where one is made or
/// restored (backups/crashes.rs), and about schemas in feed-server's own tests.
pub const CRASHES_ELSEWHERE: [&str; 10] = [
    "manners.",
    "republish.",
    "import.",
    "incoming.",
    "report.",
    "prepare.",
    "keys.",
    "backup.",
    "restore.",
    "schema.",
];

/// The variable that makes both programs die at a point (debug builds only).
const CRASH_AT: &str = "POSTURE_FEED_CRASH_AT";

/// Where Debian puts libfaketime (`$LIB` is the loader's word for the machine's library directory). Where it is missing, the
/// loader says so on standard error, and what waits for another time fails.
const FAKETIME: &str = "/usr/$LIB/faketime/libfaketimeMT.so.1";

/// How much of a log an error repeats.
const TAIL: usize = 4_000;

/// The variables that let a program believe that the clock is off by that much; it measures time as ever.
#[must_use]
pub fn clock_off(offset: &str) -> [(&'static str, String); 3] {
    // Not through `faketime` itself, which stays between us and the program, so that signals would end it alone.
    [
        ("LD_PRELOAD", FAKETIME.to_owned()),
        ("FAKETIME", offset.to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
}

/// The variables that let programs read from a file, at each look at the clock, by how much it is off: so that it jumps while
/// they run.
#[must_use]
pub fn clock_from(file: &Path) -> [(&'static str, String); 4] {
    [
        ("LD_PRELOAD", FAKETIME.to_owned()),
        ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
}

/// A program, what it is told, and in which environment.
#[derive(Debug, Clone)]
pub struct Invocation {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: Option<PathBuf>,
}

impl Invocation {
    /// That program, without arguments.
    #[must_use]
    pub fn new(program: &Path) -> Self {
        Self { program: program.to_owned(), arguments: Vec::new(), environment: Vec::new(), directory: None }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Adds a variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Lets it work in that directory.
    #[must_use]
    pub fn directory(mut self, directory: &Path) -> Self {
        self.directory = Some(directory.to_owned());
        self
    }

    /// Lets it believe that the clock is off by that much, such as `+8d` (by libfaketime); it measures time as ever.
    #[must_use]
    pub fn with_clock_off(self, offset: &str) -> Self {
        clock_off(offset).into_iter().fold(self, |invocation, (name, value)| invocation.env(name, value))
    }

    /// Lets it die at a crash point, where one is given.
    #[must_use]
    pub(super) fn crashing_at(self, point: Option<&str>) -> Self {
        match point {
            Some(point) => self.env(CRASH_AT, point),
            None => self,
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null());
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        // Whatever the machine is set to, a world has no proxy and no settings but its own.
        for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
            command.env_remove(name).env_remove(name.to_ascii_uppercase());
        }
        command.env_remove("RUST_LOG").env("TZ", "UTC");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn shown(&self) -> String {
        let name = self.program.file_name().unwrap_or_default().to_string_lossy();
        self.arguments.iter().fold(name.into_owned(), |shown, argument| shown + " " + &argument.to_string_lossy())
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// It does not start, or does not end within [`DEADLINE`].
    pub async fn output(&self) -> Result<Output> {
        let mut command = tokio::process::Command::from(self.command());
        let running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).output();
        let output = match tokio::time::timeout(DEADLINE, running).await {
            Ok(output) => output.with_context(|| format!("{} does not start", self.shown()))?,
            Err(_) => bail!("{} did not end within {DEADLINE:?}", self.shown()),
        };
        Ok(Output {
            shown: self.shown(),
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Starts it and leaves it running; what it says goes to the end of `log`.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(&self, log: &Path) -> Result<Running> {
        let out = File::options().create(true).append(true).open(log).with_context(|| log.display().to_string())?;
        let error = out.try_clone()?;
        let child = self.command().stdout(out).stderr(error).spawn();
        let child = child.with_context(|| format!("{} does not start", self.shown()))?;
        Ok(Running { shown: self.shown(), child, log: log.to_owned() })
    }
}

/// How a program ended and what it said.
#[derive(Debug, Clone)]
pub struct Output {
    shown: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it logged and complained of.
    pub stderr: String,
}

impl Output {
    /// The exit code; `None` where a signal ended it, as a crash point does.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Itself, if it ended well.
    ///
    /// # Errors
    /// It did not; the error holds everything it said.
    pub fn success(self) -> Result<Self> {
        ensure!(self.status.success(), "{self}");
        Ok(self)
    }

    /// Itself, if it ended with that code.
    ///
    /// # Errors
    /// It did not; the error holds everything it said.
    pub fn failed_with(self, code: i32) -> Result<Self> {
        ensure!(self.code() == Some(code), "exit code {code} was to be expected, but: {self}");
        Ok(self)
    }

    /// Itself, if it was killed at a crash point.
    ///
    /// # Errors
    /// It ended by itself; the error holds everything it said.
    pub fn crashed(self) -> Result<Self> {
        ensure!(self.code().is_none(), "a crash was to be expected, but: {self}");
        Ok(self)
    }

    /// What it printed with `--json`.
    ///
    /// # Errors
    /// It is not JSON of that shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.stdout).with_context(|| self.to_string())
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})\n{}{}", self.shown, self.status, self.stdout, self.stderr)
    }
}

/// `USER_HZ`, which is 100 for programs on every architecture that this runs on.
const MILLISECONDS_PER_TICK: u64 = 10;

/// A program that runs. Ends when dropped.
#[derive(Debug)]
pub struct Running {
    shown: String,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// The system does not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| self.shown.clone())
    }

    /// The most memory that it has held at once so far, in bytes (`VmHWM`; Linux only).
    ///
    /// # Errors
    /// It has ended, or the system does not say.
    pub fn peak_memory(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        let kilobytes = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        Ok(kilobytes.with_context(|| format!("{path} has no VmHWM: {} has ended", self.shown))? * 1024)
    }

    /// The processor time that it has used so far, all threads, in user and system mode (Linux only).
    ///
    /// # Errors
    /// It has ended, or the system does not say.
    pub fn cpu_time(&self) -> Result<Duration> {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        // Fields 14 and 15 of proc(5); the second is the program's name in parentheses, and may hold anything.
        let fields = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').skip(11).take(2)).into_iter().flatten();
        let ticks = fields.map(str::parse::<u64>).sum::<Result<u64, _>>().with_context(|| path.clone())?;
        Ok(Duration::from_millis(ticks * MILLISECONDS_PER_TICK))
    }

    /// Sends it a signal, by its id.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a process has an id")?;
        kill_process(id, signal).with_context(|| format!("{} is not there to be signalled", self.shown))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It goes on beyond the deadline.
    pub async fn end(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let what = format!("{} ends", self.shown);
        let ended = wait_for(deadline, &what, async || self.ended().transpose()).await;
        ended?.with_context(|| self.tail())
    }

    /// The last of what it said.
    #[must_use]
    pub fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let start = text.len().saturating_sub(TAIL);
        let start = (start..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        format!("{} said at last:\n{}", self.shown, &text[start..])
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already where all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
