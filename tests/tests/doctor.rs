//! `feed-server doctor`: each step says what it saw, the first one that fails is explained, and nothing is changed.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use bundles::Reason;
use certs::lab::Chain;
use serde_json::Value;
use tests::lab::{Fault, LabUpstream, Raw};
use tests::peers::Squid;
use tests::world::{Output, World};

/// Every step, in the order in which they are told where nothing fails.
const STEPS: [&str; 13] = [
    "settings", "server", "dns", "tcp", "proxy", "connect", "tls", "chain", "http", "index", "archives", "disk",
    "clock",
];

/// Runs it with `--json` and a temporary directory of its own, which must be empty afterwards.
async fn examine(world: &World) -> Result<(Output, Value)> {
    let temporary = world.directory().join("tmp");
    std::fs::create_dir_all(&temporary)?;
    let output = world.invocation(["doctor", "--json"]).env("TMPDIR", &temporary).output().await?;
    let left = std::fs::read_dir(&temporary)?.count();
    ensure!(left == 0, "{left} things are left in the temporary directory");
    let report = serde_json::from_str(&output.stdout).with_context(|| format!("not JSON: {output}"))?;
    Ok((output, report))
}

fn step<'r>(report: &'r Value, name: &str) -> Result<&'r Value> {
    let steps = report["steps"].as_array().context("steps")?;
    steps.iter().find(|step| step["step"] == name).with_context(|| format!("no step {name}: {report:#}"))
}

fn result<'r>(report: &'r Value, name: &str) -> Result<&'r str> {
    step(report, name)?["result"].as_str().context("result")
}

/// A file's bytes and the time of its last change.
type State = (Vec<u8>, Option<std::time::SystemTime>);

/// Every file below a directory.
fn everything(directory: &Path) -> Result<BTreeMap<String, State>> {
    let mut files = BTreeMap::new();
    for entry in walkdir::WalkDir::new(directory) {
        let entry = entry?;
        let bytes = if entry.file_type().is_file() { std::fs::read(entry.path())? } else { Vec::new() };
        let modified = entry.metadata()?.modified().ok();
        files.insert(entry.path().display().to_string(), (bytes, modified));
    }
    Ok(files)
}

#[tokio::test]
async fn all_is_well_and_nothing_is_made() -> Result<()> {
    let world = World::builder().stopped().build().await?;
    let (output, report) = examine(&world).await?;
    output.success()?;
    ensure!(!world.data().exists(), "the doctor makes no data directory");
    let steps: Vec<&str> =
        report["steps"].as_array().context("steps")?.iter().filter_map(|step| step["step"].as_str()).collect();
    ensure!(steps == STEPS, "{steps:?}");
    for name in STEPS {
        let expected = if ["server", "proxy", "connect"].contains(&name) { "none" } else { "ok" };
        ensure!(result(&report, name)? == expected, "{name}: {report:#}");
    }
    for name in ["dns", "tcp", "tls", "http", "index", "archives"] {
        ensure!(step(&report, name)?["took_seconds"].is_f64(), "{name} took some time");
    }
    ensure!(report["result"] == "ok" && report["exit_code"] == 0 && report["failure"].is_null());
    let certificates = report["chains"][0]["certificates"].as_array().context("a chain")?;
    ensure!(certificates.len() == 3 && report["chains"][0]["is_trusted"] == true);
    for (position, certificate) in certificates.iter().enumerate() {
        ensure!(certificate["position"] == position);
        for fact in ["subject", "issuer", "serial", "not_before", "not_after", "sha256"] {
            ensure!(certificate[fact].is_string(), "{fact} of {certificate}");
        }
    }
    let versions = report["index"]["versions"].as_array().context("versions")?;
    ensure!(versions.len() == 5 && versions[0]["version"] == "280052.0.0.0", "{versions:?}");
    let feed = world.upstream().feed().context("a fake feed")?;
    let bytes: usize = feed.files.values().map(Vec::len).sum();
    ensure!(report["archives"]["count"] == feed.files.len() && report["archives"]["bytes"] == bytes, "{report:#}");
    Ok(())
}

