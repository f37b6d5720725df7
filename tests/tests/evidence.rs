//! What upstream presented, as an operator sees it afterwards: in status, in the API, in metrics and in the log, accepted or
//! refused, before and after a restart.

use anyhow::{Context, Result, ensure};
use bundles::fake::Options;
use certs::CertificateFacts;
use certs::lab::{Chain, Keys};
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use serde_json::Value;
use tests::lab::{LabUpstream, Raw};
use tests::peers;
use tests::world::World;

const NOT_AFTER: &str = "posture_feed_upstream_certificate_not_after_timestamp_seconds";

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

fn upstream(chain: Chain) -> tests::lab::LabBuilder {
    LabUpstream::builder().options(Options::small()).chain(chain)
}

fn chain() -> Result<Chain> {
    Ok(Chain::builder().loopback().keys(Keys::Ecdsa).build()?)
}

fn sha256(made: &certs::lab::Made) -> Result<String> {
    Ok(CertificateFacts::from_der(&made.der)?.sha256)
}

async fn status(world: &World) -> Result<Value> {
    world.feed_server(["status", "--json"]).await?.success()?.json()
}

/// The messages of a kind.
fn warnings(status: &Value, kind: &str) -> Vec<String> {
    let warnings = status["warnings"].as_array().into_iter().flatten();
    let of_kind = warnings.filter(|warning| warning["kind"] == kind);
    of_kind.map(|warning| warning["message"].as_str().unwrap_or_default().to_owned()).collect()
}

async fn warns(world: &World, kind: &str) -> Result<bool> {
    let value = world.metrics().await?.value("posture_feed_warning", &[("kind", kind)]);
    Ok(value.with_context(|| format!("no posture_feed_warning of kind {kind}"))? > 0.0)
}

/// How often the log tells of a kind.
fn told(world: &World, kind: &str) -> Result<usize> {
    let log = std::fs::read_to_string(world.server_log())?;
    Ok(log.lines().filter(|line| line.contains("WARN") && line.contains(&format!("kind=\"{kind}\""))).count())
}

/// The programs read the clock themselves, so what is near for them must be near by it.
#[allow(clippy::disallowed_methods, reason = "a test is the edge of the world it makes")]
fn soon() -> Result<Timestamp> {
    // Half a day less than twenty: "19 days left", whatever second it is.
    Ok((Timestamp::now() + days(20) - 12.hours()).round(jiff::Unit::Second)?)
}

#[tokio::test]
async fn a_chain_near_its_end_is_warned_of_once_in_the_log_and_always_in_status() -> Result<()> {
    let kind = "certificate_expiring";
    let ends = soon()?;
    let chain = Chain::builder().loopback().keys(Keys::Ecdsa).valid(ends - days(300), ends).build()?;
    let mut world = World::builder().upstream(upstream(chain.clone())).build().await?;
    ensure!(!warns(&world, kind).await?, "nothing is known yet");
    world.sync().await?.success()?;
    world.sync().await?.success()?;

    let check = async |world: &World| -> Result<()> {
        let seen = status(world).await?;
        let messages = warnings(&seen, kind);
        ensure!(messages.len() == 1 && messages[0].contains(&ends.to_string()), "{messages:?}");
        let certificates = &seen["upstream_chain"]["chains"][0]["certificates"];
        for (position, made) in [&chain.leaf, &chain.intermediate, &chain.root].into_iter().enumerate() {
            ensure!(certificates[position]["sha256"] == sha256(made)?, "{position}: {certificates}");
            let position = position.to_string();
            let labels = [("host_role", "index"), ("position", &*position)];
            ensure!(world.metrics().await?.value(NOT_AFTER, &labels).is_some(), "{position}");
        }
        let text = world.feed_server(["status"]).await?.success()?.stdout;
        ensure!(text.contains("Warning       certificate_expiring since "), "{text}");
        ensure!(text.contains("(index), presented in run 2 at ") && text.contains(", accepted\n"), "{text}");
        let leaf = text.lines().find(|line| line.starts_with("  0  www.cisco.com")).context("the leaf's line")?;
        ensure!(leaf.ends_with("19 days left"), "{leaf}");
        ensure!(!text.contains(&sha256(&chain.leaf)?), "{text}");
        let text = world.feed_server(["status", "-v"]).await?.success()?.stdout;
        ensure!(text.contains(&sha256(&chain.leaf)?) && text.contains("127.0.0.1"), "{text}");
        ensure!(warns(world, kind).await? && !warns(world, "chain_changed").await?);
        peers::promtool_check(&world.metrics_text().await?)
    };
    check(&world).await?;
    ensure!(told(&world, kind)? == 1, "the log tells once");
    world.stop_server().await?;
    world.start_server().await?;
    check(&world).await
}

#[tokio::test]
async fn authorities_end_too_and_what_lasts_for_another_month_is_not_warned_of() -> Result<()> {
    let kind = "certificate_expiring";
    let (soon, later) = (soon()?, soon()? + days(11));
    let far = later + days(300);
    for (chain, expected) in [
        (
            Chain::builder().ca_valid(soon - days(300), soon).valid(soon - days(200), far),
            Some("certificate 1 of localhost"),
        ),
        (Chain::builder().valid(later - days(300), later), None),
    ] {
        let world = World::builder().upstream(upstream(chain.loopback().keys(Keys::Ecdsa).build()?)).build().await?;
        world.sync().await?.success()?;
        let messages = warnings(&status(&world).await?, kind);
        ensure!(
            messages.iter().any(|message| message.contains(expected.unwrap_or(""))) == expected.is_some(),
            "{messages:?}"
        );
        ensure!(warns(&world, kind).await? == expected.is_some() && told(&world, kind)? == messages.len());
    }
    Ok(())
}

