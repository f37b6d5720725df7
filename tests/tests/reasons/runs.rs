//! Update runs of the server that fail. Each leaves the served release and the time of the last success as they were, leaves
//! nothing in staging, and raises the counter of its own reason, by one, and no other.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use bundles::Reason;
use bundles::fake::{Edition, Options};
use certs::lab::{Chain, ChainBuilder, Keys, Usage};
use jiff::{Timestamp, ToSpan as _};
use serde_json::Value;
use tests::lab::{DIRECTORY, Fault, INDEX, LabBuilder, LabUpstream, Raw};
use tests::peers::Clogged;
use tests::world::{World, WorldBuilder};

/// Accidents after which a run goes well; `upstreams.rs` and `accidents.rs` show how.
pub(super) const HARMLESS: &[Fault] = &[
    Fault::Slow,
    Fault::TraversalLocator,
    Fault::CutOnce,
    Fault::ChangedMeanwhile,
    Fault::Chunked,
    Fault::GzipEncoded,
];

rows! {
    // The network.
    a_name_that_does_not_resolve: Dns => Run::new(["no-such-host.invalid", "UDP 53"], async |world| {
        configured(world, &[("upstream", "url", "https://no-such-host.invalid/posture-update.xml")]).await
    });
    away: Connect => accident(Fault::Away, ["localhost:", "firewall"]);
    a_port_that_drops_what_comes: Timeout => Run::new(["127.0.0.1:", "accept a connection"], async |world: &mut World| {
        let port = Clogged::port().await?;
        let url = format!("https://{}{DIRECTORY}{INDEX}", port.address());
        configured(world, &[("upstream", "url", &url)]).await?;
        Ok(port)
    }).impatient();
    mute: Timeout => accident(Fault::Mute, ["localhost:", "complete a TLS handshake"]).impatient();
    unanswered: Timeout => accident(Fault::Unanswered, ["localhost:", "did not answer within"]).impatient();
    stalled: Timeout => accident(Fault::Stalled, ["localhost", "send more"]).impatient();
    trickle: Timeout => accident(Fault::Trickle, [".gz", "bytes per second"]).impatient();

    // TLS.
    another_root: TlsUntrusted => instead(
        Chain::builder().loopback().root_named("Example Root"), ["localhost:", "Example Root", "trust_anchors"],
    );
    a_root_of_the_trusted_name: TlsUntrusted => instead(
        Chain::builder().loopback(), ["localhost:", "IdenTrust Commercial Root CA 1", "do not trust it"],
    );
    a_certificate_for_clients: TlsUntrusted => instead(
        Chain::builder().loopback().usage(Usage::ClientOnly), ["localhost:", "server"],
    ).trusting_it();
    a_certificate_of_last_year: TlsExpired => instead(
        expired(Chain::builder().loopback()), ["localhost:", "clock", "NTP"],
    ).trusting_it();
    a_certificate_for_another_name: TlsName => instead(Chain::builder(), ["localhost:", "www.cisco.com", "[upstream] url"]).trusting_it();

    // HTTP.
    not_found: HttpStatus => accident(Fault::NotFound, ["posture-update.xml", "404"]);
    server_error: HttpStatus => accident(Fault::ServerError, ["posture-update.xml", "500"]);
    redirect_loop: HttpStatus => accident(Fault::RedirectLoop, ["posture-update.xml", "redirected"]);
    rate_limited: RateLimited => accident(Fault::RateLimited, ["429", "fewer requests"]);
    a_pause_that_has_not_ended: Cooldown => Run::new(["left alone until", "429", "--ignore-cooldown"], async |world| {
        world.upstream().break_with(Fault::RateLimited)?;
        world.sync().await?.failed_with(13)?;
        world.upstream().mend()?;
        Ok(())
    });
    redirect_to_http: HostNotAllowed => accident(Fault::RedirectToHttp, ["http://localhost", "not https"]);
    redirect_elsewhere: HostNotAllowed => accident(Fault::RedirectElsewhere, ["elsewhere.example", "allowed_hosts"]);

    // The index.
    html_page: NotAFeed => accident(Fault::HtmlPage, ["posture-update.xml", "an HTML page", "login page"]);
    no_feed_at_all: NotAFeed => Run::new(["posture-update.xml"], async |world: &mut World| {
        world.upstream().answer(&format!("{DIRECTORY}{INDEX}"), Raw::ok("# Moved to the new portal."));
        Ok(())
    });
    undefined_entity: NotAFeed => accident(Fault::UndefinedEntity, ["undefined"]);
    billion_laughs: NotAFeed => accident(Fault::BillionLaughs, ["l9"]);
    foreign_host: HostNotAllowed => accident(Fault::ForeignHost, ["elsewhere.example", "allowed_hosts"]);
    ten_thousand_entries: TooLarge => accident(Fault::TenThousandEntries, ["1000 entries", "[limits]"]);

    // The archives.
    truncated: Truncated => accident(Fault::Truncated, [".gz", "cut off"]);
    half_closed: Truncated => accident(Fault::HalfClosed, [".gz", "cut off"]);
    reset: Truncated => accident(Fault::Reset, [".gz", "cut off"]);
    length_too_long: DigestMismatch => accident(Fault::LengthTooLong, [".gz", "the index promises"]);
    length_too_short: Truncated => accident(Fault::LengthTooShort, [".gz", "the index promises"]);
    a_length_that_nobody_contradicts: Truncated => Run::new(["osgroups.tar.gz", "cut off"], async |world| {
        let feed = world.upstream().feed().context("a fake feed")?;
        let archive = feed.files.iter().find(|(name, _)| name.as_str() == "osgroups.tar.gz").context("osgroups")?.1;
        let headers = vec![("Content-Length".to_owned(), (archive.len() + 1000).to_string())];
        only_osgroups(world, Raw { headers, ..Raw::ok(archive.clone()) });
        Ok(())
    });
    wrong_checksum: DigestMismatch => accident(Fault::WrongChecksum, [".gz"]);
    ten_gigabytes: TooLarge => accident(Fault::TenGigabytes, ["10000000000", "archive_bytes"]);
    gzip_bomb: TooLarge => accident(Fault::GzipBomb, ["limit"]);
    an_archive_that_is_none: BadArchive => Run::new(["osgroups.tar.gz"], async |world| {
        only_osgroups(world, Raw::ok("neither gzip nor tar"));
        Ok(())
    });
    a_login_page_in_the_place_of_an_archive: NotAFeed => Run::new(["osgroups.tar.gz", "login page"], async |world| {
        only_osgroups(world, Raw::ok("<!DOCTYPE html>\n<html><body>Please log in to continue.</body></html>"));
        Ok(())
    });
    a_feed_beyond_what_a_run_may_take: TooLarge => Run::new(["together", "run_bytes"], async |world: &mut World| {
        configured(world, &[("limits", "run_bytes", "1KiB")]).await
    });
    an_older_version: VersionRollback => Run::new(["--accept-version-rollback"], async |world| {
        world.sync().await?.success()?;
        world.upstream().publish(Edition::before())?;
        Ok(())
    });

    // This machine.
    nowhere_to_put_archives: Storage => Run::new(["staging"], async |world| {
        let staging = world.data().join("staging");
        std::fs::remove_dir_all(&staging)?;
        std::fs::write(staging, "a file where a directory was")?;
        Ok(())
    });
}

