//! The hook: a program of the operator's that looks at a release (or makes the headend take it) and may refuse it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bundles::{Reason, Reasoned, Serial};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

/// A hook that reloads a headend takes seconds; one that hangs must not stop updates for good.
pub const TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// When the hook has ended, its last words are read within this time. A service that it started may hold its output open
/// for as long as it runs; waiting for that would turn a reload that went well into a refusal.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What of a hook's output is repeated in the log and, its end, in the failure: enough for a stack trace.
const MAX_OUTPUT: usize = 16 << 10;

/// The end of the output that goes into the failure's message, and so to the server's console.
const MAX_LAST_WORDS: usize = 300;

/// What a hook is told, in its environment.
#[derive(Debug, Clone)]
pub struct Occasion<'a> {
    /// `POSTURE_FEED_SERIAL`: the release that is to run.
    pub serial: Serial,
    /// `POSTURE_FEED_RELEASE_DIR`: its folder.
    pub release: &'a Path,
    /// `POSTURE_FEED_PREVIOUS_SERIAL`: the release that ran before; not set for the first.
    pub previous: Option<Serial>,
}

/// Runs the hook in a process group of its own, which does not outlive its time.
///
/// # Errors
/// It cannot be started, does not end in time, or ends with another status than 0.
pub async fn run(program: &Path, occasion: &Occasion<'_>, timeout: Duration) -> Result<(), HookError> {
    let started = |source| HookError::Start { program: program.to_owned(), source };
    let mut command = Command::new(program);
    command
        .env("POSTURE_FEED_SERIAL", occasion.serial.to_string())
        .env("POSTURE_FEED_RELEASE_DIR", occasion.release)
        .env_remove("POSTURE_FEED_PREVIOUS_SERIAL")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let Some(previous) = occasion.previous {
        command.env("POSTURE_FEED_PREVIOUS_SERIAL", previous.to_string());
    }
    let mut child = command.spawn().map_err(started)?;
    let group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let ended = tokio::time::timeout(timeout, async {
        // Both pipes are read to their end whatever their length, so that a chatty hook never blocks on a full one.
        let mut reading = std::pin::pin!(async { tokio::join!(gather(out, &mut stdout), gather(err, &mut stderr)) });
        tokio::select! {
            status = child.wait() => {
                // What is there by then is what is said.
                let _ = tokio::time::timeout(LAST_WORDS, reading).await;
                status
            }
            _ = &mut reading => child.wait().await,
        }
    });
    let Ok(status) = ended.await else {
        drop(group);
        return Err(HookError::Timeout { program: program.to_owned(), timeout });
    };
    let status = status.map_err(started)?;
    let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    for line in stdout.lines().chain(stderr.lines()) {
        tracing::info!(hook = %program.display(), "{line}");
    }
    if status.success() {
        return Ok(());
    }
    let output = if stderr.trim().is_empty() { stdout } else { stderr };
    Err(HookError::Failed { program: program.to_owned(), status, last_words: last_words(&output) })
}

/// Kills what a hook started when it is left behind: on a timeout, or when the client is told to stop meanwhile.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Nobody left in it is the usual case.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Reads a pipe to its end and keeps the beginning, of which nothing is lost when this is dropped.
async fn gather(pipe: Option<impl tokio::io::AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = vec![0; 4 << 10];
    loop {
        match pipe.read(&mut buffer).await {
            Ok(count) if count > 0 => {
                let room = MAX_OUTPUT.saturating_sub(kept.len());
                kept.extend_from_slice(&buffer[..count.min(room)]);
            }
            // A pipe that cannot be read ends the output, not the hook.
            Ok(_) | Err(_) => return,
        }
    }
}

fn last_words(output: &str) -> String {
    let output = output.trim();
    if output.is_empty() {
        return "without a word".to_owned();
    }
    let skip = output.chars().count().saturating_sub(MAX_LAST_WORDS);
    let words: String = output.chars().skip(skip).map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("saying: {words}")
}

/// Why a hook refused a release.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// It cannot be started.
    #[error("the hook {} cannot be run; check that it is there, executable and has an interpreter", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It takes too long.
    #[error("the hook {} did not end within {} seconds and was killed", program.display(), timeout.as_secs())]
    Timeout {
        /// The program.
        program: PathBuf,
        /// Its time.
        timeout: Duration,
    },
    /// It says no.
    #[error("the hook {} ended with {status}, {last_words}", program.display())]
    Failed {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it wrote.
        last_words: String,
    },
}

impl Reasoned for HookError {
    fn reason(&self) -> Reason {
        match self {
            Self::Start { .. } | Self::Timeout { .. } | Self::Failed { .. } => Reason::HookFailed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    async fn run_script(script: &str, timeout: Duration) -> (Result<(), HookError>, String) {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("hook");
        std::fs::write(&program, format!("#!/bin/sh\ncd {}\n{script}\n", directory.path().display())).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let occasion = Occasion { serial: Serial::new(7).unwrap(), release: directory.path(), previous: None };
        let result = run(&program, &occasion, timeout).await;
        (result, std::fs::read_to_string(directory.path().join("out")).unwrap_or_default())
    }

    #[tokio::test]
    async fn it_is_told_what_it_looks_at() {
        let script =
            "echo $POSTURE_FEED_SERIAL ${POSTURE_FEED_PREVIOUS_SERIAL-none} > out; test -d $POSTURE_FEED_RELEASE_DIR";
        let (result, out) = run_script(script, TIMEOUT).await;
        result.unwrap();
        assert_eq!(out, "7 none\n");
    }

    #[tokio::test]
    async fn its_refusal_and_last_words_are_passed_on() {
        let (result, _) = run_script("echo the policy node is down >&2; exit 3", TIMEOUT).await;
        let error = result.unwrap_err();
        assert_eq!(error.reason(), Reason::HookFailed);
        assert!(error.to_string().ends_with("exit status: 3, saying: the policy node is down"), "{error}");
    }

    #[tokio::test]
    async fn a_chatty_one_does_not_block_and_a_hanging_one_is_killed_with_its_children() {
        let (result, _) = run_script("head -c 1000000 /dev/zero", TIMEOUT).await;
        result.unwrap();
        // The grandchild keeps the pipe open: only killing the whole group ends the wait.
        let (result, _) = run_script("sleep 1000 & sleep 1000", Duration::from_millis(200)).await;
        assert!(matches!(result, Err(HookError::Timeout { .. })), "{result:?}");
    }

    #[tokio::test]
    async fn a_service_that_it_started_may_keep_its_output_open() {
        // In a session of its own, as daemons are; it would hold the pipe far beyond the hook's time.
        let script = "echo loaded; setsid sleep 100 & echo $! > out; exit 0";
        let (result, pid) = run_script(script, Duration::from_secs(20)).await;
        result.unwrap();
        let service = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(service, Signal::KILL).expect("the service goes on when the hook has ended");
        let (result, pid) =
            run_script("echo out of memory >&2; setsid sleep 100 & echo $! > out; exit 1", TIMEOUT).await;
        assert!(result.unwrap_err().to_string().ends_with("saying: out of memory"));
        rustix::process::kill_process(Pid::from_raw(pid.trim().parse().unwrap()).unwrap(), Signal::KILL).unwrap();
    }

    #[tokio::test]
    async fn one_that_is_not_there_refuses() {
        let occasion = Occasion { serial: Serial::FIRST, release: Path::new("/"), previous: None };
        let error = run(Path::new("/nowhere/hook"), &occasion, TIMEOUT).await.unwrap_err();
        assert_eq!(error.reason(), Reason::HookFailed);
    }
}
