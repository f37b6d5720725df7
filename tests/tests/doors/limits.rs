//! How large and how many: heads, bodies, connections.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::world::{DEADLINE, World, wait_until};

use crate::line::{Answer, Line};

const ENDED: &str = "posture_feed_connections_ended_total";

/// How often the public listener ended something for that.
pub(crate) async fn ended(world: &World, why: &str) -> Result<f64> {
    let metrics = world.metrics().await?;
    metrics.value(ENDED, &[("listener", "public"), ("why", why)]).context("it is counted from the start")
}

/// The URL path of the largest archive that is served.
pub(crate) fn largest(targets: &Path) -> Result<String> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(targets)? {
        let entry = entry?;
        files.push((entry.metadata()?.len(), entry.file_name().to_string_lossy().into_owned()));
    }
    let (_, name) = files.into_iter().filter(|(_, name)| name.ends_with(".gz")).max().context("there are archives")?;
    Ok(format!("/repo/targets/{name}"))
}

fn problem(answer: &Answer) -> Result<Value> {
    ensure!(answer.head.contains("content-type: application/problem+json"), "{}", answer.head);
    Ok(serde_json::from_slice(&answer.body)?)
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused_and_end_the_connection() -> Result<()> {
    let world = World::builder().without_upstream().build().await?;
    let many = |count: usize, length: usize| {
        let headers = (0..count).map(|number| format!("x-{number}: {}\r\n", "a".repeat(length)));
        format!("GET /healthz HTTP/1.1\r\nhost: lab\r\n{}\r\n", headers.collect::<String>())
    };
    let long = |length: usize| format!("GET /{} HTTP/1.1\r\nhost: lab\r\n\r\n", "a".repeat(length));
    for (what, request, statuses) in [
        ("a header of a megabyte", many(1, 1 << 20), [431, 431]),
        ("ten thousand headers", many(10_000, 10), [400, 431]),
        ("a URL of a megabyte", long(1 << 20), [414, 431]),
        ("a URL of a hundred kilobytes", long(100_000), [400, 414]),
    ] {
        let mut line = Line::open(&world).await?;
        // The server may have hung up before all of it was sent.
        let _ = line.send(request).await;
        if let Ok(answer) = line.answer().await {
            ensure!(statuses.contains(&answer.status), "{what}: {answer:?}");
        }
        ensure!(line.ended().await?, "{what}: the connection goes on");
    }
    for (what, request, status) in
        [("a URL of nine kilobytes", long(9_000), 414), ("forty kilobytes of headers", many(20, 2_000), 431)]
    {
        let mut line = Line::open(&world).await?;
        line.send(request).await?;
        let answer = line.answer().await?;
        ensure!(answer.status == status && answer.head.contains("connection: close"), "{what}: {answer:?}");
        ensure!(problem(&answer)?["reason"] == "too_large", "{what}: {answer:?}");
        ensure!(line.ended().await?, "{what}: the connection goes on");
    }
    ensure!(world.get("healthz").await?.status() == 200);
    Ok(())
}

#[tokio::test]
async fn every_route_that_takes_a_body_has_a_limit_for_it() -> Result<()> {
    let world = World::builder().without_upstream().headends(1).set("bundles", "max_upload", 100_000).build().await?;
    world.enroll(0).await?;
    let token =
        world.feed_server(["token", "add", "boss", "--scope", "admin"]).await?.success()?.stdout.trim().to_owned();
    let headend = std::fs::read_to_string(world.headend(0).token_file())?.trim().to_owned();
    let description: Value =
        serde_json::from_slice(&Line::open(&world).await?.get("/api/v1/openapi.json").await?.body)?;
    let mut seen = Vec::new();
    for (template, methods) in description["paths"].as_object().context("paths")? {
        for (method, operation) in methods.as_object().context("methods")? {
            if operation["requestBody"].is_null() {
                continue;
            }
            // An origin makes its own releases, and takes no others.
            let template = &template.replace("/imports", "/imports?kind=vendor-zip");
            let path = template
                .replace("{id}", "headend-1")
                .replace("{name}", "a")
                .replace("{repository}", "online")
                .replace("{serial}", "1");
            let token = if template.ends_with("/report") { &headend } else { &token };
            let head = |authorization: &str| {
                format!(
                    "{} {path} HTTP/1.1\r\nhost: lab\r\ncontent-type: application/json\r\n{authorization}\
                     content-length: 20000000\r\n\r\n",
                    method.to_uppercase()
                )
            };
            let mut line = Line::open(&world).await?;
            line.send(head(&format!("authorization: Bearer {token}\r\n"))).await?;
            let _ = line.send([b"{".as_slice(), &vec![b' '; 19_999_999]].concat()).await;
            let answer = line.answer().await.with_context(|| format!("{method} {path}"))?;
            ensure!(answer.status == 413, "{method} {path}: {answer:?}");
            ensure!(problem(&answer)?["reason"] == "too_large", "{method} {path}: {answer:?}");
            // Nobody without a token makes the server read anything at all. (A wrong one is slowed down, after some.)
            let mut line = Line::open(&world).await?;
            line.send(head("")).await?;
            ensure!(line.answer().await?.status == 401, "{method} {path}");
            seen.push(path);
        }
    }
    ensure!(seen.len() >= 5, "the description names those that take one: {seen:?}");
    // A body where none is expected is not read either.
    let mut line = Line::open(&world).await?;
    line.send("GET /healthz HTTP/1.1\r\nhost: lab\r\ncontent-length: 1000000000\r\n\r\n").await?;
    ensure!(line.answer().await?.status == 200 && line.ended().await?);
    Ok(())
}

#[tokio::test]
async fn who_is_idle_the_longest_makes_room_for_who_asks() -> Result<()> {
    let world = World::builder().without_upstream().metrics_listener().set("limits", "connections", 64).build().await?;
    let mut first = Line::open(&world).await?;
    ensure!(first.get("/api/v1/openapi.json").await?.status == 200);
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(Line::open(&world).await?);
    }
    for _ in 0..20 {
        let mut line = Line::open(&world).await?;
        ensure!(line.get("/api/v1/openapi.json").await?.status == 200);
    }
    ensure!(first.ended().await?, "it was idle for longer than all others");
    ensure!(ended(&world, "crowded").await? >= 100.0);
    let open = async || {
        let metrics = world.metrics().await;
        metrics.is_ok_and(|it| {
            it.value("posture_feed_connections", &[("listener", "public")]).is_some_and(|it| it <= 64.0)
        })
    };
    wait_until(DEADLINE, "no more are open than there may be", open).await
}
