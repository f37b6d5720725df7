//! `feed-server bundle …`

use std::io::IsTerminal as _;
use std::path::PathBuf;

use bundles::Serial;
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};

use super::Global;
use super::door::Door;
use super::output::{bytes, print, print_json};

/// Zips to carry.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Write the zip of a release that ISE takes as an offline update, and its .sha256
    Build {
        /// The release's number [default: the newest]
        serial: Option<Serial>,
        /// For ISE: the only kind so far, and so the default
        #[arg(long)]
        ise: bool,
        /// Directory to write it to
        #[arg(long, value_name = "DIR", default_value = ".")]
        out: PathBuf,
    },
}

/// Builds a zip.
///
/// # Errors
/// There is no such release, no way to the data, or the file cannot be written.
pub async fn run(global: &Global, verb: Verb) -> anyhow::Result<()> {
    let Verb::Build { serial, ise: _, out } = verb;
    let (path, size) = Door::with_published(global, async |door| {
        let serial = match serial {
            Some(serial) => serial,
            None => door.newest().await?,
        };
        std::fs::create_dir_all(&out).map_err(|error| super::door::cannot_write(&out, &error))?;
        let path = out.join(format!("posture-offline-{serial}.zip"));
        let bar = bar();
        let size = door
            .download(&format!("/offline/posture-offline-{serial}.zip"), &path, |written, length| {
                bar.set_length(length.unwrap_or(written));
                bar.set_position(written);
            })
            .await;
        bar.finish_and_clear();
        let size = size?;
        let digest = out.join(format!("posture-offline-{serial}.zip.sha256"));
        door.download(&format!("/offline/posture-offline-{serial}.zip.sha256"), &digest, |_, _| {}).await?;
        Ok((path, size))
    })
    .await?;
    if global.json {
        return print_json(&serde_json::json!({ "path": path, "length": size }));
    }
    print(&format!("{} ({})\n", path.display(), bytes(size)))
}

fn bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("[{bar:30}] {bytes}/{total_bytes}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}
