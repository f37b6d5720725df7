//! Real web servers as upstream, nginx and `openssl s_server`: what of TLS and HTTP is accepted, and what is refused in which
//! words. What our own lab upstream does wrong is in `reasons/runs.rs`.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use bundles::fake::{Edition, Feed, Options};
use certs::lab::{Chain, Keys, Presented};
use jiff::{Timestamp, ToSpan as _};
use serde_json::Value;
use tests::lab::{DIRECTORY, Fault, INDEX, LabUpstream};
use tests::peers::{Nginx, SServer, nginx, s_server};
use tests::world::{World, shows_edition};
use url::Url;

/// A small feed as files, at the vendor's paths. `archives` is where the index says that they are.
fn write_feed(root: &Path, archives: &Url) -> Result<()> {
    let feed = Feed::make(&Edition::before(), &Options::small());
    let directory = root.join(DIRECTORY.trim_matches('/'));
    std::fs::create_dir_all(&directory)?;
    for (name, bytes) in &feed.files {
        std::fs::write(directory.join(name.as_str()), bytes)?;
    }
    Ok(std::fs::write(directory.join(INDEX), feed.index(archives))?)
}

fn at(host: &str, port: u16, name: &str) -> Result<Url> {
    Ok(format!("https://{host}:{port}{DIRECTORY}{name}").parse()?)
}

fn ecdsa() -> certs::lab::ChainBuilder {
    Chain::builder().loopback().keys(Keys::Ecdsa)
}

/// What a server that speaks exactly these versions with this chain is, for either make.
#[derive(Clone, Copy)]
enum Make {
    Nginx,
    SServer,
}

/// A running server of either make.
enum Server {
    Nginx(Nginx),
    SServer(Box<SServer>),
}

impl Make {
    const BOTH: [Self; 2] = [Self::Nginx, Self::SServer];

    /// `version` is `1.2`, `1.3`, or nothing for both.
    async fn start(self, root: &Path, chain: &Chain, version: Option<&str>) -> Result<Server> {
        match self {
            Self::Nginx => {
                let protocols = version.map_or("TLSv1.2 TLSv1.3".to_owned(), |version| format!("TLSv{version}"));
                let presented = chain.presented_pem();
                let tls = nginx::Tls { chain: &presented, key: chain.leaf_key_pem(), protocols: &protocols };
                Ok(Server::Nginx(Nginx::start(root, tls, "").await?))
            }
            Self::SServer => {
                let version = version.map(|version| format!("-tls{}", version.replace('.', "_")));
                let presented = chain.presented_pem();
                let others = presented.strip_prefix(&chain.leaf.pem).context("the leaf comes first")?;
                let presented = s_server::Presented {
                    leaf: &chain.leaf.pem,
                    others,
                    key: chain.leaf_key_pem(),
                    version: version.as_deref(),
                };
                Ok(Server::SServer(Box::new(SServer::start(root, presented).await?)))
            }
        }
    }
}

impl Server {
    fn port(&self) -> u16 {
        match self {
            Self::Nginx(server) => server.address().port(),
            Self::SServer(server) => server.address().port(),
        }
    }
}

/// A mirror of that server, which trusts the chain's root.
async fn mirror(server: &Server, root: &Path, chain: &Chain) -> Result<World> {
    let index = at("localhost", server.port(), INDEX)?;
    write_feed(root, &index)?;
    let world = World::builder().upstream_at(&index, &["root.pem"]).stopped().build().await?;
    std::fs::write(world.directory().join("root.pem"), &chain.root.pem)?;
    Ok(world)
}

/// It is accepted, and what comes is the feed.
async fn accepted(make: Make, chain: &Chain, version: Option<&str>) -> Result<()> {
    let files = tempfile::tempdir()?;
    let server = make.start(files.path(), chain, version).await?;
    let world = mirror(&server, files.path(), chain).await?;
    world.sync().await?.success()?;
    shows_edition(&world.feed_server(["status"]).await?.success()?.stdout, &Edition::before())
}

/// It is refused for a reason of that exit code, in these words.
async fn refused(make: Make, chain: &Chain, reason: &str, says: &[&str]) -> Result<()> {
    let files = tempfile::tempdir()?;
    let server = make.start(files.path(), chain, None).await?;
    let world = mirror(&server, files.path(), chain).await?;
    let refused = world.sync().await?.failed_with(12)?;
    ensure!(refused.stderr.contains(&format!("({reason})")), "{refused}");
    for part in says {
        ensure!(refused.stderr.contains(part), "{part:?} is missing in {refused}");
    }
    Ok(())
}