#[tokio::test]
async fn the_data_directory_stays_as_it_is_byte_for_byte() -> Result<()> {
    let mut world = World::builder().build().await?;
    world.sync().await?.success()?;
    let (output, report) = examine(&world).await?;
    output.success()?;
    ensure!(result(&report, "server")? == "ok" && report["server"]["release"] == 1, "{report:#}");
    ensure!(report["server"]["next_run"].is_string(), "{report:#}");
    let request = world.feed_server(["doctor", "--request"]).await?.success()?.stdout;
    ensure!(request.contains("a run fetches what changed: at most "), "the newest release is known: {request}");
    world.stop_server().await?;

    let before = everything(&world.data())?;
    let (output, report) = examine(&world).await?;
    output.success()?;
    ensure!(result(&report, "server")? == "none" && report["disk"]["exists"] == true, "{report:#}");
    world.upstream().break_with(Fault::Truncated)?;
    let (output, _) = examine(&world).await?;
    output.failed_with(14)?;
    ensure!(everything(&world.data())? == before, "something in the data directory was changed");
    Ok(())
}

/// One failure: what to do, which step fails, and for which reason.
async fn fails(world: &World, step_name: &str, reason: Reason) -> Result<Value> {
    let (output, report) = examine(world).await?;
    let output = output.failed_with(i32::from(reason.exit_code()))?;
    ensure!(output.stderr.contains(&format!("\"{reason}\"")), "{output}");
    ensure!(report["result"] == reason.as_str() && report["failed_step"] == step_name, "{report:#}");
    ensure!(report["exit_code"] == reason.exit_code() && report["failure"]["reason"] == reason.as_str());
    ensure!(report["advice"] == reason.sentence());
    ensure!(report["failure"]["message"].as_str().is_some_and(|message| message.contains(' ')), "{report:#}");
    let network = &STEPS[2..11];
    let failed = network.iter().position(|name| *name == step_name).context("a step of the network")?;
    for name in &network[failed + 1..] {
        let expected = if ["proxy", "connect"].contains(name) { "none" } else { "not_tried" };
        ensure!(result(&report, name)? == expected, "{name} comes after {step_name}: {report:#}");
    }
    for name in ["disk", "clock"] {
        ensure!(result(&report, name)? != "not_tried", "{name} needs no network");
    }
    Ok(report)
}

#[tokio::test]
async fn the_first_step_that_fails_gives_reason_and_exit_code() -> Result<()> {
    let mut world = World::builder().stopped().build().await?;
    for (fault, step, reason) in [
        (Fault::Away, "tcp", Reason::Connect),
        (Fault::RedirectLoop, "http", Reason::HttpStatus),
        (Fault::RedirectElsewhere, "http", Reason::HostNotAllowed),
        (Fault::NotFound, "http", Reason::HttpStatus),
        (Fault::RateLimited, "http", Reason::RateLimited),
        (Fault::HtmlPage, "index", Reason::NotAFeed),
        (Fault::UndefinedEntity, "index", Reason::NotAFeed),
        (Fault::ForeignHost, "archives", Reason::HostNotAllowed),
        (Fault::Reset, "archives", Reason::Truncated),
        (Fault::WrongChecksum, "archives", Reason::DigestMismatch),
        (Fault::GzipBomb, "archives", Reason::TooLarge),
    ] {
        world.upstream().break_with(fault)?;
        fails(&world, step, reason).await.with_context(|| fault.to_string())?;
        world.upstream().mend()?;
    }
    let url = world.upstream().url().as_str().replace("localhost", "no-such-host.invalid");
    world.set("upstream", "url", url)?;
    fails(&world, "dns", Reason::Dns).await?;
    Ok(())
}

#[tokio::test]
async fn silence_fails_at_the_step_that_meets_it() -> Result<()> {
    let world = World::builder().impatient().stopped().build().await?;
    for (fault, step) in [(Fault::Mute, "tls"), (Fault::Unanswered, "http"), (Fault::Stalled, "archives")] {
        world.upstream().break_with(fault)?;
        fails(&world, step, Reason::Timeout).await.with_context(|| fault.to_string())?;
        world.upstream().mend()?;
    }
    Ok(())
}

