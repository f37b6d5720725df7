//! Through proxies of two makes to upstream: what works, what is left out, and what becomes of passwords. Which sentence each
//! refusal gets is in `reasons/proxies.rs`.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use certs::lab::Chain;
use serde_json::Value;
use tests::peers::{Access, Port, Squid, Tinyproxy};
use tests::world::{DEADLINE, World, WorldBuilder, wait_until};

/// Found nowhere but in its file: two words that no text of ours has, and characters that URLs and Basic treat specially.
const PASSWORD: &str = "quokka:narwhal@7f3";

/// The run that a world's upstream is asked for, through a proxy that is already there.
async fn synced(world: &World) -> Result<()> {
    world.sync().await?.success()?;
    ensure!(!world.upstream().requests().is_empty());
    Ok(())
}

/// Waits until squid has logged exactly these tunnels; it logs them when they end.
async fn logged(squid: &Squid, status: u16, count: usize) -> Result<()> {
    let fits = |access: &Access| access.method == "CONNECT" && access.status == Some(status);
    let what = format!("squid logs {count} tunnels with status {status}");
    wait_until(DEADLINE, &what, async || squid.access_log().is_ok_and(|log| log.len() == count && log.iter().all(fits)))
        .await
        .with_context(|| format!("{:?}", squid.access_log()))
}

fn url(address: std::net::SocketAddr) -> String {
    format!("http://{address}")
}

#[tokio::test]
async fn an_open_proxy_is_used_for_everything() -> Result<()> {
    let squid = Squid::builder().start().await?;
    let mut world = World::builder().proxy(&url(squid.address())).build().await?;
    synced(&world).await?;
    world.stop_server().await?;
    let target = format!("localhost:{}", world.upstream().address().port());
    let me = format!("posture-feed/{}", env!("CARGO_PKG_VERSION"));
    let requests = world.upstream().requests();
    ensure!(requests.iter().all(|request| request.user_agent.as_deref() == Some(&me)), "{requests:?}");
    let through = async || {
        squid.access_log().is_ok_and(|log| !log.is_empty() && log.iter().all(|access| access.target == target))
    };
    wait_until(DEADLINE, "squid logs tunnels to upstream alone", through).await?;

    let tinyproxy = Tinyproxy::open().await?;
    let world = World::builder().proxy(&url(tinyproxy.address())).build().await?;
    synced(&world).await?;
    ensure!(tinyproxy.access_log()?.iter().any(|access| access.method == "CONNECT"));
    Ok(())
}

#[tokio::test]
async fn the_right_password_opens_both_makes() -> Result<()> {
    let squid = Squid::builder().password("feed", PASSWORD).start().await?;
    let tinyproxy = Tinyproxy::with_password("feed", "quokka-narwhal").await?;
    for (proxy, password) in [(squid.address(), PASSWORD), (tinyproxy.address(), "quokka-narwhal")] {
        let world = World::builder().proxy(&url(proxy)).proxy_login("feed", password).build().await?;
        synced(&world).await?;
    }
    // Not even a first try without it: some proxies count those too.
    logged_refusals(&squid, 0)
}

#[tokio::test]
async fn a_service_s_credentials_are_looked_at_first_and_anew_for_each_run() -> Result<()> {
    let squid = Squid::builder().password("feed", PASSWORD).start().await?;
    let credentials = tempfile::tempdir()?;
    let directory = credentials.path().to_str().context("a path that is text")?;
    // Beside the configuration lies another one of that name, as after a move to `LoadCredential=`.
    let builder = World::builder().proxy(&url(squid.address())).proxy_login("feed", "outdated");
    let world = builder.env("CREDENTIALS_DIRECTORY", directory).build().await?;
    let file = credentials.path().join(world.password_file().file_name().context("a name")?);
    std::fs::write(&file, PASSWORD)?;
    synced(&world).await?;
    std::fs::write(&file, "changed")?;
    world.sync().await?.failed_with(11)?;
    std::fs::write(&file, PASSWORD)?;
    synced(&world).await?;
    logged_refusals(&squid, 1)
}

