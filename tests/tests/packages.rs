//! The Debian packages, in a bare Debian root: they install, upgrade, refuse to be downgraded, and leave the data to be purged.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use tests::peers::debian::{Root, run, said};
use tests::world::binaries;

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/"))
}

/// `dpkg --install` in that root.
fn install(root: &Root, package: &Path) -> Result<Output> {
    let name = package.file_name().and_then(|name| name.to_str()).context("a package has a name")?;
    std::fs::copy(package, root.path(name))?;
    Ok(root.command(&["dpkg", "--install", &format!("/{name}")]).output()?)
}

/// Packages of the debug programs, under that version.
fn packages(output: &Path, version: &str) -> Result<Vec<PathBuf>> {
    let target = std::env::current_exe()?.ancestors().nth(3).context("a target folder")?.to_owned();
    run(Command::new(workspace().join("deploy/packages"))
        .args(["--profile", "dev", "--version", version, "--output"])
        .arg(output)
        .env("CARGO_TARGET_DIR", target)
        .env("POSTURE_FEED_BINS_READY", "1"))?;
    let mut packages = Vec::new();
    for entry in std::fs::read_dir(output)? {
        let path = entry?.path();
        if path.to_string_lossy().contains(&format!("_{version}_")) {
            packages.push(path);
        }
    }
    packages.sort();
    Ok(packages)
}

#[tokio::test]
async fn they_install_upgrade_and_go_and_the_data_stays_until_it_is_purged() -> Result<()> {
    binaries().await?;
    let built = tempfile::tempdir()?;
    let (old, new) = (packages(built.path(), "0.1.0-1")?, packages(built.path(), "0.1.1-1")?);
    ensure!(old.len() == 2 && new.len() == 2, "{old:?} {new:?}");
    let root = Root::bare()?;
    for package in &old {
        let installed = install(&root, package)?;
        ensure!(installed.status.success(), "{}", said(&installed));
    }
    for (program, user, unit) in [
        ("feed-server", "posture-feed", "posture-feed-server"),
        ("feed-client", "posture-feed-client", "posture-feed-client"),
    ] {
        ensure!(root.run(&[program, "--version"])?.contains(program));
        root.run(&["getent", "passwd", user])?;
        let home = root.run(&["stat", "--format=%U", &format!("/var/lib/{unit}").replace("-server", "")])?;
        ensure!(home.trim() == user, "the data directory belongs to {home}");
        let config = format!("/etc/posture-feed/{program}.toml");
        root.run(&[program, "check-config", "--config", &config])?;
        for file in [
            format!("usr/share/man/man1/{program}.1.gz"),
            format!("usr/share/bash-completion/completions/{program}"),
            format!("usr/share/doc/{unit}/README.md"),
        ] {
            ensure!(root.path(&file).is_file(), "{file} is not there");
        }
        // Enabled, for the next boot.
        let wanted = format!("etc/systemd/system/multi-user.target.wants/{unit}.service");
        ensure!(root.path(&wanted).is_symlink(), "{unit} is not enabled");
        let verified = run(Command::new("systemd-analyze")
            .args(["verify", "--man=no", "--recursive-errors=one"])
            .arg(format!("--root={}", root.directory().display()))
            .arg(root.path(&format!("usr/lib/systemd/system/{unit}.service"))))?;
        ensure!(!verified.contains(unit), "{verified}");
    }
    ensure!(root.path("usr/share/doc/posture-feed-server/runbooks/PostureFeedDown.md").is_file());
    ensure!(root.path("usr/share/doc/posture-feed-server/prometheus/posture-feed.rules.yml").is_file());

    // What operators and the programs wrote.
    let data =
        ["var/lib/posture-feed/keys/online-root.der", "var/lib/posture-feed-client/state.json"].map(|it| root.path(it));
    for file in &data {
        std::fs::create_dir_all(file.parent().context("a file lies somewhere")?)?;
        std::fs::write(file, b"kept")?;
    }
    let config = root.path("etc/posture-feed/feed-server.toml");
    let edited = std::fs::read_to_string(&config)?.replace("every = \"2h\"", "every = \"4h\"");
    std::fs::write(&config, &edited)?;

    for package in &new {
        let upgraded = install(&root, package)?;
        ensure!(upgraded.status.success(), "{}", said(&upgraded));
    }
    for package in &old {
        let downgraded = install(&root, package)?;
        ensure!(!downgraded.status.success(), "a downgrade was taken");
        ensure!(said(&downgraded).contains("downgrading is refused"), "{}", said(&downgraded));
    }
    let versions = root.run(&[
        "dpkg-query",
        "--show",
        "--showformat",
        "${Version} ",
        "posture-feed-server",
        "posture-feed-client",
    ])?;
    ensure!(versions == "0.1.1-1 0.1.1-1 ", "{versions}");

    root.run(&["dpkg", "--remove", "posture-feed-server", "posture-feed-client"])?;
    ensure!(data.iter().all(|file| file.is_file()), "removal took data away");
    ensure!(std::fs::read_to_string(&config)? == edited, "removal took the configuration away");
    root.run(&["dpkg", "--purge", "posture-feed-server", "posture-feed-client"])?;
    for gone in ["var/lib/posture-feed", "var/lib/posture-feed-client", "etc/posture-feed"] {
        ensure!(!root.path(gone).exists(), "{gone} is still there after a purge");
    }
    ensure!(root.run(&["getent", "passwd", "posture-feed"]).is_err(), "the user is still there after a purge");
    Ok(())
}