#[tokio::test]
async fn a_chain_that_is_refused_is_shown_all_the_same() -> Result<()> {
    let mut world = World::builder().stopped().build().await?;
    world.set("upstream", "trust_anchors", vec!["IdenTrust Commercial Root CA 1"])?;
    let report = fails(&world, "chain", Reason::TlsUntrusted).await?;
    let chain = &report["chains"][0];
    ensure!(chain["is_trusted"] == false && chain["refused"].is_string(), "{chain:#}");
    ensure!(chain["certificates"].as_array().is_some_and(|all| all.len() == 3), "{chain:#}");

    let (from, until) = ("2020-01-01T00:00:00Z".parse()?, "2021-01-01T00:00:00Z".parse()?);
    let chain = Chain::builder().loopback().valid(from, until).build()?;
    let world = World::builder().upstream(LabUpstream::builder().chain(chain)).stopped().build().await?;
    let report = fails(&world, "chain", Reason::TlsExpired).await?;
    let valid = &report["clock"]["chains_valid"][0];
    ensure!(valid["until"] == "2021-01-01T00:00:00Z" && valid["includes_now"] == false, "{report:#}");
    ensure!(result(&report, "clock")? == "warning", "{report:#}");
    let text = world.feed_server(["doctor"]).await?.stdout;
    ensure!(text.contains("valid    2020-01-01T00:00:00Z to 2021-01-01T00:00:00Z"), "{text}");
    Ok(())
}

#[tokio::test]
async fn people_read_the_explanation_once_and_at_the_end() -> Result<()> {
    let world = World::builder().stopped().build().await?;
    world.upstream().break_with(Fault::NotFound)?;
    let output = world.feed_server(["doctor"]).await?.failed_with(13)?;
    let text = &output.stdout;
    ensure!(text.lines().any(|line| line.starts_with("http      FAILED    ") && line.contains("404")), "{text}");
    ensure!(text.matches("was answered with status").count() == 1, "{text}");
    let end = text.split("\n\n").last().context("an end")?;
    ensure!(end.starts_with("Failed at http for http_status (exit code 13):\n"), "{text}");
    ensure!(text.contains("archives  not tried\n"), "{text}");
    world.upstream().mend()?;
    let text = world.feed_server(["doctor"]).await?.success()?.stdout;
    ensure!(text.ends_with("\nEverything is as it should be.\n"), "{text}");
    ensure!(text.contains("Cisco conditions version                          280052.0.0.0"), "{text}");
    Ok(())
}

#[tokio::test]
async fn the_next_url_is_tried_where_the_first_one_fails() -> Result<()> {
    let (mut world, other) = (World::builder().stopped().build().await?, LabUpstream::builder().start()?);
    other.write_ca(&world.directory().join("other.pem"))?;
    world.set("upstream", "trust_anchors", vec!["lab-ca.pem", "other.pem"])?;
    world.set("upstream", "fallback_urls", vec![other.url().to_string()])?;
    let (output, report) = examine(&world).await?;
    output.success()?;
    ensure!(report["fallbacks"].as_array().is_some_and(Vec::is_empty), "{report:#}");

    world.upstream().break_with(Fault::Away)?;
    let report = fails(&world, "tcp", Reason::Connect).await?;
    ensure!(result(&report, "fallback")? == "ok" && report["fallbacks"][0]["entries"].is_u64(), "{report:#}");
    other.break_with(Fault::HtmlPage)?;
    let report = fails(&world, "tcp", Reason::Connect).await?;
    ensure!(report["fallbacks"][0]["failure"]["reason"] == "not_a_feed", "{report:#}");
    Ok(())
}

#[tokio::test]
async fn a_clock_that_is_days_off_is_told() -> Result<()> {
    let world = World::builder().stopped().build().await?;
    let index = world.upstream().feed().context("a fake feed")?.index(&world.upstream().url());
    let mut raw = Raw::ok(index);
    raw.headers.push(("Date".to_owned(), "Sun, 06 Nov 1994 08:49:37 GMT".to_owned()));
    world.upstream().answer("/web/secure/spa/posture-update.xml", raw);
    let (output, report) = examine(&world).await?;
    output.failed_with(12)?;
    ensure!(report["failed_step"] == "clock" && report["result"] == "clock", "{report:#}");
    ensure!(report["clock"]["offset_seconds"].as_i64().is_some_and(|offset| offset < -86_400), "{report:#}");
    ensure!(result(&report, "archives")? == "ok", "{report:#}");
    Ok(())
}

