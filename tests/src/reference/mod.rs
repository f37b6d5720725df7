//! The reference in `docs/reference`, made of what the programs say of themselves: their help, their metrics, the API's
//! description, the configuration files with every key explained, and the closed set of reasons.

mod api;
mod commands;
mod configuration;
mod metrics;
mod reasons;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde::de::DeserializeOwned;

use crate::shared::workspace;
use crate::world::binaries;

/// What writes the pages anew.
pub const WRITE: &str = "cargo run -p tests --bin docs-reference";

/// A page.
#[derive(Debug)]
pub struct Page {
    /// Its file's name in `docs/reference`.
    pub name: &'static str,
    /// Markdown.
    pub text: String,
}

/// Where the pages are.
#[must_use]
pub fn directory() -> PathBuf {
    workspace().join("docs/reference")
}

/// Every page, as it is to be.
///
/// # Errors
/// A program does not say what it should; or a key of a configuration is not explained.
pub async fn pages() -> Result<Vec<Page>> {
    let binaries = binaries().await?.clone();
    tokio::task::spawn_blocking(move || {
        let programs =
            [Program::new("feed-server", binaries.feed_server)?, Program::new("feed-client", binaries.feed_client)?];
        Ok(vec![
            page("configuration.md", "Configuration", &configuration::text(&programs)?),
            page("commands.md", "Commands", &commands::text(&programs)?),
            page("metrics.md", "Metrics", &metrics::text(&programs)?),
            page("api.md", "The API of feed-server", &api::text(&programs[0].generated("api")?)?),
            page("reasons.md", "Reasons", &reasons::text()),
        ])
    })
    .await?
}

fn page(name: &'static str, title: &str, text: &str) -> Page {
    let text = format!("# {title}\n\nMade by `{WRITE}`; changes belong into the programs.\n\n{}\n", text.trim_end());
    Page { name, text }
}

/// One of the two programs.
struct Program {
    name: &'static str,
    path: PathBuf,
    generated: tempfile::TempDir,
}

impl Program {
    fn new(name: &'static str, path: PathBuf) -> Result<Self> {
        let program = Self { name, path, generated: tempfile::tempdir()? };
        let out = program.generated.path().to_string_lossy().into_owned();
        let (_, said) = program.run(&["generate", "--out", &out])?;
        ensure!(program.generated.path().join("reference").is_dir(), "{name} generate: {said}");
        Ok(program)
    }

    /// What it prints, on standard output and standard error, in an environment that says nothing.
    fn run(&self, arguments: &[&str]) -> Result<(String, String)> {
        let output = Command::new(&self.path)
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("{} does not start", self.path.display()))?;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Ok((text(&output.stdout), text(&output.stderr)))
    }

    /// A file that it wrote of itself.
    fn generated<T: DeserializeOwned>(&self, what: &str) -> Result<T> {
        let path = self.generated.path().join("reference").join(format!("{}-{what}.json", self.name));
        read_json(&path)
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read(path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&text).with_context(|| path.display().to_string())
}

/// Text as it can stand in Markdown, where `<name>` would be a tag and `*` the beginning of emphasis.
fn plain(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut is_code = false;
    for letter in text.trim().chars() {
        match letter {
            '`' => is_code = !is_code,
            '<' | '*' if !is_code => escaped.push('\\'),
            _ => {}
        }
        escaped.push(letter);
    }
    escaped
}

/// The same in a table's cell.
fn cell(text: &str) -> String {
    plain(text).replace('|', "\\|").replace('\n', " ")
}
