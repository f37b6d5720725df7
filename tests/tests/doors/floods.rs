//! HTTP/2 by clients that mean harm: heads that unfold, streams without end, requests that are given up as they are made.

use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use certs::{Anchors, PinnedVerifier};
use h2::client::{Connection, SendRequest};
use http::Request;
use rustls_pki_types::ServerName;
use tests::world::{DEADLINE, World, wait_until};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::limits::ended;

/// An HTTP/2 connection; the task ends with it.
pub(crate) async fn connect(world: &World) -> Result<(SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>, usize)> {
    let address = world.server_url()?.socket_addrs(|| None)?[0];
    let pem = std::fs::read(world.server_ca().context("it answers by TLS")?)?;
    let mut config = certs::client_config(PinnedVerifier::new(Anchors::from(Anchors::from_pem(&pem, "the test's")?))?);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(address).await?;
    let stream = TlsConnector::from(Arc::new(config)).connect(ServerName::from(address.ip()), stream).await?;
    let (client, mut connection): (_, Connection<TlsStream<TcpStream>, Bytes>) =
        h2::client::Builder::new().initial_max_send_streams(1_000_000).handshake(stream).await?;
    let mut client = client.ready().await?;
    // Its settings are there with its first answer.
    let (answer, _) = client.send_request(get("/api/v1/openapi.json")?.body(())?, true)?;
    let answer = tokio::select! {
        answer = answer => answer?,
        ended = &mut connection => bail!("the connection ended: {ended:?}"),
    };
    ensure!(answer.status() == 200);
    let streams = connection.max_concurrent_send_streams();
    let task = tokio::spawn(connection);
    Ok((client, task, streams))
}

pub(crate) fn get(path: &str) -> Result<http::request::Builder> {
    Ok(Request::get(format!("https://localhost{path}")))
}

#[tokio::test]
async fn a_connection_has_a_hundred_streams_and_heads_that_unfold_are_refused() -> Result<()> {
    let world = World::builder().without_upstream().tls().build().await?;
    let (mut client, _task, streams) = connect(&world).await?;
    ensure!(streams == 100, "{streams} streams at once");
    // Two hundred times the same four kilobytes: some hundred bytes on the wire.
    let value = "a".repeat(3_900);
    let bomb = (0..200).fold(get("/api/v1/openapi.json")?, |request, _| request.header("x-bomb", &value));
    let (answer, _) = client.send_request(bomb.body(())?, true)?;
    // The connection may end by it just as well.
    if let Ok(answer) = answer.await {
        ensure!(answer.status() == 431, "{answer:?}");
    }
    let (mut client, _task, _) = connect(&world).await?;
    let long = format!("/{}", "a".repeat(9_000));
    let (answer, _) = client.send_request(get(&long)?.body(())?, true)?;
    ensure!(answer.await?.status() == 414);
    Ok(())
}

#[tokio::test]
async fn requests_that_are_given_up_as_they_are_made_end_the_connection_and_harm_nobody() -> Result<()> {
    let world = World::builder().without_upstream().tls().build().await?;
    let (mut client, task, _) = connect(&world).await?;
    let flooding = async {
        for _ in 0..1_000_000 {
            client = match client.ready().await {
                Ok(client) => client,
                Err(_) => return,
            };
            let Ok(request) = get("/api/v1/openapi.json").and_then(|request| Ok(request.body(())?)) else { return };
            let Ok((_, mut stream)) = client.send_request(request, true) else { return };
            stream.send_reset(h2::Reason::CANCEL);
            tokio::task::yield_now().await;
        }
    };
    let other = async {
        for _ in 0..20 {
            ensure!(world.get("api/v1/openapi.json").await?.status() == 200);
        }
        Ok(())
    };
    let ((), others) = tokio::join!(async { drop(tokio::time::timeout(DEADLINE, flooding).await) }, other);
    others?;
    let ended_by = tokio::time::timeout(DEADLINE, task).await.context("the server lets it flood")??;
    // Which of its limits it was first, the crate's or ours, hangs on how fast either side is.
    ensure!(ended_by.is_err(), "the server ends it");
    let closed = async || {
        let metrics = world.metrics().await;
        metrics
            .is_ok_and(|it| it.value("posture_feed_connections", &[("listener", "public")]).is_some_and(|it| it <= 2.0))
    };
    wait_until(DEADLINE, "the connection is gone", closed).await?;
    ensure!(ended(&world, "refused").await? == 0.0);
    Ok(())
}
