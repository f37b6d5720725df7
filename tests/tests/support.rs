//! `support FILE` of both programs: what there is to know, no secret, and on request no name.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use tests::world::World;

const PASSWORD: &str = "hunter2-never-shown";
/// `svc-zqxbern:hunter2-never-shown`, as it goes over the line.
const SHOWN: &str = "c3ZjLXpxeGJlcm46aHVudGVyMi1uZXZlci1zaG93bg";
const PROXY: &str = "proxy-zqxbern.bank.example";
const ALLOWED: &str = "mirror-zqxbern.bank.example";
const REMOVED: &str = "gw-zqxzug-9";
const TOKEN: &str = "carol-zqxdashboard";

const SECTIONS: [&str; 13] = [
    "program",
    "configuration",
    "status",
    "runs",
    "releases",
    "imports",
    "headends",
    "keys",
    "ends",
    "chains",
    "disk",
    "audit",
    "metrics",
];

/// What must be in no such file: the password, tokens, and private keys in any writing that is likely.
fn secrets(world: &World, token_files: &[&Path]) -> Result<Vec<String>> {
    let mut secrets = vec![PASSWORD.to_owned(), SHOWN.to_owned()];
    for file in token_files {
        let token = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        secrets.push(token.trim().to_owned());
    }
    for key in std::fs::read_dir(world.data().join("keys"))? {
        let bytes = std::fs::read(key?.path())?;
        // PKCS#8 of ed25519: 16 bytes that all have, then the seed.
        let seed = bytes.get(16..48).context("a key of ed25519")?;
        secrets.push(hex::encode(seed));
    }
    ensure!(secrets.len() > 8, "keys were looked at");
    Ok(secrets)
}

fn read(path: &Path, secrets: &[String]) -> Result<String> {
    let mode = std::fs::metadata(path)?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "{} has mode {mode:o}", path.display());
    let text = std::fs::read_to_string(path)?;
    for secret in secrets {
        ensure!(!text.to_lowercase().contains(&secret.to_lowercase()), "{secret} is in {}", path.display());
    }
    let (inside, _) = text.split_once("\n==== ").context("sections")?;
    ensure!(inside.contains("What is inside:"), "{inside}");
    Ok(text)
}

