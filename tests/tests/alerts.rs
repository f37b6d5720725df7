//! The shipped rules: promtool's tests of them, a runbook for each, and a real Prometheus and Alertmanager that are told of a
//! broken upstream.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::lab::Fault;
use tests::peers::{Alertmanager, Prometheus, promtool};
use tests::world::{DEADLINE, World, wait_for};

fn deployed(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/")).join("deploy").join(path)
}

fn read(path: &str) -> Result<String> {
    let path = deployed(path);
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

fn tests_of_rules() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(deployed("prometheus/tests"))? {
        names.push(entry?.file_name().into_string().ok().context("a name of ours")?);
    }
    names.sort();
    Ok(names)
}

/// The values after `key:` wherever it begins a line, whatever is before it in a flow mapping.
fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| {
        let (_, rest) = line.split_once(key)?;
        Some(rest.split([',', '}']).next().unwrap_or_default().trim().trim_matches('"'))
    })
}

#[tokio::test]
async fn promtool_is_content_with_the_rules_and_their_tests() -> Result<()> {
    let directory = deployed("prometheus");
    promtool(&directory, &["check", "config", "prometheus.yml"]).await?;
    let files = tests_of_rules()?;
    ensure!(!files.is_empty());
    let arguments: Vec<&str> = ["test", "rules"].into_iter().chain(files.iter().map(String::as_str)).collect();
    promtool(&directory.join("tests"), &arguments).await?;
    Ok(())
}

#[tokio::test]
async fn a_rule_that_is_changed_fails_its_test() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let (rules, tests) = (scratch.path().join("posture-feed.rules.yml"), scratch.path().join("tests"));
    std::fs::create_dir(&tests)?;
    for name in tests_of_rules()? {
        std::fs::copy(deployed("prometheus/tests").join(&name), tests.join(&name))?;
    }
    let shipped = read("prometheus/posture-feed.rules.yml")?;
    for (what, becomes, test) in [
        ("> 6 * 3600", "> 60 * 3600", "sync.yml"),
        ("[15m]", "[1m]", "sync.yml"),
        ("up{job=~\"posture-feed.*\"} == 0", "up{job=~\"posture-feed.*\"} == 2", "server.yml"),
        ("state=\"behind\"} > 0", "state=\"behind\"} >= 0", "headends.yml"),
        ("== 1\n        for: 10m", "== 2\n        for: 10m", "trust.yml"),
    ] {
        let changed = shipped.replace(what, becomes);
        ensure!(changed != shipped, "{what} is not in the rules any more");
        std::fs::write(&rules, changed)?;
        ensure!(promtool(&tests, &["test", "rules", test]).await.is_err(), "{what} → {becomes} is not noticed");
    }
    Ok(())
}

#[test]
fn every_alert_has_a_runbook_a_test_that_fires_and_one_that_does_not() -> Result<()> {
    let rules = read("prometheus/posture-feed.rules.yml")?;
    let alerts: BTreeSet<&str> = values(&rules, "- alert:").collect();
    ensure!(!alerts.is_empty(), "no alert is found in the rules");
    let mut tests = String::new();
    for name in tests_of_rules()? {
        tests += &read(&format!("prometheus/tests/{name}"))?;
    }
    for &alert in &alerts {
        let runbook = read(&format!("runbooks/{alert}.md"))?;
        for heading in ["## What it means", "## What to look at", "## How to mend it"] {
            ensure!(runbook.contains(heading), "{alert}.md lacks {heading}");
        }
        ensure!(rules.contains(&format!("/runbooks/{alert}.md\"")), "{alert} does not name its runbook");
        ensure!(tests.contains(&format!("alertname: {alert}, exp_alerts: []")), "{alert} is not tested to be quiet");
        ensure!(tests.contains(&format!("alertname: {alert}\n        exp_alerts:\n")), "{alert} is not tested to fire");
    }
    for entry in std::fs::read_dir(deployed("runbooks"))? {
        let name = entry?.file_name().into_string().unwrap_or_default();
        ensure!(alerts.contains(name.trim_end_matches(".md")), "{name} is of no alert");
    }
    for severity in values(&rules, "labels: { severity:") {
        ensure!(["critical", "warning", "ticket"].contains(&severity), "{severity}");
    }
    Ok(())
}

/// The shipped configurations with waits shortened, and what has to be another's: addresses.
struct Watch {
    _directory: tempfile::TempDir,
    prometheus: Prometheus,
    alertmanager: Alertmanager,
}

impl Watch {
    async fn over(world: &World) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let alertmanager = directory.path().join("alertmanager.yml");
        let waits = [("group_wait: 30s", "group_wait: 0s"), ("group_interval: 5m", "group_interval: 1s")];
        std::fs::write(&alertmanager, replace(&read("prometheus/alertmanager.yml")?, &waits)?)?;
        let alertmanager = Alertmanager::start(&alertmanager).await?;

