//! The tarball for enclaves: made anew it is the same, openssl alone checks its signature, what is in it needs nothing of a machine, and
//! its installer keeps configuration and data.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;
use tests::peers::debian::{Root, run, said};
use tests::peers::{sbom, static_programs};
use tests::shared::workspace;

/// A key on P-256, and its public half as the README names it.
fn key(directory: &Path) -> Result<PathBuf> {
    let key = directory.join("release.pem");
    run(Command::new("openssl").args(["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out"]).arg(&key))?;
    let public = directory.join("posture-feed-release.pub");
    run(Command::new("openssl").args(["pkey", "-pubout", "-in"]).arg(&key).arg("-out").arg(public))?;
    Ok(key)
}

fn packing(output: &Path, version: &str) -> Result<Command> {
    let mut command = Command::new(workspace().join("deploy/enclave"));
    command.arg("--programs").arg(static_programs()?).args(["--version", version, "--output"]).arg(output);
    Ok(command)
}

/// The tarball of that version, signed.
fn tarball(output: &Path, version: &str, key: &Path) -> Result<PathBuf> {
    run(packing(output, version)?.arg("--key").arg(key))?;
    Ok(made(output, version))
}

fn made(output: &Path, version: &str) -> PathBuf {
    output.join(format!("posture-feed-{version}-{}.tar.gz", std::env::consts::ARCH))
}

/// The README beside a tarball, and the commands in it that begin so.
fn documented(tarball: &Path, beginning: &str) -> Result<Vec<String>> {
    let name = tarball.to_string_lossy().replace(".tar.gz", ".README.txt");
    let text = fs::read_to_string(&name).with_context(|| name.clone())?;
    let commands: Vec<String> =
        text.lines().map(str::trim).filter(|line| line.starts_with(beginning)).map(str::to_owned).collect();
    ensure!(!commands.is_empty(), "{name} has no command {beginning}");
    Ok(commands)
}

fn shell(directory: &Path, command: &str) -> Result<String> {
    run(Command::new("sh").args(["-c", command]).current_dir(directory))
}

#[test]
fn its_signature_is_checked_by_openssl_alone() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let key = key(directory.path())?;
    let tarball = tarball(directory.path(), "0.1.0", &key)?;
    let [check] = &documented(&tarball, "openssl dgst -sha256 -verify")?[..] else { anyhow::bail!("one command") };
    ensure!(shell(directory.path(), check)?.contains("Verified OK"));
    let [sums] = &documented(&tarball, "sha256sum -c")?[..] else { anyhow::bail!("one command") };
    shell(directory.path(), sums)?;
    // The key's digest, which is told by another way.
    let [print] = &documented(&tarball, "openssl pkey -pubin")?[..] else { anyhow::bail!("one command") };
    let printed = shell(directory.path(), print)?;
    let digest = printed.trim().rsplit(' ').next().context("a digest")?;
    documented(&tarball, digest)?;

    let whole = fs::read(&tarball)?;
    let mut bad = whole.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    fs::write(&tarball, &bad)?;
    ensure!(shell(directory.path(), check).is_err(), "one changed bit is not noticed");
    ensure!(shell(directory.path(), sums).is_err(), "one changed bit is not noticed by its sum");
    fs::write(&tarball, &whole)?;
    let signature = PathBuf::from(format!("{}.sig", tarball.display()));
    let good = fs::read(&signature)?;
    let mut other = good.clone();
    *other.last_mut().context("a signature has bytes")? ^= 1;
    fs::write(&signature, other)?;
    ensure!(shell(directory.path(), check).is_err(), "another signature is taken");
    fs::write(&signature, good)?;
    shell(directory.path(), check)?;
    // Somebody else's key.
    self::key(directory.path())?;
    ensure!(shell(directory.path(), check).is_err(), "another key's signature is taken");
    Ok(())
}

#[test]
fn without_a_key_that_every_openssl_knows_nothing_is_signed() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let none = packing(directory.path(), "0.1.0")?.output()?;
    ensure!(none.status.code() == Some(2), "{}", said(&none));
    let ed25519 = directory.path().join("ed25519.pem");
    run(Command::new("openssl").args(["genpkey", "-algorithm", "ed25519", "-out"]).arg(&ed25519))?;
    let refused = packing(directory.path(), "0.1.0")?.arg("--key").arg(&ed25519).output()?;
    ensure!(refused.status.code() == Some(2) && said(&refused).contains("P-256"), "{}", said(&refused));
    Ok(())
}