fn has_no_names(text: &str, names: &[&str]) -> Result<()> {
    for name in names {
        if let Some(at) = text.to_lowercase().find(&name.to_lowercase()) {
            let around: String = text.get(at.saturating_sub(80)..).unwrap_or_default().chars().take(200).collect();
            anyhow::bail!("{name} is left: {around}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_server_says_what_helps_and_nothing_else() -> Result<()> {
    let mut world = World::builder().headends(1).build().await?;
    world.sync().await?.success()?;
    world.enroll_all().await?;
    world.headend(0).client(["update"]).await?.success()?;
    let tokens = ["dashboard.token", "removed.token"].map(|name| world.directory().join(name));
    let token_file = |number: usize| tokens[number].display().to_string();
    let add = ["token", "add", TOKEN, "--scope", "read", "--token-file", &token_file(0)];
    world.feed_server(add).await?.success()?;
    world.feed_server(["headend", "add", REMOVED, "--token-file", &token_file(1)]).await?.success()?;
    world.feed_server(["headend", "remove", REMOVED]).await?.success()?;

    // A proxy that nobody knows: its name is in a run's message from now on.
    let file = world.directory().join("password");
    std::fs::write(&file, PASSWORD)?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400))?;
    world.set("upstream.proxy", "url", format!("http://{PROXY}:3128"))?;
    world.set("upstream.proxy", "username", "svc-zqxbern")?;
    world.set("upstream.proxy", "password_file", file.display().to_string())?;
    world.set("upstream", "allowed_hosts", vec![ALLOWED])?;
    world.restart_server().await?;
    ensure!(world.sync().await?.code() != Some(0), "nobody knows that proxy");

    let secrets = secrets(&world, &[&tokens[0], &tokens[1], &world.headend(0).token_file()])?;
    let (headend, directory) = (world.headend(0).id().to_owned(), world.directory().to_owned());
    let names = [headend.as_str(), PROXY, ALLOWED, "bank.example", "svc-zqxbern", TOKEN, REMOVED];
    let path = |name: &str| directory.join(name).display().to_string();
    let (whole, redacted, stopped) = (path("whole.txt"), path("redacted.txt"), path("stopped.txt"));
    world.feed_server(["support", &whole]).await?.success()?;
    world.feed_server(["support", &redacted, "--redact"]).await?.success()?;

    let text = read(Path::new(&whole), &secrets)?;
    for (index, section) in SECTIONS.iter().enumerate() {
        ensure!(text.contains(&format!("\n==== {} {section}\n", index + 1)), "{section} is not in {text}");
    }
    ensure!(!text.contains("not available"), "{text}");
    for name in names {
        ensure!(text.contains(name), "{name} is in nothing, so that its absence shows nothing");
    }
    for part in ["\"reason\":", "Cisco conditions version", "posture_feed_sync_total", "\"act\":\"headend_remove\""] {
        ensure!(text.contains(part), "{part} is not in {text}");
    }
    let hidden = read(Path::new(&redacted), &secrets)?;
    has_no_names(&hidden, &names)?;
    ensure!(hidden.contains("headend-2") && hidden.contains("token-1") && hidden.contains("host-"), "{hidden}");
    // What helps is left: keys, versions, the vendor's names, reasons.
    for part in [
        "upstream proxy url = ",
        "280052.0.0.0",
        "33.0.0.0",
        "IdenTrust Commercial Root CA 1",
        "posture-update.xml",
        "headend_remove",
    ] {
        ensure!(hidden.contains(part), "{part} is not in {hidden}");
    }

    // One file is not made by losing another.
    let refused = world.feed_server(["support", &whole]).await?.failed_with(2)?;
    ensure!(refused.stderr.contains("is there already"), "{refused}");
    ensure!(std::fs::read_to_string(&whole)? == text, "it was changed all the same");

    world.stop_server().await?;
    world.feed_server(["support", &stopped, "--redact"]).await?.success()?;
    let hidden = read(Path::new(&stopped), &secrets)?;
    has_no_names(&hidden, &names)?;
    ensure!(hidden.contains("not running"), "{hidden}");

    // A password in the wrong place is a mistake in the configuration, and is not repeated.
    world.set("upstream.proxy", "url", format!("http://svc-zqxbern:{PASSWORD}@{PROXY}:3128"))?;
    let broken = path("broken.txt");
    world.feed_server(["support", &broken]).await?.success()?;
    let text = read(Path::new(&broken), &secrets)?;
    ensure!(text.contains("it has mistakes") && text.contains("not available"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_headend_does_too() -> Result<()> {
    let world = World::builder().headends(1).build().await?;
    world.sync().await?.success()?;
    world.enroll_all().await?;
    let headend = world.headend(0);
    headend.client(["update"]).await?.success()?;
    let secrets = secrets(&world, &[&headend.token_file()])?;
    let path = |name: &str| world.directory().join(name).display().to_string();
    let (whole, redacted) = (path("whole.txt"), path("redacted.txt"));
    headend.client(["support", &whole]).await?.success()?;
    headend.client(["support", &redacted, "--redact"]).await?.success()?;
    let text = read(Path::new(&whole), &secrets)?;
    ensure!(text.contains(headend.id()) && text.contains("Release number"), "{text}");
    ensure!(text.contains("posture_feed_client_poll_total") && !text.contains("not available"), "{text}");
    let hidden = read(Path::new(&redacted), &secrets)?;
    has_no_names(&hidden, &[headend.id()])?;
    ensure!(hidden.contains("headend-2") && hidden.contains("280052.0.0.0"), "{hidden}");
    headend.client(["support", &whole]).await?.failed_with(2)?;
    Ok(())
}
