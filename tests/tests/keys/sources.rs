//! Where keys come from besides plain files: encrypted ones, which openssl writes and reads too, and systemd's credentials.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tests::world::{Output, World};

use crate::setting::Years;

const PASSPHRASE: &str = "numbat zither 41 ocelot";

fn private(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes)?;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("UTF-8")
}

fn openssl(arguments: &[&str]) -> Result<bool> {
    let output = Command::new("openssl").args(arguments).output().context("openssl is missing; run tests/run")?;
    Ok(output.status.success())
}

async fn keys(world: &World, arguments: &[&str]) -> Result<Output> {
    world.feed_server(["keys"].iter().chain(arguments)).await
}

/// An origin with a release, stopped, whose configuration names a passphrase.
async fn stopped() -> Result<Years> {
    let mut years = Years::begin(World::builder().headends(2).build().await?).await?;
    years.world.stop_server().await?;
    private(&years.world.directory().join("signing-passphrase"), format!("{PASSPHRASE}\n").as_bytes())?;
    years.world.set("signing", "passphrase_file", "signing-passphrase")?;
    Ok(years)
}

#[tokio::test]
async fn encrypted_keys_sign_as_plain_ones_do_and_openssl_reads_them() -> Result<()> {
    let mut years = stopped().await?;
    let file = years.world.directory().join("signing-passphrase");
    let (passphrase, passin) = (text(&file)?, format!("file:{}", text(&file)?));
    let online = years.key_files("online")?;
    for key in &online {
        keys(&years.world, &["encrypt", text(key)?, "--passphrase-file", passphrase]).await?.success()?;
        ensure!(openssl(&["pkey", "-noout", "-inform", "DER", "-in", text(key)?, "-passin", &passin])?, "{key:?}");
        ensure!(!openssl(&["pkey", "-noout", "-inform", "DER", "-in", text(key)?, "-passin", "pass:other"])?);
        ensure!(key.metadata()?.permissions().mode() & 0o777 == 0o600);
    }
    // As openssl writes them: PBKDF2 and scrypt, PEM and DER, and PEM that is not encrypted.
    for (number, key) in years.key_files("offline")?.iter().enumerate() {
        let to = if number == 3 { key.with_extension("plain") } else { key.with_extension("pem") };
        let way: &[&str] = match number {
            0 => &["-passout", &passin],
            1 => &["-passout", &passin, "-scrypt"],
            2 => &["-nocrypt"],
            _ => &["-passout", &passin, "-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA512", "-outform", "DER"],
        };
        let convert = ["pkcs8", "-topk8", "-inform", "DER", "-in", text(key)?, "-out", text(&to)?];
        ensure!(openssl(&[&convert[..], way].concat())?, "{key:?}");
        std::fs::remove_file(key)?;
        private(&to, &std::fs::read(&to)?)?;
        if number == 3 {
            std::fs::rename(&to, key)?;
        }
    }
    years.world.start_server().await?;
    ensure!(years.warnings().await?.is_empty(), "{:?}", years.warnings().await?);
    years.a_release_reaches_everyone().await?;

    // What is made from now on is encrypted with it.
    years.keys(&["rotate", "timestamp", "root"]).await?.success()?;
    years.a_release_reaches_everyone().await?;
    for key in years.key_files("online-timestamp")?.iter().chain(&years.key_files("offline-root")?) {
        ensure!(openssl(&["pkey", "-noout", "-inform", "DER", "-in", text(key)?, "-passin", &passin])?);
        ensure!(!openssl(&["pkey", "-noout", "-inform", "DER", "-in", text(key)?, "-passin", "pass:other"])?);
    }
    let log = std::fs::read_to_string(years.world.server_log())?;
    ensure!(!log.contains(PASSPHRASE), "a passphrase is in no log");

    // Another passphrase, none, and one that others can read: a sentence each, and nothing is changed.
    years.world.stop_server().await?;
    let before = years.key_files("")?;
    private(&file, b"another one")?;
    let refused = keys(&years.world, &["list"]).await?.failed_with(2)?;
    ensure!(refused.stderr.contains("the passphrase does not open"), "{refused}");
    ensure!(!refused.stderr.contains("another one"), "{refused}");
    private(&file, PASSPHRASE.as_bytes())?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644))?;
    ensure!(keys(&years.world, &["list"]).await?.failed_with(2)?.stderr.contains("mode 0644"));
    std::fs::remove_file(&file)?;
    keys(&years.world, &["list"]).await?.failed_with(2)?;
    years.world.feed_server(["check-config"]).await?.failed_with(2)?;
    ensure!(years.key_files("")? == before);
    private(&file, PASSPHRASE.as_bytes())?;
    let key = &years.key_files("online-targets")?[0];
    keys(&years.world, &["decrypt", text(key)?]).await?.failed_with(2)?;
    keys(&years.world, &["decrypt", text(key)?, "--passphrase-file", passphrase]).await?.success()?;
    ensure!(openssl(&["pkey", "-noout", "-inform", "DER", "-in", text(key)?])?);
    years.world.start_server().await?;
    years.a_release_reaches_everyone().await
}