#[tokio::test]
async fn tls_1_2_alone_and_1_3_alone() -> Result<()> {
    let chain = ecdsa().build()?;
    for make in Make::BOTH {
        for version in ["1.2", "1.3"] {
            accepted(make, &chain, Some(version)).await.context(version)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn tls_1_1_is_refused_and_said_so() -> Result<()> {
    let files = tempfile::tempdir()?;
    let chain = ecdsa().build()?;
    let presented = chain.presented_pem();
    let tls = nginx::Tls { chain: &presented, key: chain.leaf_key_pem(), protocols: "TLSv1.1" };
    let server = Server::Nginx(Nginx::start(files.path(), tls, "ssl_ciphers ALL:@SECLEVEL=0;").await?);
    let world = mirror(&server, files.path(), &chain).await?;
    let refused = world.sync().await?.failed_with(12)?;
    ensure!(refused.stderr.contains("TLS 1.2"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn leaves_of_both_kinds_of_keys() -> Result<()> {
    for keys in [Keys::Rsa, Keys::Ecdsa] {
        let chain = Chain::builder().loopback().keys(keys).build()?;
        for make in Make::BOTH {
            accepted(make, &chain, None).await.with_context(|| format!("{keys:?}"))?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_order_of_the_servers_own_and_certificates_that_nobody_needs() -> Result<()> {
    for presented in [Presented::WrongOrder, Presented::WithExtras, Presented::WithoutRoot] {
        let chain = ecdsa().presented(presented).build()?;
        for make in Make::BOTH {
            accepted(make, &chain, None).await.with_context(|| format!("{presented:?}"))?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_missing_intermediate_is_named() -> Result<()> {
    for presented in [Presented::WithoutIntermediate, Presented::LeafOnly] {
        let chain = ecdsa().presented(presented).build()?;
        for make in Make::BOTH {
            refused(
                make,
                &chain,
                "tls_untrusted",
                &["localhost:", "incomplete", "HydrantID Server CA O1", "send that certificate"],
            )
            .await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn expired_not_yet_valid_and_for_another_name() -> Result<()> {
    let ended = Timestamp::from_second(1_735_689_600)?;
    let expired = ecdsa().valid(ended - 2_000.hours(), ended).build()?;
    refused(Make::Nginx, &expired, "tls_expired", &["2025-01-01", "clock", "NTP"]).await?;
    let begins = Timestamp::from_second(4_000_000_000)?;
    let later = ecdsa().valid(begins, begins + 2_000.hours()).ca_valid(ended - 2_000.hours(), begins + 9_000.hours());
    refused(Make::SServer, &later.build()?, "tls_expired", &["2096-10-02", "clock", "NTP"]).await?;
    let other = Chain::builder().keys(Keys::Ecdsa).names(["feed.example.com", "192.0.2.7"]).build()?;
    for make in Make::BOTH {
        refused(make, &other, "tls_name", &["localhost", "feed.example.com", "192.0.2.7"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn archives_on_a_second_host_under_another_root() -> Result<()> {
    let (first, second) = (ecdsa().build()?, ecdsa().root_named("Example Archive Root").build()?);
    let files = tempfile::tempdir()?;
    let index_server = Make::Nginx.start(files.path(), &first, None).await?;
    let archive_server = Make::Nginx.start(files.path(), &second, None).await?;
    let index = at("localhost", index_server.port(), INDEX)?;
    write_feed(files.path(), &at("127.0.0.1", archive_server.port(), "")?)?;

    let mut world = World::builder().upstream_at(&index, &["root.pem"]).stopped().build().await?;
    std::fs::write(world.directory().join("root.pem"), &first.root.pem)?;
    std::fs::write(world.directory().join("archives.pem"), &second.root.pem)?;
    let refused = world.sync().await?.failed_with(14)?;
    ensure!(refused.stderr.contains("127.0.0.1") && refused.stderr.contains("allowed_hosts"), "{refused}");

    world.set("upstream", "allowed_hosts", vec!["127.0.0.1"])?;
    let refused = world.sync().await?.failed_with(12)?;
    ensure!(refused.stderr.contains("Example Archive Root") && refused.stderr.contains("127.0.0.1"), "{refused}");

    let table = |anchors: &str| -> toml::Value {
        let mut table = toml::Table::new();
        table.insert("host".to_owned(), "127.0.0.1".into());
        table.insert("trust_anchors".to_owned(), vec![anchors].into());
        vec![toml::Value::Table(table)].into()
    };
    world.set("upstream", "allowed_hosts", table("archives.pem"))?;
    world.sync().await?.success()?;
    shows_edition(&world.feed_server(["status"]).await?.success()?.stdout, &Edition::before())?;

    // What either host presented is kept.
    let status: Value = world.feed_server(["status", "--json"]).await?.success()?.json()?;
    let chains = status["upstream_chain"]["chains"].as_array().context("chains")?;
    let seen: Vec<_> = chains.iter().map(|chain| (&chain["host"], &chain["role"], &chain["trusted"])).collect();
    let (index, archives, trusted) = ("index".into(), "archives".into(), true.into());
    let hosts = ["localhost".into(), "127.0.0.1".into()];
    ensure!(seen == [(&hosts[0], &index, &trusted), (&hosts[1], &archives, &trusted)], "{status:#}");
    world.start_server().await?;
    let metrics = world.metrics().await?;
    for (role, position) in [("index", "0"), ("index", "2"), ("archives", "0"), ("archives", "2")] {
        let labels = [("host_role", role), ("position", position)];
        let ends = metrics.value("posture_feed_upstream_certificate_not_after_timestamp_seconds", &labels);
        ensure!(ends.is_some_and(|ends| ends > 1.7e9), "{labels:?}: {ends:?}");
    }
    world.stop_server().await?;

    // Each root vouches for its own host: the second one not for the index.
    world.set("upstream", "trust_anchors", vec!["archives.pem"])?;
    let refused = world.sync().await?.failed_with(12)?;
    ensure!(refused.stderr.contains("localhost:"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn nginx_is_asked_with_conditions_and_answers_304() -> Result<()> {
    let files = tempfile::tempdir()?;
    let chain = ecdsa().build()?;
    let server = Make::Nginx.start(files.path(), &chain, None).await?;
    let world = mirror(&server, files.path(), &chain).await?;
    world.sync().await?.success()?;
    let Server::Nginx(nginx) = &server else { unreachable!("it was asked for") };
    let first = nginx.access_log()?;
    ensure!(first.len() == 7 && first.iter().all(|access| access.status == Some(200)), "{first:?}");
    let again = world.sync().await?.success()?;
    ensure!(again.stdout.contains("up to date"), "{again}");
    let later = nginx.access_log()?.split_off(first.len());
    ensure!(!later.is_empty() && later.iter().all(|access| access.status == Some(304)), "{later:?}");
    Ok(())
}

#[tokio::test]
async fn what_is_odd_but_whole_is_taken() -> Result<()> {
    for fault in [Fault::Chunked, Fault::GzipEncoded] {
        let world = World::builder().stopped().build().await?;
        world.upstream().break_with(fault)?;
        world.sync().await?.success().with_context(|| fault.to_string())?;
        shows_edition(&world.feed_server(["status"]).await?.success()?.stdout, &Edition::before())?;
    }
    Ok(())
}

#[tokio::test]
async fn a_download_that_broke_off_goes_on_and_begins_anew_where_the_file_changed() -> Result<()> {
    for (fault, status) in [(Fault::CutOnce, 206), (Fault::ChangedMeanwhile, 200)] {
        // Large enough that halves are not taken for nothing.
        let options = Options { padding: 1 << 20, ..Options::small() };
        let world = World::builder().stopped().upstream(LabUpstream::builder().options(options)).build().await?;
        world.upstream().break_with(fault)?;
        world.sync().await?.success().with_context(|| fault.to_string())?;
        let requests = world.upstream().requests();
        let resumed: Vec<_> = requests.iter().filter(|request| request.range.is_some()).collect();
        ensure!(!resumed.is_empty(), "{fault}: {requests:#?}");
        ensure!(resumed.iter().all(|request| request.status == status), "{fault}: {resumed:#?}");
        shows_edition(&world.feed_server(["status"]).await?.success()?.stdout, &Edition::before())?;
    }
    Ok(())
}