#[tokio::test]
async fn another_root_is_told_by_name_and_a_refused_one_is_kept_all_the_same() -> Result<()> {
    let kind = "chain_changed";
    let (first, second, third) = (chain()?, chain()?, chain()?);
    let other = upstream(second.clone()).start()?;
    let forger = upstream(third.clone()).start()?;
    let mut world = World::builder().upstream(upstream(first.clone())).build().await?;
    world.sync().await?.success()?;
    ensure!(!warns(&world, kind).await?);

    other.write_ca(&world.directory().join("second.pem"))?;
    move_to(&mut world, &other, &["second.pem"]).await?;
    world.sync().await?.success()?;
    world.sync().await?.success()?;
    let messages = warnings(&status(&world).await?, kind);
    ensure!(messages.len() == 1 && messages[0].contains("it is accepted"), "{messages:?}");
    for made in [&first.intermediate, &second.intermediate, &first.root, &second.root] {
        ensure!(messages[0].contains(&sha256(made)?), "{messages:?}");
    }
    ensure!(warns(&world, kind).await? && told(&world, kind)? == 1, "the log tells once");

    move_to(&mut world, &forger, &["second.pem"]).await?;
    ensure!(warnings(&status(&world).await?, kind) == messages, "a restart forgets nothing");
    let success = world.metrics().await?.value("posture_feed_last_success_timestamp_seconds", &[]);
    let output = world.sync().await?.failed_with(12)?;
    ensure!(output.stderr.contains("tls_untrusted"), "{output}");
    let seen = status(&world).await?;
    let refused = &seen["upstream_chain"]["chains"][0];
    ensure!(refused["trusted"] == false && refused["failure"].is_string(), "{refused}");
    ensure!(refused["certificates"][2]["sha256"] == sha256(&third.root)?, "{refused}");
    let messages = warnings(&seen, kind);
    ensure!(messages.len() == 1 && messages[0].contains("it is refused"), "{messages:?}");
    ensure!(
        messages[0].contains(&sha256(&second.root)?) && messages[0].contains(&sha256(&third.root)?),
        "{messages:?}"
    );
    let text = world.feed_server(["status"]).await?.success()?.stdout;
    ensure!(text.contains(", refused\n") && text.contains("Failing       tls_untrusted since "), "{text}");
    let said = refused["failure"].as_str().context("a sentence")?;
    ensure!(text.matches(said).count() == 1, "the sentence is told, and once: {text}");
    let metrics = world.metrics().await?;
    ensure!(metrics.value("posture_feed_last_success_timestamp_seconds", &[]) == success);
    ensure!(metrics.value(NOT_AFTER, &[("position", "2")]).is_some(), "refused chains end, too");

    // Each run has its own, by the API.
    let token = world.feed_server(["token", "add", "ops", "--scope", "read"]).await?.success()?.stdout;
    let run = async |id: u64| -> Result<Value> {
        let response = world.get_as(&token, &format!("api/v1/runs/{id}")).await?.error_for_status()?;
        Ok(serde_json::from_str(&response.text().await?)?)
    };
    for (id, presented, trusted) in [(1, &first, true), (3, &second, true), (4, &third, false)] {
        let run = run(id).await?;
        let chain = &run["chains"][0];
        ensure!(run["id"] == id && chain["trusted"] == trusted, "{run}");
        ensure!(chain["certificates"][0]["sha256"] == sha256(&presented.leaf)?, "{run}");
    }

    // The chain that was known is back: what was refused is over.
    move_to(&mut world, &other, &["second.pem"]).await?;
    world.sync().await?.success()?;
    ensure!(!warns(&world, kind).await?);
    Ok(())
}

#[tokio::test]
async fn an_index_of_an_unknown_dialect_is_mirrored_and_warned_of_until_it_is_one_again() -> Result<()> {
    let kind = "unknown_dialect";
    let index = "/web/secure/spa/posture-update.xml";
    let world = World::builder().build().await?;
    let feed = world.upstream().feed().context("a fake feed")?;
    let named: Vec<_> =
        feed.files.keys().map(|name| format!("and then {}", world.upstream().url_of(name.as_str()))).collect();
    world.upstream().answer(index, Raw::ok(format!("<notes><say>Get {}.</say></notes>", named.join(", "))));
    world.sync().await?.success()?;
    world.sync().await?.success()?;
    world.released(1).await?;
    let messages = warnings(&status(&world).await?, kind);
    ensure!(messages.len() == 1 && messages[0].contains("feed-server inspect"), "{messages:?}");
    ensure!(warns(&world, kind).await? && told(&world, kind)? == 1, "the log tells once");
    peers::promtool_check(&world.metrics_text().await?)?;

    world.upstream().restore(index);
    world.sync().await?.success()?;
    ensure!(!warns(&world, kind).await?);
    ensure!(warnings(&status(&world).await?, kind).is_empty());
    Ok(())
}

/// From the next start on, this is upstream, at the same host, and these roots are trusted besides the first one's.
async fn move_to(world: &mut World, upstream: &LabUpstream, roots: &[&str]) -> Result<()> {
    let anchors: Vec<_> = roots.iter().map(|root| toml::Value::from(*root)).collect();
    world.set("upstream", "trust_anchors", anchors)?;
    world.set("upstream", "url", upstream.url().as_str())?;
    world.stop_server().await?;
    world.start_server().await?;
    Ok(())
}