#[tokio::test]
async fn an_encrypted_root_key_signs_where_it_lives() -> Result<()> {
    let years = Years::begin(World::builder().headends(2).build().await?).await?;
    let safe = years.world.directory().join("safe");
    std::fs::create_dir(&safe)?;
    let passphrase = safe.join("passphrase");
    private(&passphrase, PASSPHRASE.as_bytes())?;
    let made = safe.join("root.der");
    let generate = ["generate", text(&made)?, "--encrypt", "--passphrase-file", text(&passphrase)?];
    keys(&years.world, &generate).await?.success()?;
    let public = format!("{}.pub", text(&made)?);
    years.keys(&["rotate", "root", "--repository", "online", "--public", &public]).await?.success()?;
    let request = safe.join("request.json");
    years.keys(&["request", "--out", text(&request)?]).await?.success()?;
    let sign = ["sign", text(&request)?, "--key", text(&made)?];
    let locked = keys(&years.world, &sign).await?.failed_with(2)?;
    ensure!(locked.stderr.contains("--passphrase-file"), "{locked}");
    let with = [&sign[..], &["--passphrase-file", text(&passphrase)?]].concat();
    keys(&years.world, &with).await?.success()?;
    years.keys(&["import-signatures", text(&request)?]).await?.success()?;
    ensure!(years.root_version("online").await? == 2);
    years.a_release_reaches_everyone().await
}

#[tokio::test]
async fn keys_among_the_services_credentials_sign_and_are_not_removed() -> Result<()> {
    let mut years = stopped().await?;
    let credentials = years.world.directory().join("credentials");
    std::fs::rename(years.world.data().join("keys"), &credentials)?;
    // Of other programs, or of this one for other things.
    std::fs::write(credentials.join("tls-key.pem"), "no signing key")?;
    std::fs::rename(years.world.directory().join("signing-passphrase"), credentials.join("signing-passphrase"))?;
    // An access list looks like a mode for the group, and it is systemd that made the directory.
    for entry in std::fs::read_dir(&credentials)? {
        std::fs::set_permissions(entry?.path(), std::fs::Permissions::from_mode(0o440))?;
    }
    let names = || -> Result<Vec<_>> {
        let mut names =
            std::fs::read_dir(&credentials)?.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    };
    let before = names()?;
    years.world.env("CREDENTIALS_DIRECTORY", text(&credentials)?);
    years.world.start_server().await?;
    ensure!(!years.world.data().join("keys").exists(), "no keys are made where there are some");
    ensure!(years.warnings().await?.is_empty(), "{:?}", years.warnings().await?);
    years.a_release_reaches_everyone().await?;
    years.keys(&["rotate", "timestamp", "root"]).await?.success()?;
    years.a_release_reaches_everyone().await?;
    ensure!(names()? == before, "they are systemd's");
    ensure!(years.key_files("")?.len() == 4, "{:?}", years.key_files("")?);
    // A backup says so, too.
    let file = years.world.directory().join("a.tar");
    let taken = years.world.feed_server(["backup", "--json", text(&file)?]).await?.success()?;
    ensure!(taken.stdout.contains("\"private_keys\": 4"), "{taken}");
    years.world.restart_server().await?;
    years.a_release_reaches_everyone().await
}

#[tokio::test]
async fn a_key_that_others_can_read_is_told_before_anything_is_visible() -> Result<()> {
    let years = Years::begin(World::builder().headends(2).build().await?).await?;
    let key = &years.key_files("online-targets")?[0];
    let set = |mode| std::fs::set_permissions(key, std::fs::Permissions::from_mode(mode));
    set(0o640)?;
    years.world.upstream().publish_next()?;
    let refused = years.world.sync().await?.failed_with(15)?;
    ensure!(refused.stderr.contains("mode 640"), "{refused}");
    // The release is made, and nobody sees it.
    let runs = async |serial: &str| -> Result<()> {
        years.world.headend(0).client(["update"]).await?.success()?;
        let current = years.world.headend(0).current().context("a release runs")?;
        ensure!(current.ends_with(serial), "{} is not {serial}", current.display());
        Ok(())
    };
    runs("1").await?;
    set(0o600)?;
    years.world.sync().await?.success()?;
    runs("2").await
}
