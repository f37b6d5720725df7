//! What lies beside a zip: its digest and its sheet, and that the same release gives the same zips everywhere.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tests::peers;
use tests::world::World;

use crate::setting::{digest, origin, relay};

/// Runs the commands that a sheet prints for Linux, in the folder of the zip: what each says.
fn linux_commands(zip: &Path) -> Result<Vec<(String, String)>> {
    let sheet = std::fs::read_to_string(beside(zip, "sheet.txt"))?;
    let folder = zip.parent().context("a file has a folder")?;
    let mut said = Vec::new();
    let mut is_linux = false;
    for line in sheet.lines() {
        match line.strip_prefix("    ") {
            Some(command) if is_linux => {
                let output = Command::new("sh").args(["-ec", command]).current_dir(folder).output()?;
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                ensure!(output.status.success(), "{command}: {text}{}", String::from_utf8_lossy(&output.stderr));
                said.push((command.to_owned(), text));
            }
            Some(_) => {}
            None => is_linux = line.starts_with("Linux"),
        }
    }
    Ok(said)
}

/// `<zip>.<extension>`
fn beside(zip: &Path, extension: &str) -> std::path::PathBuf {
    zip.with_extension(format!("zip.{extension}"))
}

#[tokio::test]
async fn the_sheets_commands_and_digests_agree_with_the_zip() -> Result<()> {
    let (origin, _) = origin().await?;
    for kind in [&[][..], &["--ise"]] {
        let zip = origin.build_zip(kind).await?;
        peers::sha256sum_check(&beside(&zip, "sha256"))?;
        let digest = digest(&zip)?;
        let said = linux_commands(&zip)?;
        ensure!(said.len() == 2, "{said:?}");
        ensure!(said[0].1.starts_with(&digest), "{said:?}");
        ensure!(said[1].1.contains(": OK"), "{said:?}");
        // In groups of four, as people read it aloud.
        let sheet = std::fs::read_to_string(beside(&zip, "sheet.txt"))?;
        let spoken: String = sheet.chars().filter(char::is_ascii_hexdigit).collect();
        ensure!(spoken.contains(&digest), "{sheet}");
        let length = std::fs::metadata(&zip)?.len();
        ensure!(sheet.contains(&format!("{length} bytes")), "{sheet}");
    }
    Ok(())
}

/// The bundle that a world builds when it is told so by hand, without a server.
async fn rebuilt(world: &World, umask: &str, zone: &str) -> Result<String> {
    let out = tempfile::tempdir_in(world.directory())?;
    let binaries = tests::world::binaries().await?;
    let script = format!("umask {umask}; exec \"$0\" \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &script])
        .arg(&binaries.feed_server)
        .arg("--config")
        .arg(world.config())
        .args(["bundle", "build", "--out"])
        .arg(out.path())
        .env("TZ", zone)
        .env("LC_ALL", "de_DE.UTF-8")
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut zips = std::fs::read_dir(out.path())?.filter_map(Result::ok).map(|entry| entry.path());
    let zip = zips.find(|path| path.extension().is_some_and(|extension| extension == "zip"));
    digest(&zip.context("no zip was built")?)
}

#[tokio::test]
async fn the_same_release_gives_the_same_zips_everywhere() -> Result<()> {
    let (mut origin, root) = origin().await?;
    let bundle = origin.bundle().await?;
    let ise = origin.build_zip(&["--ise"]).await?;
    // On another machine, as it were: a relay with another data directory, its files made in another order.
    let other = relay(&root).env("TZ", "Pacific/Kiritimati").build().await?;
    other.import(&bundle).await?.success()?;
    ensure!(digest(&other.bundle().await?)? == digest(&bundle)?);
    ensure!(digest(&other.build_zip(&["--ise"]).await?)? == digest(&ise)?);
    // And on this one, after what was built is gone.
    origin.stop_server().await?;
    for (umask, zone) in [("077", "America/St_Johns"), ("000", "Asia/Kathmandu")] {
        for entry in walkdir::WalkDir::new(origin.data().join("tree/offline")) {
            let entry = entry?;
            if entry.file_type().is_file() && entry.file_name().to_string_lossy().contains("posture-bundle") {
                std::fs::remove_file(entry.path())?;
            }
        }
        ensure!(rebuilt(&origin, umask, zone).await? == digest(&bundle)?, "umask {umask}, {zone}");
    }
    Ok(())
}
