//! What testssl.sh says of the server's TLS.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use tests::peers::testssl;
use tests::world::World;

use crate::certificate::{chain, write};
use crate::line::Line;

/// What it finds of a laboratory's chain, or of the machine that it runs on, and not of the server: by its name, its severity, and why.
const NOT_OF_THE_SERVER: [(&str, &str, &str); 4] = [
    (
        "cert_revocation",
        "HIGH",
        "the lab's authority publishes no list of revoked certificates; a site's own does or does not",
    ),
    (
        "HTTP_status_code",
        "WARN",
        "the console leads whoever is not logged in to where that is done (303), and testssl.sh expects pages, 301 or 302",
    ),
    (
        "engine_problem",
        "WARN",
        "testssl.sh could not load a GOST engine into its openssl: it looks for no GOST suites then",
    ),
    (
        "sessionresumption_ticket",
        "WARN",
        "its openssl hangs up as soon as the handshake is over, and TLS 1.3's ticket comes after it: on a busy machine it may not \
         have come, and then there is no session to come back with",
    ),
];

/// What it has to have looked at: a report that lacks these is none.
const LOOKED_AT: [&str; 11] = [
    "TLS1",
    "TLS1_1",
    "TLS1_2",
    "TLS1_3",
    "cipherlist_NULL",
    "cipherlist_3DES_IDEA",
    "cipher_order",
    "cert_chain_of_trust",
    "HSTS_time",
    "heartbleed",
    "secure_renego",
];

#[tokio::test(flavor = "multi_thread")]
async fn testssl_finds_nothing_above_low() -> Result<()> {
    // Valid for as long as public authorities issue by now: longer is a finding.
    let chain = chain(100 * 24)?;
    let mut world = World::builder().without_upstream().tls().stopped();
    world = world.set("listen", "tls_certificate", "v1/tls.crt").set("listen", "tls_key", "v1/tls.key");
    let mut world = world.build().await?;
    let ca = world.server_ca().context("it answers by TLS")?;
    std::fs::write(&ca, &chain.root.pem)?;
    write(&world.directory().join("v1"), &chain)?;
    world.start_server().await?;

    let (port, directory) = (world.server_url()?.port().context("a port")?, world.directory().to_owned());
    let findings = tokio::task::spawn_blocking(move || testssl(port, &ca, &directory)).await??;
    let looked: BTreeSet<&str> = findings.iter().map(|finding| finding.id.as_str()).collect();
    let lacking: Vec<_> = LOOKED_AT.iter().filter(|id| !looked.contains(*id)).collect();
    ensure!(lacking.is_empty(), "it did not look at {lacking:?} but at {looked:?}");
    let bad: Vec<_> = findings
        .iter()
        .filter(|finding| !matches!(finding.severity.as_str(), "OK" | "INFO" | "LOW"))
        .filter(|finding| {
            NOT_OF_THE_SERVER.iter().all(|(id, severity, _)| (*id, *severity) != (&finding.id, &finding.severity))
        })
        .collect();
    ensure!(bad.is_empty(), "{bad:#?}");
    // All of that has not kept it from answering.
    ensure!(Line::open(&world).await?.get("/api/v1/openapi.json").await?.status == 200);
    Ok(())
}