        let rules = read("prometheus/posture-feed.rules.yml")?;
        // Every wait of a rule, and nothing else of it; longer than it takes until a target was asked for the first time.
        let rules: Vec<String> =
            rules
                .lines()
                .map(|line| {
                    if line.trim_start().starts_with("for: ") { "        for: 3s".to_owned() } else { line.to_owned() }
                })
                .collect();
        std::fs::write(directory.path().join("posture-feed.rules.yml"), rules.join("\n"))?;
        let target = format!("{:?}", host_and_port(&world.monitoring_url()?)?);
        let changes = [
            ("scrape_interval: 30s", "scrape_interval: 1s"),
            ("evaluation_interval: 30s", "evaluation_interval: 1s"),
            ("\"127.0.0.1:9093\"", &format!("{:?}", alertmanager.target())),
            ("\"127.0.0.1:9090\"", &target),
        ];
        let config = directory.path().join("prometheus.yml");
        std::fs::write(&config, replace(&read("prometheus/prometheus.yml")?, &changes)?)?;
        let prometheus = Prometheus::start(&config).await?;
        Ok(Self { _directory: directory, prometheus, alertmanager })
    }

    /// Waits for the alert of that name, in that state (`active` or `suppressed`).
    async fn alert(&self, name: &str, state: &str) -> Result<Value> {
        wait_for(DEADLINE, &format!("{name} is {state}"), async || {
            let alerts = self.alertmanager.alerts().await.ok()?;
            alerts.into_iter().find(|alert| alert["labels"]["alertname"] == name && alert["status"]["state"] == state)
        })
        .await
    }
}

fn replace(text: &str, changes: &[(&str, &str)]) -> Result<String> {
    changes.iter().try_fold(text.to_owned(), |text, (what, with)| {
        ensure!(text.contains(what), "{what} is not there any more");
        Ok(text.replace(what, with))
    })
}

fn host_and_port(url: &url::Url) -> Result<String> {
    Ok(format!("{}:{}", url.host_str().context("a host")?, url.port().context("a port")?))
}

#[tokio::test]
async fn a_broken_upstream_is_an_alert_with_its_reason_until_the_server_itself_is_gone() -> Result<()> {
    let mut world = World::builder().metrics_listener().build().await?;
    world.sync().await?.success()?;
    let watch = Watch::over(&world).await?;
    // Every rule of ours can be evaluated, and none fires while all is well.
    let rules = wait_for(DEADLINE, "every rule was evaluated", async || {
        let rules = watch.prometheus.api("rules", &[]).await.ok()?;
        let all: Vec<Value> =
            rules["groups"].as_array()?.iter().flat_map(|it| it["rules"].as_array()).flatten().cloned().collect();
        (!all.is_empty() && all.iter().all(|rule| rule["health"] != "unknown")).then_some(all)
    })
    .await?;
    for rule in &rules {
        ensure!(rule["health"] == "ok", "{rule}");
        ensure!(rule["type"] != "alerting" || rule["state"] != "firing", "{rule}");
    }

    world.upstream().break_with(Fault::NotFound)?;
    world.sync().await?.failed_with(13)?;
    let failing = watch.alert("PostureFeedSyncFailing", "active").await?;
    ensure!(failing["labels"]["reason"] == "http_status" && failing["labels"]["severity"] == "warning", "{failing}");
    ensure!(failing["receivers"][0]["name"] == "operators", "{failing}");
    let said = failing["annotations"]["summary"].as_str().unwrap_or_default();
    ensure!(said.contains("http_status"), "{failing}");

    // The server's own end says all of it.
    world.stop_server().await?;
    let down = watch.alert("PostureFeedDown", "active").await?;
    ensure!(down["labels"]["severity"] == "critical" && down["receivers"][0]["name"] == "pager", "{down}");
    watch.alert("PostureFeedSyncFailing", "suppressed").await?;

    world.start_server().await?;
    world.upstream().mend()?;
    world.sync().await?.success()?;
    let quiet = async || watch.prometheus.query("ALERTS{alertstate=\"firing\"}").await.is_ok_and(|it| it.is_empty());
    tests::world::wait_until(DEADLINE, "no alert fires any more", quiet).await
}

/// The names of our metrics in a text, as the server exposes them, without what Prometheus adds to a histogram's.
fn asked_for(text: &str) -> BTreeSet<String> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_of_name(c)).filter(|word| word.starts_with("posture_feed_"));
    words.map(|word| word.trim_end_matches("_bucket").to_owned()).collect()
}

fn queries(panels: &Value) -> Vec<String> {
    let targets = panels.as_array().into_iter().flatten().flat_map(|panel| panel["targets"].as_array()).flatten();
    targets.filter_map(|target| Some(target["expr"].as_str()?.to_owned())).collect()
}

#[tokio::test]
async fn whatever_rules_and_dashboard_ask_for_is_exposed_by_a_real_server() -> Result<()> {
    let world = World::builder().tls().metrics_listener().build().await?;
    world.sync().await?.success()?;
    world.feed_server(["release", "hold", "--reason", "for its metrics"]).await?.success()?;
    let mut exposed: BTreeSet<String> = asked_for(&world.metrics_text().await?);
    // There only while a run goes on.
    exposed.insert("posture_feed_run_started_timestamp_seconds".to_owned());

    let dashboard: Value = serde_json::from_str(&read("grafana/posture-feed.json")?)?;
    let queries = queries(&dashboard["panels"]);
    ensure!(!queries.is_empty(), "the dashboard asks for nothing");
    let rules = read("prometheus/posture-feed.rules.yml")?;
    let expressions: String = rules.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    for name in asked_for(&(queries.join(" ") + &expressions)) {
        ensure!(exposed.contains(&name), "{name} is asked for, and no server has it");
    }

    // And each query is one.
    let watch = Watch::over(&world).await?;
    wait_for(DEADLINE, "Prometheus has the server's metrics", async || {
        watch.prometheus.query("posture_feed_build_info").await.ok().filter(|it| !it.is_empty())
    })
    .await?;
    for query in queries {
        let query = query.replace("$instance", ".*").replace("$__rate_interval", "1m").replace("$__interval", "1m");
        watch.prometheus.query(&query).await.with_context(|| query.clone())?;
    }
    Ok(())
}