/// Points a world at a proxy, with a password in a file.
fn through(world: &mut World, squid: &Squid, password: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let file = world.directory().join("proxy-password");
    std::fs::write(&file, password)?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
    let proxy = toml::Table::from_iter([
        ("url".to_owned(), format!("http://{}", squid.address()).into()),
        ("username".to_owned(), "feed".into()),
        ("password_file".to_owned(), "proxy-password".into()),
    ]);
    world.set("upstream", "proxy", proxy)
}

#[tokio::test]
async fn the_proxy_is_a_step_of_its_own_and_its_password_is_never_shown() -> Result<()> {
    const PASSWORD: &str = "hunter2-never-shown";
    let squid = Squid::builder().password("feed", PASSWORD).start().await?;
    let mut world = World::builder().stopped().build().await?;
    through(&mut world, &squid, PASSWORD)?;
    let (output, report) = examine(&world).await?;
    let output = output.success()?;
    ensure!(result(&report, "proxy")? == "ok" && result(&report, "connect")? == "ok", "{report:#}");
    let proxy = step(&report, "proxy")?["seen"].as_str().context("seen")?;
    ensure!(proxy.contains("user name feed, password from proxy-password"), "{proxy}");
    ensure!(proxy.contains(&squid.address().to_string()) && proxy.contains("[upstream.proxy]"), "{proxy}");
    let text = world.feed_server(["doctor"]).await?.success()?.stdout;
    let request = world.feed_server(["doctor", "--request"]).await?.success()?.stdout;
    ensure!(request.contains("CONNECT localhost:") && request.contains("as user feed"), "{request}");
    for said in [&output.stdout, &output.stderr, &text, &request] {
        ensure!(!said.contains(PASSWORD), "the password is shown: {said}");
    }

    world.set("upstream", "fallback_urls", vec![world.upstream().url_of("elsewhere.xml").to_string()])?;
    through(&mut world, &squid, "wrong")?;
    let before = squid.access_log()?.len();
    let (output, report) = examine(&world).await?;
    output.failed_with(11)?;
    ensure!(report["failed_step"] == "connect" && report["result"] == "proxy_auth", "{report:#}");
    ensure!(result(&report, "tls")? == "not_tried" && result(&report, "fallback")? == "not_tried", "{report:#}");
    let asked = &squid.access_log()?[before..];
    ensure!(asked.len() == 1, "a wrong password is tried once: {asked:?}");

    let mut bypassing = toml::Table::new();
    bypassing.insert("url".to_owned(), format!("http://{}", squid.address()).into());
    bypassing.insert("bypass".to_owned(), vec!["localhost"].into());
    world.set("upstream", "proxy", bypassing)?;
    let (output, report) = examine(&world).await?;
    output.success()?;
    ensure!(result(&report, "proxy")? == "none" && result(&report, "connect")? == "none", "{report:#}");
    let seen = step(&report, "proxy")?["seen"].as_str().context("seen")?;
    ensure!(seen == "bypassed for localhost by [upstream.proxy] bypass", "{seen}");
    Ok(())
}

#[tokio::test]
async fn a_proxy_that_does_not_let_us_through_fails_at_its_step() -> Result<()> {
    let mut world = World::builder().stopped().build().await?;
    for (squid, step_name, reason) in [
        (Squid::builder().deny_host("localhost"), "connect", Reason::ProxyRefused),
        (Squid::builder().only_schemes(&["negotiate"]), "connect", Reason::ProxyAuth),
        (Squid::builder().intercepting(), "chain", Reason::TlsIntercepted),
    ] {
        let squid = squid.start().await?;
        through(&mut world, &squid, "right")?;
        let (output, report) = examine(&world).await?;
        output.failed_with(i32::from(reason.exit_code()))?;
        ensure!(report["failed_step"] == step_name && report["result"] == reason.as_str(), "{report:#}");
        ensure!(result(&report, "proxy")? == "ok" && result(&report, "http")? == "not_tried", "{report:#}");
        let forged = report["chains"].as_array().context("chains")?.iter().any(|chain| chain["is_trusted"] == false);
        ensure!(forged == (reason == Reason::TlsIntercepted), "{report:#}");
    }
    world.set("upstream", "proxy", toml::Table::from_iter([("url".to_owned(), "http://127.0.0.1:9".into())]))?;
    let (output, report) = examine(&world).await?;
    output.failed_with(11)?;
    ensure!(report["failed_step"] == "tcp" && report["result"] == "proxy_connect", "{report:#}");
    ensure!(result(&report, "proxy")? == "not_tried", "{report:#}");
    Ok(())
}

