//! Clients that are slow on purpose: each costs a connection for a while, and no more.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bundles::fake::Options;
use bytes::Bytes;
use http::Request;
use serde_json::Value;
use tests::lab::LabUpstream;
use tests::world::{DEADLINE, World, WorldBuilder, wait_until};

use crate::floods::{connect, get};
use crate::limits::ended;
use crate::line::Line;

/// A minute becomes six seconds, and ten seconds for a head one.
const IMPATIENCE: (&str, &str) = ("POSTURE_FEED_TIMEOUTS_DIVIDED_BY", "10");

fn impatient(world: WorldBuilder) -> WorldBuilder {
    world.env(IMPATIENCE.0, IMPATIENCE.1)
}

/// Between two bytes: short against every patience, and far below the rate that is asked for.
#[allow(clippy::disallowed_methods, reason = "slowness is what these clients are for")]
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}

/// Sends byte by byte until the server has had enough.
async fn dribble(line: &mut Line, bytes: &[u8]) -> Result<()> {
    let dribbling = async {
        for byte in bytes.iter().cycle() {
            if line.send([*byte]).await.is_err() || line.has_answer().await {
                break;
            }
            a_moment().await;
        }
    };
    tokio::time::timeout(DEADLINE, dribbling).await.context("the server waits for ever")
}

async fn noted(world: &World, why: &str, times: f64) -> Result<()> {
    let noted = async || ended(world, why).await.is_ok_and(|count| count >= times);
    wait_until(DEADLINE, &format!("{why} is noted {times} times"), noted).await
}

#[tokio::test]
async fn heads_have_to_come_whether_the_first_or_the_tenth() -> Result<()> {
    let world = impatient(World::builder().without_upstream()).build().await?;
    // The first is answered with 408, as long as there is anybody to read it.
    let mut first = Line::open(&world).await?;
    dribble(&mut first, b"GET /healthz HTTP/1.1\r\nx-slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
        .await?;
    ensure!(first.answer().await.is_ok_and(|answer| answer.status == 408) && first.ended().await?);
    let mut later = Line::open(&world).await?;
    ensure!(later.get("/healthz").await?.status == 200);
    dribble(&mut later, b"GET /healthz HTTP/1.1\r\nx-slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
        .await?;
    ensure!(later.ended().await?);
    noted(&world, "slow_head", 1.0).await?;
    // And nobody stays without asking.
    let mut idle = Line::open(&world).await?;
    ensure!(idle.get("/healthz").await?.status == 200 && idle.ended().await?);
    Ok(())
}

#[tokio::test]
async fn many_who_dribble_heads_harm_no_poll() -> Result<()> {
    let world = impatient(World::builder().without_upstream()).build().await?;
    let (address, mut dribbling) = (world.server_url()?.socket_addrs(|| None)?[0], tokio::task::JoinSet::new());
    for _ in 0..100 {
        dribbling.spawn(async move {
            let mut line = Line::plain(address).await?;
            dribble(&mut line, b"GET / HTTP/1.1\r\nx-slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa").await?;
            line.ended().await
        });
    }
    for _ in 0..100 {
        ensure!(Line::open(&world).await?.get("/healthz").await?.status == 200);
    }
    while let Some(ended) = dribbling.join_next().await {
        ensure!(ended??, "one goes on");
    }
    Ok(())
}

#[tokio::test]
async fn bodies_have_to_come_reports_and_uploads_alike() -> Result<()> {
    let world = impatient(World::builder().without_upstream().headends(1).tls()).build().await?;
    world.enroll(0).await?;
    let report = std::fs::read_to_string(world.headend(0).token_file())?.trim().to_owned();
    let import = world.operators_token("carrier").await?;
    for (times, request) in [
        (1.0, format!("PUT /api/v1/headends/headend-1/report HTTP/1.1\r\nauthorization: Bearer {report}\r\n")),
        (2.0, format!("POST /api/v1/imports?kind=vendor-zip HTTP/1.1\r\nauthorization: Bearer {import}\r\n")),
    ] {
        let mut line = Line::open(&world).await?;
        line.send(format!("{request}host: lab\r\ncontent-length: 9000\r\n\r\nPK\x03\x04")).await?;
        dribble(&mut line, b"a").await?;
        let answer = line.answer().await?;
        ensure!(answer.status == 408, "{answer:?}");
        let problem: Value = serde_json::from_slice(&answer.body)?;
        ensure!(problem["reason"] == "timeout", "{problem}");
        ensure!(line.ended().await?);
        noted(&world, "slow_body", times).await?;
    }
    // HTTP/2 as well, where the connection goes on for others.
    let (mut client, _task, _) = connect(&world).await?;
    let put = Request::put("https://localhost/api/v1/headends/headend-1/report");
    let put = put.header("authorization", format!("Bearer {report}")).body(())?;
    let (mut answer, mut body) = client.send_request(put, false)?;
    let answer = loop {
        tokio::select! {
            answer = &mut answer => break answer?,
            () = a_moment() => drop(body.send_data(Bytes::from_static(b"a"), false)),
        }
    };
    ensure!(answer.status() == 408, "{answer:?}");
    let (answer, _) = client.send_request(get("/api/v1/openapi.json")?.body(())?, true)?;
    ensure!(answer.await?.status() == 200);
    noted(&world, "slow_body", 3.0).await?;
    let imports = world.get_as(&import, "api/v1/imports").await?.text().await?;
    ensure!(imports.contains("timeout"), "what became of the upload is recorded: {imports}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_have_to_be_taken_by_every_protocol() -> Result<()> {
    for tls in [false, true] {
        // Larger than what the system keeps for a connection on both of its ends.
        let lab = LabUpstream::builder().options(Options { padding: 40_000_000, ..Options::small() });
        let world = impatient(World::builder().upstream(lab));
        let world = if tls { world.tls() } else { world.metrics_listener() }.build().await?;
        world.sync().await?.success()?;
        world.released(1).await?;
        let path = crate::limits::largest(&world.data().join("tree/repo/targets"))?;
        let mut line = Line::open(&world).await?;
        line.send(format!("GET {path} HTTP/1.1\r\nhost: lab\r\n\r\n")).await?;
        noted(&world, "slow_reader", 1.0).await?;
        drop(line);
        if !tls {
            continue;
        }
        // A stream that is not read, on a connection that is.
        let (mut client, _task, _) = connect(&world).await?;
        let (answer, _) = client.send_request(get(&path)?.body(())?, true)?;
        let mut unread = answer.await?.into_body();
        noted(&world, "slow_reader", 2.0).await?;
        // What is there already, and then no more.
        while let Some(Ok(_)) = unread.data().await {}
        let (answer, _) = client.send_request(get("/api/v1/openapi.json")?.body(())?, true)?;
        ensure!(answer.await?.status() == 200, "the connection goes on for others");
    }
    Ok(())
}