/// A run that is to fail.
pub(super) struct Run<const N: usize, B> {
    builder: WorldBuilder,
    breaks: B,
    says: [&'static str; N],
    heals: bool,
}

impl<const N: usize, B: AsyncFnOnce(&mut World) -> Result<K>, K> Run<N, B> {
    /// `says` is what the sentence names: what happened to what, and what to do.
    pub(super) fn new(says: [&'static str; N], breaks: B) -> Self {
        // Keys that are made in a millisecond: the chain's shape matters in `upstreams.rs`.
        let upstream = LabUpstream::builder().options(Options::small()).chain(chain(Chain::builder().loopback()));
        Self { builder: World::builder().upstream(upstream), breaks, says, heals: false }
    }

    pub(super) fn impatient(mut self) -> Self {
        self.builder = self.builder.impatient();
        self
    }

    pub(super) async fn shows(self, reason: Reason) -> Result<()> {
        let mut world = self.builder.build().await?;
        world.sync().await?.success()?;
        // Something is new from here on, so that the run has to fetch.
        world.upstream().publish(Edition::after())?;
        let kept = (self.breaks)(&mut world).await?;
        let before = Seen::of(&world).await?;

        let failed = world.sync().await?;
        ensure!(failed.code() == Some(i32::from(reason.exit_code())), "{reason} was to be expected, but: {failed}");
        ensure!(failed.stderr.contains(&format!("({reason})")), "{failed}");
        for part in self.says {
            ensure!(failed.stderr.contains(part), "{part:?} is missing in: {failed}");
        }
        let status: Value = world.feed_server(["status", "--json"]).await?.success()?.json()?;
        let told = &status["last_failure"];
        ensure!(told["reason"] == reason.as_str() && told["result"] == reason.as_str(), "{told}");
        let message = told["message"].as_str().context("a sentence")?;
        ensure!(failed.stderr.contains(message), "the API says {message:?}, and the terminal: {failed}");
        // The same by the network, as a console or a monitoring program asks.
        let token = world.feed_server(["token", "add", "reasons", "--scope", "read"]).await?.success()?.stdout;
        let told: Value = world.get_as(&token, "api/v1/sync").await?.error_for_status()?.json().await?;
        ensure!(told["last"]["reason"] == reason.as_str() && told["last"]["message"] == message, "{told}");
        let log = std::fs::read_to_string(world.server_log())?;
        let logged = log.lines().any(|line| line.contains("Posture update failed") && line.contains(reason.as_str()));
        ensure!(logged, "{log}");

        let after = Seen::of(&world).await?;
        ensure!(after.served == before.served, "what is served has changed");
        ensure!(after.success.is_some() && after.success == before.success, "{:?} {:?}", before.success, after.success);
        let raised: BTreeMap<&str, f64> = after
            .counts
            .iter()
            .map(|(result, count)| (result.as_str(), count - before.counts.get(result).copied().unwrap_or(0.0)))
            .filter(|(_, raised)| *raised != 0.0)
            .collect();
        ensure!(raised == BTreeMap::from([(reason.as_str(), 1.0)]), "raised: {raised:?}");
        let last = [("result", reason.as_str())];
        ensure!(world.metrics().await?.value("posture_feed_last_attempt_result", &last) == Some(1.0));
        ensure!(staged(&world.data().join("staging"))? == 0, "files are left in staging");
        drop(kept);
        if self.heals {
            world.upstream().mend()?;
            // Who asked for a pause need not be waited for where an operator knows better.
            let flag = if reason == Reason::RateLimited { &["--ignore-cooldown"][..] } else { &[] };
            world.sync_with(flag).await?.success()?;
            world.released(2).await?;
        }
        world.stop_server().await?;
        Ok(())
    }
}

/// What must not change, and what is counted.
struct Seen {
    served: [Vec<u8>; 2],
    success: Option<f64>,
    counts: BTreeMap<String, f64>,
}

impl Seen {
    async fn of(world: &World) -> Result<Self> {
        let get = async |path| anyhow::Ok(world.get(path).await?.bytes().await?.to_vec());
        let metrics = world.metrics().await?;
        let results = metrics.all("posture_feed_sync_total");
        Ok(Self {
            served: [get("repo/metadata/timestamp.json").await?, get("web/secure/spa/posture-update.xml").await?],
            success: metrics.value("posture_feed_last_success_timestamp_seconds", &[]),
            counts: results.map(|sample| (sample.labels["result"].clone(), sample.value)).collect(),
        })
    }
}

/// An accident of the lab upstream, and the healing after it.
fn accident<const N: usize>(
    fault: Fault,
    says: [&'static str; N],
) -> Run<N, impl AsyncFnOnce(&mut World) -> Result<()>> {
    let breaks = async move |world: &mut World| world.upstream().break_with(fault);
    Run { heals: true, ..Run::new(says, breaks) }
}

/// Another upstream in the place of the first, with this chain.
fn instead<const N: usize>(chain_of: ChainBuilder, says: [&'static str; N]) -> Instead<N> {
    Instead { chain_of, says, trusted: false }
}

struct Instead<const N: usize> {
    chain_of: ChainBuilder,
    says: [&'static str; N],
    trusted: bool,
}

impl<const N: usize> Instead<N> {
    /// Its root is trusted: it is something else that is wrong with it.
    fn trusting_it(self) -> Self {
        Self { trusted: true, ..self }
    }

    async fn shows(self, reason: Reason) -> Result<()> {
        let Self { chain_of, says, trusted } = self;
        let run = Run::new(says, async move |world: &mut World| {
            let other = other_upstream(chain(chain_of)).start()?;
            if trusted {
                other.write_ca(&world.directory().join("lab-ca.pem"))?;
            }
            configured(world, &[("upstream", "url", other.url().as_str())]).await?;
            Ok(other)
        });
        run.shows(reason).await
    }
}

fn other_upstream(chain: Chain) -> LabBuilder {
    LabUpstream::builder().options(Options::small()).edition(Edition::after()).chain(chain)
}

pub(super) fn chain(builder: ChainBuilder) -> Chain {
    builder.keys(Keys::Ecdsa).build().expect("a lab chain can be made")
}

/// The leaf ended in the past, whenever that is for whoever runs this.
fn expired(builder: ChainBuilder) -> ChainBuilder {
    let ended = Timestamp::from_second(1_735_689_600).expect("the first of 2025 is a time");
    builder.valid(ended - 2000.hours(), ended)
}

/// An index that names one archive and promises nothing of it.
fn only_osgroups(world: &World, archive: Raw) {
    world.upstream().answer(&format!("{DIRECTORY}{INDEX}"), Raw::ok("<feed><file>osgroups.tar.gz</file></feed>"));
    world.upstream().answer(&format!("{DIRECTORY}osgroups.tar.gz"), archive);
}

pub(super) async fn configured(world: &mut World, settings: &[(&str, &str, &str)]) -> Result<()> {
    for (section, key, value) in settings {
        world.set(section, key, *value)?;
    }
    world.restart_server().await
}

fn staged(staging: &Path) -> Result<usize> {
    if staging.is_dir() { Ok(std::fs::read_dir(staging)?.count()) } else { Ok(0) }
}