/// How often squid said no; it logs that at once.
fn logged_refusals(squid: &Squid, count: usize) -> Result<()> {
    let log = squid.access_log()?;
    ensure!(log.iter().filter(|access| access.status == Some(407)).count() == count, "{log:?}");
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_until_it_changes_or_an_operator_asks() -> Result<()> {
    let squid = Squid::builder().password("feed", "right").start().await?;
    let builder = World::builder().proxy(&url(squid.address())).proxy_login("feed", "wrong");
    let mut world = builder.on_schedule().stopped().build().await?;
    // The start with nothing to serve, and what is due three, six and nine hours later, each after a restart.
    for run in 0..4 {
        world.clock_off(&format!("+{}h", 3 * run));
        world.start_server().await?;
        ran(&world, run + 1, "proxy_auth").await?;
        world.stop_server().await?;
    }
    logged(&squid, 407, 1).await?;

    std::fs::write(world.password_file(), "wrong as well\n")?;
    world.clock_off("+12h");
    world.start_server().await?;
    ran(&world, 5, "proxy_auth").await?;
    logged(&squid, 407, 2).await?;

    world.sync().await?.failed_with(11)?;
    logged(&squid, 407, 3).await?;
    world.stop_server().await?;
    world.clock_off("+24h");
    world.start_server().await?;
    ran(&world, 7, "proxy_auth").await?;
    logged(&squid, 407, 3).await?;

    std::fs::write(world.password_file(), "right\n")?;
    synced(&world).await?;
    // libfaketime takes its shared memory away only where its program ends in peace.
    world.stop_server().await?;
    Ok(())
}

/// Waits until the server has ended its run of that number, and compares how.
async fn ran(world: &World, number: usize, result: &str) -> Result<()> {
    let runs = async || -> Result<Vec<Value>> {
        let status: Value = world.feed_server(["status", "--json"]).await?.success()?.json()?;
        Ok(status["runs"].as_array().context("runs")?.clone())
    };
    let ended = async || runs().await.is_ok_and(|runs| runs.len() >= number && runs[0]["result"].is_string());
    wait_until(DEADLINE, &format!("run {number} ends"), ended).await?;
    let runs = runs().await?;
    ensure!(runs.len() == number && runs[0]["result"] == result, "{runs:#?}");
    Ok(())
}

#[tokio::test]
async fn a_proxy_that_allows_443_alone_is_told_apart_by_the_port() -> Result<()> {
    let squid = Squid::builder().only_port_443().start().await?;
    let world = World::builder().proxy(&url(squid.address())).build().await?;
    let refused = world.sync().await?.failed_with(11)?;
    let target = format!("CONNECT to localhost:{}", world.upstream().address().port());
    ensure!(refused.stderr.contains("(proxy_refused)") && refused.stderr.contains(&target), "{refused}");
    logged(&squid, 403, 1).await
}

#[tokio::test]
async fn a_proxy_that_was_stopped_and_started_again_is_used_again() -> Result<()> {
    let mut squid = Squid::builder().start().await?;
    let world = World::builder().proxy(&url(squid.address())).build().await?;
    squid.stop().await?;
    let refused = world.sync().await?.failed_with(11)?;
    ensure!(refused.stderr.contains("(proxy_connect)"), "{refused}");
    ensure!(world.upstream().requests().is_empty(), "nothing goes around the proxy");
    squid.start_again().await?;
    synced(&world).await
}

#[tokio::test]
async fn a_proxy_over_tls_is_trusted_by_its_own_anchors_alone() -> Result<()> {
    let chain = Chain::builder().loopback().root_named("Example Proxy Root").build()?;
    let squid = Squid::builder().tls(&chain).password("feed", PASSWORD).start().await?;
    let proxy = format!("https://localhost:{}", squid.address().port());
    let builder = World::builder().stopped().proxy(&proxy).proxy_login("feed", PASSWORD);
    let mut world = builder.set("upstream.proxy", "trust_anchors", vec!["proxy-ca.pem"]).build().await?;
    std::fs::write(world.directory().join("proxy-ca.pem"), &chain.root.pem)?;
    world.start_server().await?;
    synced(&world).await?;
    world.stop_server().await?;

    // The proxy's anchors vouch for nobody else.
    world.set("upstream", "trust_anchors", vec!["proxy-ca.pem"])?;
    world.start_server().await?;
    let refused = world.sync().await?.failed_with(12)?;
    ensure!(refused.stderr.contains("localhost"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn what_bypasses_the_proxy_never_comes_to_it() -> Result<()> {
    for entry in ["localhost", ".localhost", "localhost:{port}", "LOCALHOST", "*"] {
        let squid = Squid::builder().start().await?;
        let mut world = World::builder().stopped().proxy(&url(squid.address())).build().await?;
        let port = world.upstream().address().port().to_string();
        world.set("upstream.proxy", "bypass", vec![entry.replace("{port}", &port)])?;
        world.start_server().await?;
        synced(&world).await?;
        world.stop_server().await?;
        ensure!(squid.access_log()?.is_empty(), "{entry}: {:?}", squid.access_log());
    }
    for entry in ["127.0.0.0/8", "127.0.0.1", "10.0.0.0/8, 127.0.0.1", "127.0.0.0/24:{port}"] {
        let squid = Squid::builder().start().await?;
        let mut world = World::builder().stopped().proxy(&url(squid.address())).build().await?;
        let by_address = world.upstream().url().as_str().replace("localhost", "127.0.0.1");
        world.set("upstream", "url", by_address)?;
        world.set("upstream", "allowed_hosts", vec!["localhost"])?;
        let entry = entry.replace("{port}", &world.upstream().address().port().to_string());
        let mut bypass: Vec<&str> = entry.split(", ").collect();
        bypass.push("localhost");
        world.set("upstream.proxy", "bypass", bypass)?;
        world.start_server().await?;
        synced(&world).await?;
        world.stop_server().await?;
        ensure!(squid.access_log()?.is_empty(), "{entry}: {:?}", squid.access_log());
    }
    // Names that nobody resolves: asked without the proxy, they fail in DNS, and the proxy hears nothing of them.
    let squid = Squid::builder().start().await?;
    let mut world = World::builder().stopped().proxy(&url(squid.address())).build().await?;
    world.set("upstream", "url", "https://feed.lab.invalid/posture-update.xml")?;
    for entry in ["*.lab.invalid", ".lab.invalid", "lab.invalid", "*.LAB.invalid:443"] {
        world.set("upstream.proxy", "bypass", vec![entry])?;
        let refused = world.sync().await?.failed_with(10)?;
        ensure!(refused.stderr.contains("(dns)"), "{entry}: {refused}");
        ensure!(squid.access_log()?.is_empty(), "{entry}: {:?}", squid.access_log());
    }
    for entry in ["*.feed.lab.invalid", "eed.lab.invalid", ".lab.invalid:8443"] {
        world.set("upstream.proxy", "bypass", vec![entry])?;
        let refused = world.sync().await?.failed_with(11)?;
        ensure!(refused.stderr.contains("CONNECT") || refused.stderr.contains("feed.lab.invalid:443"), "{refused}");
    }
    ensure!(squid.access_log()?.iter().filter(|access| access.target == "feed.lab.invalid:443").count() == 3);
    // What does not match goes through it.
    let squid = Squid::builder().start().await?;
    let others = vec!["*.localhost", "localhost:1", "example.com", "10.0.0.0/8"];
    let mut world =
        World::builder().proxy(&url(squid.address())).set("upstream.proxy", "bypass", others).build().await?;
    synced(&world).await?;
    world.stop_server().await?;
    wait_until(DEADLINE, "squid was used", async || squid.access_log().is_ok_and(|log| !log.is_empty())).await
}

#[tokio::test]
async fn the_environments_proxy_is_used_unless_the_configuration_says_otherwise() -> Result<()> {
    let nobody = Port::free()?;
    let away = url(nobody.address());
    let squid = Squid::builder().password("feed", "right").start().await?;
    let with_login = format!("http://feed:right@{}", squid.address());
    let open = Squid::builder().start().await?;

    let world = World::builder().env("HTTPS_PROXY", &with_login).build().await?;
    synced(&world).await?;
    let world = World::builder().env("https_proxy", &away).build().await?;
    let refused = world.sync().await?.failed_with(11)?;
    ensure!(refused.stderr.contains(&nobody.address().to_string()), "{refused}");
    let world = World::builder().env("HTTPS_PROXY", &away).env("NO_PROXY", "example.com, localhost").build().await?;
    synced(&world).await?;
    let world = World::builder().env("HTTPS_PROXY", &away).proxy("none").build().await?;
    synced(&world).await?;
    // With a proxy of the configuration's own, the environment is out of it, exceptions included.
    let builder = World::builder().env("HTTPS_PROXY", &away).env("NO_PROXY", "*").proxy(&url(open.address()));
    let mut world = builder.build().await?;
    synced(&world).await?;
    world.stop_server().await?;
    wait_until(DEADLINE, "the configured proxy was used", async || open.access_log().is_ok_and(|log| !log.is_empty()))
        .await
}

#[tokio::test]
async fn the_password_is_found_nowhere() -> Result<()> {
    let right = Squid::builder().password("feed", PASSWORD).start().await?;
    let wrong = Squid::builder().password("feed", "another").start().await?;
    let away = Port::free()?;
    let in_url = |at: std::net::SocketAddr| format!("http://feed:quokka%3Anarwhal%407f3@{at}");
    for (proxy, code) in [(right.address(), 0), (wrong.address(), 11), (away.address(), 11)] {
        let in_file = World::builder().proxy(&url(proxy)).proxy_login("feed", PASSWORD);
        hunt(in_file, code).await.context("the password is in its file")?;
        let in_environment = World::builder().env("HTTPS_PROXY", &in_url(proxy));
        hunt(in_environment, code).await.context("the password is in the environment")?;
    }
    Ok(())
}

/// Lets a world do whatever may come by the password, and looks for it in whatever came of that.
async fn hunt(builder: WorldBuilder, code: i32) -> Result<()> {
    let mut world = builder.verbose().headends(1).build().await?;
    let mut said = Vec::new();
    let mut verbs: Vec<Vec<&str>> = vec![vec!["sync"], vec!["status"], vec!["check-config"], vec!["doctor"]];
    verbs.push(vec!["check-config", "--show"]);
    verbs.push(vec!["doctor", "--request"]);
    let url = world.upstream().url().to_string();
    verbs.push(vec!["inspect", &url]);
    for verb in verbs {
        for more in [&["-vv"][..], &["-vv", "--json"], &["-vv", "--log-format", "json"]] {
            let output = world.feed_server(verb.iter().chain(more)).await?;
            if verb == ["sync"] {
                ensure!(output.code() == Some(code), "{output}");
            }
            said.push((format!("{verb:?} {more:?}"), output.to_string()));
        }
    }
    said.extend(captured(&world, code).await?);
    said.push(("process list".to_owned(), process_list()?));
    said.push(("metrics".to_owned(), world.metrics_text().await?));
    let token = world.feed_server(["token", "add", "hunter", "--scope", "admin"]).await?.success()?.stdout;
    let paths = ["status", "settings", "history", "sync", "runs", "runs/1", "openapi.json"];
    for path in paths.map(|path| format!("api/v1/{path}")) {
        let text = world.get_as(&token, &path).await?.error_for_status()?.text().await?;
        said.push((path, text));
    }
    for path in ["api/v1/status", "healthz", "readyz", "repo/metadata/root.json"] {
        said.push((format!("{path} for anybody"), world.get(path).await?.text().await?));
    }
    world.stop_server().await?;
    said.push(("the server's log".to_owned(), std::fs::read_to_string(world.server_log())?));
    let log = &said.last().context("the log")?.1;
    ensure!(log.contains("DEBUG") || log.contains("TRACE"), "everything is logged: {log}");
    for (name, text) in &said {
        ensure!(!gives_away(text.as_bytes()), "the password is in {name}: {text}");
    }
    let mut files = 0;
    for entry in walkdir::WalkDir::new(world.data()) {
        let entry = entry?;
        if entry.file_type().is_file() {
            files += 1;
            ensure!(!gives_away(&std::fs::read(entry.path())?), "the password is in {}", entry.path().display());
        }
    }
    ensure!(files > 5, "{files} files are no data directory");
    Ok(())
}

/// What `capture` says and what is in its file, member by member.
async fn captured(world: &World, code: i32) -> Result<Vec<(String, String)>> {
    let file = world.directory().join("capture.zip");
    let (url, out) = (world.upstream().url(), file.to_str().context("a path that is text")?);
    let output = world.feed_server(["capture", url.as_str(), "--out", out, "--archives", "-vv", "--json"]).await?;
    ensure!(output.code() == Some(code), "{output}");
    let mut said = vec![("capture".to_owned(), output.to_string())];
    if code == 0 {
        let mut zip = zip::ZipArchive::new(std::fs::File::open(&file)?)?;
        for number in 0..zip.len() {
            let mut member = zip.by_index(number)?;
            let mut bytes = Vec::new();
            member.read_to_end(&mut bytes)?;
            said.push((member.name()?.into_owned(), String::from_utf8_lossy(&bytes).into_owned()));
        }
        ensure!(said.len() > 6, "{said:?}");
    }
    Ok(said)
}

/// The arguments of everything that runs on this machine.
fn process_list() -> Result<String> {
    let mut list = String::new();
    for entry in std::fs::read_dir(Path::new("/proc"))? {
        // A process may have ended meanwhile.
        if let Ok(arguments) = std::fs::read(entry?.path().join("cmdline")) {
            list.push_str(&String::from_utf8_lossy(&arguments));
            list.push('\n');
        }
    }
    ensure!(list.contains("feed-server"), "the server runs: {list}");
    Ok(list)
}

/// Whether bytes hold the password, a half of it, or what Basic makes of it.
fn gives_away(bytes: &[u8]) -> bool {
    // "feed:" and the password in base64, and the password alone where it begins at each of the three places of a group.
    let forms = [
        "quokka",
        "narwhal",
        "ZmVlZDpxdW9ra2E6bmFyd2hhbEA3ZjM",
        "cXVva2thOm5hcndoYWx",
        "F1b2trYTpuYXJ3aGFs",
        "xdW9ra2E6bmFyd2hhb",
    ];
    forms.iter().any(|form| bytes.windows(form.len()).any(|window| window == form.as_bytes()))
}

#[test]
fn what_is_looked_for_would_be_found() {
    for giveaway in [
        "password=quokka:narwhal@7f3",
        "Proxy-Authorization: Basic ZmVlZDpxdW9ra2E6bmFyd2hhbEA3ZjM=",
        "http://feed:quokka%3Anarwhal%407f3@127.0.0.1:3128",
    ] {
        assert!(gives_away(giveaway.as_bytes()), "{giveaway}");
    }
    assert!(!gives_away(b"Proxy-Authorization: Sensitive"));
}