#[test]
fn it_holds_what_it_says_and_made_again_it_is_the_same() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let make = |name: &str| -> Result<PathBuf> {
        let output = directory.path().join(name);
        run(packing(&output, "0.1.0")?.arg("--unsigned"))?;
        Ok(made(&output, "0.1.0"))
    };
    let tarball = make("one")?;
    ensure!(fs::read(&tarball)? == fs::read(make("other")?)?, "the same makes something else");
    ensure!(!PathBuf::from(format!("{}.sig", tarball.display())).exists(), "a signature without a key");

    let mut names = Vec::new();
    let mut times = BTreeSet::new();
    for entry in tar::Archive::new(GzDecoder::new(fs::File::open(&tarball)?)).entries()? {
        let entry = entry?;
        let header = entry.header();
        ensure!(header.uid()? == 0 && header.gid()? == 0 && header.mode()? & 0o022 == 0, "{:?}", entry.path()?);
        times.insert(header.mtime()?);
        names.push(entry.path()?.to_string_lossy().into_owned());
    }
    ensure!(times.len() == 1 && names.is_sorted(), "{times:?} {names:?}");

    let opened = directory.path().join("opened");
    fs::create_dir(&opened)?;
    run(Command::new("tar").arg("--extract").arg("--file").arg(&tarball).arg("--directory").arg(&opened))?;
    let top = opened.join(names[0].trim_end_matches('/'));
    shell(&top, "sha256sum --check --strict --quiet SHA256SUMS")?;
    let summed = fs::read_to_string(top.join("SHA256SUMS"))?.lines().count();
    let files = names.iter().filter(|name| !name.ends_with('/')).count();
    ensure!(summed + 1 == files, "{summed} sums of {files} files");

    // What it is made of: everything that is linked, and nothing that only tests need.
    let parts = sbom(&top.join("sbom.cdx.json"))?;
    for part in ["feed-server 0.1.0", "feed-client 0.1.0", "aws-lc-sys ", "rust-std "] {
        ensure!(parts.lines().any(|line| line.starts_with(part)), "{part} is not in {parts}");
    }
    ensure!(!parts.contains("proptest"), "{parts}");
    let terms = fs::read_to_string(top.join("doc/THIRD-PARTY-LICENSES.txt"))?;
    ensure!(terms.contains("actix-web ") && terms.contains("aws-lc-sys "), "licences are missing");

    // Documentation as text: to be read with nothing but a pager.
    for file in walkdir::WalkDir::new(top.join("doc")) {
        let file = file?;
        if file.file_type().is_file() {
            let text = fs::read_to_string(file.path()).with_context(|| file.path().display().to_string())?;
            let is_plain = |letter: char| !letter.is_control() || letter == '\n' || letter == '\t';
            // Others' licences are as they are.
            let foreign = file.file_name() == "THIRD-PARTY-LICENSES.txt";
            ensure!(foreign || text.chars().all(is_plain), "{} is no plain text", file.path().display());
        }
    }
    ensure!(fs::read_to_string(top.join("doc/commands/feed-server-keys-rotate.txt"))?.contains("SYNOPSIS"));
    for file in [
        "doc/deploy/runbooks/PostureFeedDown.md",
        "doc/docs/keys.md",
        "doc/deploy/prometheus/posture-feed.rules.yml",
        "doc/deploy/grafana/posture-feed.json",
    ] {
        ensure!(top.join(file).is_file(), "{file} is not there");
    }

    // In a root where there is nothing else: no loader, no library, no shell.
    let empty = tempfile::tempdir()?;
    for program in ["feed-server", "feed-client"] {
        fs::copy(top.join("bin").join(program), empty.path().join(program))?;
        let command = format!("/{program}");
        let version = run(Command::new("chroot").arg(empty.path()).args([&command, "--version"]))?;
        ensure!(version.contains(program), "{version}");
    }
    Ok(())
}

/// Opens a tarball in a root; the folder, as it is called there.
fn unpacked(root: &Root, tarball: &Path) -> Result<String> {
    let name = tarball.file_name().and_then(|name| name.to_str()).context("a tarball has a name")?;
    fs::copy(tarball, root.path(name))?;
    root.run(&["tar", "xzf", &format!("/{name}")])?;
    Ok(format!("/{}", name.trim_end_matches(".tar.gz")))
}

