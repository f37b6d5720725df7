//! `feed-server keys request|sign|import-signatures`: the way to where root keys are, and back.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use bundles::Reason;
use bundles::report::Failure;
use clap::Args;

use super::super::door::{Door, cannot_write};
use super::super::output::{print, print_json};
use super::super::{Global, failed};
use super::passphrase::Source;
use crate::http::api::views::NextRootView;
use crate::publish::{Key, Request};

/// What to sign, and with what.
#[derive(Debug, Args)]
pub struct Arguments {
    /// What `keys request` wrote; the signatures are added to it
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A root key's file; may be given several times
    #[arg(long, value_name = "FILE", required = true)]
    key: Vec<PathBuf>,
    /// Where to write it with the signatures, instead of to the same file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    passphrase: Source,
    /// Sign without asking, where this runs on a terminal
    #[arg(long)]
    yes: bool,
}

pub(super) async fn request(global: &Global, out: Option<PathBuf>) -> anyhow::Result<()> {
    let bytes = Door::with(global, async |door| door.bytes("/api/v1/keys/request").await).await?;
    let Some(out) = out else { return print(&(String::from_utf8_lossy(&bytes) + "\n")) };
    std::fs::write(&out, &bytes).map_err(|error| cannot_write(&out, &error))?;
    eprintln!("{}", read(&bytes)?.lines().join("\n"));
    Ok(())
}

pub(super) fn run(global: &Global, arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { file, key, out, passphrase, yes } = arguments;
    let mut request = read(&bytes_of(&file)?)?;
    let keys = read_keys(&key, &passphrase)?;
    // What is signed is told before it is: these keys may do anything in headends' eyes.
    eprintln!("{}", request.lines().join("\n"));
    if !yes && io::stdin().is_terminal() && !agreed()? {
        return Err(Failure::new(Reason::BadRequest, "nothing was signed").into());
    }
    for key in &keys {
        request.sign(key).map_err(failed)?;
    }
    let out = out.unwrap_or(file);
    write_whole(&out, &request.to_bytes()).map_err(|error| cannot_write(&out, &error))?;
    let lacking: u64 = request.lacking().iter().map(|lacking| lacking.signatures).sum();
    if global.json {
        return print_json(&serde_json::json!({ "lacking": lacking }));
    }
    let next = match lacking {
        0 => "Enough have signed: bring it back with `feed-server keys import-signatures`.",
        _ => "More signatures are lacking: sign it with other keys too, or bring it back as it is.",
    };
    print(&format!("Signed; {} has the signatures. {next}\n", out.display()))
}

fn agreed() -> io::Result<bool> {
    eprint!("Sign this? [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

pub(super) async fn import(global: &Global, files: &[PathBuf]) -> anyhow::Result<()> {
    let requests = files.iter().map(|file| read(&bytes_of(file)?)).collect::<anyhow::Result<Vec<_>>>()?;
    let roots = Door::with(global, async |door| {
        let mut roots: Vec<NextRootView> = Vec::new();
        for request in &requests {
            roots = door.post("/api/v1/keys/signatures", request).await?;
            // What enough have signed waits no longer; whatever the other files have is of no use any more.
            if !roots.is_empty() && roots.iter().all(|root| root.lacking.is_empty()) {
                break;
            }
        }
        Ok(roots)
    })
    .await?;
    if global.json {
        return print_json(&roots);
    }
    if roots.is_empty() {
        return print("These signatures are here already, and the roots in place.\n");
    }
    super::tell(&roots)
}

/// Private keys, each from its file.
pub(super) fn read_keys(files: &[PathBuf], passphrase: &Source) -> anyhow::Result<Vec<Key>> {
    files.iter().map(|file| Key::read(file, || passphrase.of(file)).map_err(failed)).collect()
}

pub(super) fn read(bytes: &[u8]) -> anyhow::Result<Request> {
    Request::read(bytes).map_err(failed)
}

fn bytes_of(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).map_err(|error| {
        let message = format!("{} cannot be read ({error}); check the path and the medium", file.display());
        Failure::new(Reason::BadRequest, message).into()
    })
}

/// The file as it was, or with the signatures: media are pulled out.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}
