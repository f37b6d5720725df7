//! Increments as another implementation of RFC 9842 gets them: a browser's.

use anyhow::{Context, Result, ensure};
use bundles::{Digest, Manifest};
use tests::peers::{Chromium, Nginx};
use tests::world::{DEADLINE, World, wait_for};
use url::Url;

/// The payload that has the most rows.
const PAYLOAD: &str = "avchart-win.tar";

/// Fetches past every cache but the one for dictionaries, and gives the SHA-256 of what the page gets to see.
const FETCH: &str = "
    const answer = await fetch(args[0], { cache: 'reload' });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const digest = await crypto.subtle.digest('SHA-256', await answer.arrayBuffer());
    return Array.from(new Uint8Array(digest), byte => byte.toString(16).padStart(2, '0')).join('');
";

/// Below a server's URL: the path of a release's payload, and its digest.
async fn payload(world: &World, serial: u64) -> Result<(String, Digest)> {
    let show = ["release", "show", &serial.to_string(), "--json"];
    let manifest: Manifest = world.feed_server(show).await?.success()?.json()?;
    let mut files = manifest.components.iter().flat_map(|component| &component.files).map(|file| &file.payload);
    let file = files.find(|file| file.name.as_str() == PAYLOAD).context("the chart is in it")?;
    Ok((format!("repo/targets/{}", file.target_name()?.served_as(&file.sha256)), file.sha256))
}

async fn sent_by_increments(world: &World) -> Result<f64> {
    let sent = world.metrics().await?.value("posture_feed_sent_bytes_total", &[("encoding", "dcz")]);
    sent.context("it is counted from the start")
}

/// Fetches the payload of release 1, then that of release 2, below this URL, until that comes by an increment.
async fn gets_an_increment(world: &World, base: &Url) -> Result<()> {
    let ((old, old_sha256), (new, new_sha256)) = (payload(world, 1).await?, payload(world, 2).await?);
    ensure!(old_sha256 != new_sha256, "both releases have the same chart");
    // The host name that browsers take for secure without TLS.
    let mut base = base.clone();
    base.set_host(Some("localhost"))?;
    let (old, new) = (base.join(&old)?, base.join(&new)?);

    let chromium = Chromium::start().await?;
    // Any page of the server's own: what a script fetches from there is of the same origin.
    chromium.open(&base.join("repo/metadata/1.root.json")?).await?;
    let seen = chromium.run(FETCH, &[old.as_str()]).await?;
    ensure!(seen == old_sha256.to_string(), "the page sees {seen} for {old}");
    // A browser keeps a dictionary some time after the answer that it came with, and a server prepares an increment some time
    // after its release is visible; until both are so, the same content comes in other codings.
    let before = sent_by_increments(world).await?;
    let by_increment = async || -> Result<bool> {
        let seen = chromium.run(FETCH, &[new.as_str()]).await?;
        ensure!(seen == new_sha256.to_string(), "the page sees {seen} for {new}");
        Ok(sent_by_increments(world).await? > before)
    };
    let came = wait_for(DEADLINE, "the browser gets an increment", async || match by_increment().await {
        Ok(false) => None,
        other => Some(other),
    });
    came.await?.map(drop)?;
    let sent = sent_by_increments(world).await? - before;
    #[allow(clippy::cast_precision_loss, reason = "a chart has some kilobytes")]
    let whole = world.get(new.path().trim_start_matches("/feed")).await?.bytes().await?.len() as f64;
    ensure!(sent * 4.0 < whole, "{sent} bytes of increments for a payload of {whole}");
    Ok(())
}

async fn two_releases() -> Result<World> {
    let world = World::builder().build().await?;
    world.sync().await?.success()?;
    world.released(1).await?;
    world.upstream().publish_next()?;
    world.sync().await?.success()?;
    world.released(2).await?;
    Ok(world)
}

#[tokio::test]
async fn a_browser_gets_the_new_payload_by_an_increment() -> Result<()> {
    let world = two_releases().await?;
    gets_an_increment(&world, &world.server_url()?).await
}

/// The pattern says which URLs a dictionary is for, and the server does not know them all.
#[tokio::test]
async fn so_it_does_through_a_proxy_that_takes_a_prefix_away() -> Result<()> {
    let world = two_releases().await?;
    let more = format!("location /feed/ {{ proxy_pass {}; }}", world.server_url()?);
    let nginx = Nginx::start_fast(world.directory(), None, &more).await?;
    gets_an_increment(&world, &format!("http://{}/feed/", nginx.address()).parse()?).await
}