#[test]
fn it_installs_upgrades_and_goes_and_the_data_stays() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let key = key(directory.path())?;
    // What comes before 0.1.1 is older than it.
    let [old, new] = ["0.1.1-rc.1", "0.1.1"].map(|version| tarball(directory.path(), version, &key));
    let root = Root::bare()?;
    let (old, new) = (unpacked(&root, &old?)?, unpacked(&root, &new?)?);
    for role in ["server", "client"] {
        root.run(&[&format!("{old}/install"), role])?;
    }
    for (program, user, unit, data) in [
        ("feed-server", "posture-feed", "posture-feed-server", "/var/lib/posture-feed"),
        ("feed-client", "posture-feed-client", "posture-feed-client", "/var/lib/posture-feed-client"),
    ] {
        ensure!(root.run(&[program, "--version"])?.contains(program));
        ensure!(root.run(&["stat", "--format=%U", data])?.trim() == user);
        let config = format!("/etc/posture-feed/{program}.toml");
        root.run(&[program, "check-config", "--config", &config])?;
        let wanted = format!("etc/systemd/system/multi-user.target.wants/{unit}.service");
        ensure!(root.path(&wanted).is_symlink(), "{unit} is not enabled");
        let at = root.path(&format!("etc/systemd/system/{unit}.service"));
        ensure!(fs::read_to_string(&at)?.contains(&format!("ExecStart=/usr/local/bin/{program} ")), "{unit}");
        let verified = run(Command::new("systemd-analyze")
            .args(["verify", "--man=no", "--recursive-errors=one"])
            .arg(format!("--root={}", root.directory().display()))
            .arg(at))?;
        ensure!(!verified.contains(unit), "{verified}");
        ensure!(root.path(&format!("usr/local/share/man/man1/{program}.1")).is_file());
    }

    // What operators and the programs wrote.
    let data = ["var/lib/posture-feed/keys/online-root.der", "var/lib/posture-feed-client/state.json"];
    for file in data.map(|file| root.path(file)) {
        fs::create_dir_all(file.parent().context("a file lies somewhere")?)?;
        fs::write(file, b"kept")?;
    }
    let config = root.path("etc/posture-feed/feed-server.toml");
    let edited = fs::read_to_string(&config)?.replace("every = \"2h\"", "every = \"4h\"");
    fs::write(&config, &edited)?;

    // A configuration that this version would not start with, and the one before does, stops it before anything is replaced.
    let program = root.path("usr/local/bin/feed-server");
    fs::write(&program, "#!/bin/sh\n")?;
    fs::write(&config, "[schedule]\nevery = \"soon\"\n")?;
    let wrong = root.command(&[&format!("{new}/install"), "server"]).output()?;
    ensure!(!wrong.status.success() && said(&wrong).contains("every"), "{}", said(&wrong));
    let installed = root.path("usr/local/share/posture-feed/feed-server.version");
    ensure!(fs::read_to_string(&installed)? == "0.1.1-rc.1\n" && fs::read(&program)? == b"#!/bin/sh\n");
    fs::write(&config, &edited)?;
    // So does a file that is not what was packed.
    let unit = root.path(&format!("{new}/systemd/posture-feed-server.service"));
    let whole = fs::read_to_string(&unit)?;
    fs::write(&unit, whole.replace("NoNewPrivileges=yes", "NoNewPrivileges=no"))?;
    let damaged = root.command(&[&format!("{new}/install"), "server"]).output()?;
    ensure!(!damaged.status.success() && said(&damaged).contains("not what was packed"), "{}", said(&damaged));
    fs::write(&unit, whole)?;

    // A page that the next version has no more.
    let dropped = root.path("usr/local/share/man/man1/feed-server-dropped.1");
    fs::write(&dropped, "")?;
    let list = root.path("usr/local/share/posture-feed/feed-server.files");
    fs::write(&list, fs::read_to_string(&list)? + "/usr/local/share/man/man1/feed-server-dropped.1\n")?;

    for role in ["server", "client"] {
        root.run(&[&format!("{new}/install"), role])?;
        // The same once more changes nothing.
        root.run(&[&format!("{new}/install"), role])?;
        let downgraded = root.command(&[&format!("{old}/install"), role]).output()?;
        ensure!(!downgraded.status.success(), "a downgrade was taken");
        ensure!(said(&downgraded).contains("downgrading is refused"), "{}", said(&downgraded));
    }
    ensure!(fs::read_to_string(&installed)? == "0.1.1\n" && !dropped.exists());
    ensure!(fs::read_to_string(&config)? == edited, "an upgrade changed the configuration");

    for role in ["server", "client"] {
        root.run(&["/usr/local/share/posture-feed/uninstall", role])?;
    }
    for gone in
        ["usr/local/bin/feed-server", "etc/systemd/system/posture-feed-server.service", "usr/local/share/posture-feed"]
    {
        ensure!(!root.path(gone).exists(), "{gone} is still there");
    }
    ensure!(data.iter().all(|file| root.path(file).is_file()), "removal took data away");
    ensure!(fs::read_to_string(&config)? == edited, "removal took the configuration away");
    Ok(())
}