#[tokio::test]
async fn a_servers_pause_is_told_and_the_doctor_asks_all_the_same() -> Result<()> {
    let world = World::builder().build().await?;
    world.upstream().break_with(Fault::RateLimited)?;
    world.sync().await?.failed_with(13)?;
    world.upstream().mend()?;
    let (output, report) = examine(&world).await?;
    output.success()?;
    ensure!(
        result(&report, "server")? == "warning" && report["server"]["cooldowns"][0]["until"].is_string(),
        "{report:#}"
    );
    ensure!(result(&report, "archives")? == "ok", "{report:#}");
    let text = world.feed_server(["doctor"]).await?.success()?.stdout;
    ensure!(text.contains("feed-server sync --ignore-cooldown"), "{text}");
    Ok(())
}

/// The same where another feed-server is followed.
const FOLLOWING: [&str; 14] = [
    "settings", "server", "dns", "tcp", "proxy", "connect", "tls", "chain", "http", "metadata", "release", "archives",
    "disk", "clock",
];

#[tokio::test]
async fn on_a_relay_the_followed_server_is_looked_at_as_by_a_run() -> Result<()> {
    let mut origin = World::builder().tls().build().await?;
    let root = origin.export_root(&origin.directory().join("online-root.json")).await?;
    let ca = origin.server_ca().context("it answers by TLS")?;
    let relay = World::builder().following(&origin.server_url()?, &ca, &root).stopped().build().await?;

    let (output, report) = examine(&relay).await?;
    output.failed_with(13)?;
    ensure!(result(&report, "metadata")? == "ok" && result(&report, "release")? == "failed", "{report:#}");
    ensure!(step(&report, "release")?["failure"]["reason"] == "not_found", "there is no release yet: {report:#}");

    origin.sync().await?.success()?;
    let (output, report) = examine(&relay).await?;
    output.success()?;
    let steps: Vec<_> = report["steps"].as_array().context("steps")?.iter().map(|step| &step["step"]).collect();
    ensure!(steps == FOLLOWING, "{steps:?}");
    ensure!(report["metadata"]["repositories"] == serde_json::json!(["online", "offline"]), "{report:#}");
    ensure!(report["release"]["serial"] == 1 && report["archives"]["count"].as_u64() > Some(4), "{report:#}");
    ensure!(report["archives"]["bytes"].as_u64() > Some(0) && report["index"].is_null(), "{report:#}");
    ensure!(!relay.data().exists(), "the doctor makes no data directory");

    let request = relay.feed_server(["doctor", "--request"]).await?.success()?.stdout;
    let authority = origin.server_url()?;
    let host = authority.host_str().context("a host")?;
    ensure!(request.contains(host) && request.contains("signed metadata and archives"), "{request}");

    let stranger = World::builder().tls().build().await?;
    stranger.export_root(&root).await?;
    let (output, report) = examine(&relay).await?;
    output.failed_with(12)?;
    let failure = &step(&report, "metadata")?["failure"];
    ensure!(result(&report, "http")? == "ok" && failure["reason"] == "signature", "{report:#}");
    ensure!(result(&report, "archives")? == "not_tried", "{report:#}");

    origin.stop_server().await?;
    let (output, report) = examine(&relay).await?;
    output.failed_with(10)?;
    ensure!(result(&report, "tcp")? == "failed" && result(&report, "metadata")? == "not_tried", "{report:#}");
    Ok(())
}
