//! Update runs against upstreams that ask to be left alone, and past those that cannot be used.

mod password;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bundles::Reason;
use feed_server::app::App;
use feed_server::app::runs::Wishes;
use feed_server::config::{AllowedHost, Config, Proxy, ProxyUrl, Upstream};
use feed_server::store::records::{Outcome, RunRecord, Trigger};
use feed_server::{clock, jobs};
use jiff::Timestamp;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::support::archives::conditions;
use crate::support::server::{Reply, Server, chain};
use crate::support::world::INDEX;

const FEED: &str = r#"<feed><component version="1.0" url="conditions.tar.gz"/></feed>"#;

const IGNORING: Wishes = Wishes { accept_version_rollback: false, ignore_cooldown: true };

/// Two URLs of one feed, and a mirror of it.
struct Mirror {
    first: Server,
    second: Server,
    directory: TempDir,
    config: Config,
}

impl Mirror {
    fn new() -> Self {
        let chain = chain();
        let (first, second) = (Server::start(&chain), Server::start(&chain));
        let directory = tempfile::tempdir().unwrap();
        let root = chain.presented_pem().split_inclusive("-----END CERTIFICATE-----\n").last().unwrap().to_owned();
        std::fs::write(directory.path().join("root.pem"), root).unwrap();
        let upstream = Upstream {
            url: url_of(&first).parse().unwrap(),
            trust_anchors: vec!["root.pem".to_owned()],
            base_dir: directory.path().to_owned(),
            // Whatever stands in the environment of whoever runs the tests.
            proxy: Proxy { url: ProxyUrl::None, ..Proxy::default() },
            ..Upstream::default()
        };
        let mut config = Config { upstream, ..Config::default() };
        config.data.directory = directory.path().join("data");
        let mirror = Self { first, second, directory, config };
        serve(&mirror.first);
        serve(&mirror.second);
        mirror
    }

    fn with_fallback() -> Self {
        let mut mirror = Self::new();
        mirror.config.upstream.fallback_urls = vec![url_of(&mirror.second).parse().unwrap()];
        mirror
    }

    async fn open(&self) -> Arc<App> {
        self.open_at(clock::now).await
    }

    async fn open_at(&self, clock: fn() -> Timestamp) -> Arc<App> {
        assert!(self.directory.path().exists());
        Arc::new(App::open(self.config.clone(), None, clock).await.unwrap().app)
    }
}

fn url_of(server: &Server) -> String {
    format!("https://127.0.0.1:{}{INDEX}", server.address.port())
}

fn serve(server: &Server) {
    server.put(INDEX, Reply::file(FEED));
    server.put("/web/secure/spa/conditions.tar.gz", Reply::file(conditions("1")));
}

fn answer(status: &str, header: &str) -> Reply {
    Reply::Raw(format!("HTTP/1.1 {status}\r\n{header}Content-Length: 0\r\nConnection: close\r\n\r\n").into_bytes())
}

/// An archive that is cut off, from a server that can go on with it.
fn cut_off() -> Reply {
    Reply::Raw(b"HTTP/1.1 200 OK\r\nETag: \"one\"\r\nContent-Length: 1000\r\n\r\nbeginning".to_vec())
}

/// One that is gone when the rest is asked for: it fails, and not before the next one is asked for, too.
fn gone_meanwhile() -> Reply {
    Reply::Each(vec![cut_off(), Reply::status("404 Not Found")])
}

async fn run(app: &Arc<App>, trigger: Trigger, wishes: Wishes) -> RunRecord {
    app.ask(trigger, wishes).unwrap();
    let (request, running) = app.runs.begin(app.now()).unwrap();
    jobs::update::run(app, request, running, &CancellationToken::new()).await
}

async fn sync(app: &Arc<App>) -> RunRecord {
    run(app, Trigger::Operator, Wishes::default()).await
}

fn failure(run: &RunRecord) -> (Reason, &str) {
    match run.outcome.as_ref().unwrap() {
        Outcome::Failed { failure } => (failure.reason, &failure.message),
        Outcome::Released { .. } | Outcome::Unchanged | Outcome::Held { .. } => panic!("the run succeeded"),
    }
}

fn asked(server: &Server) -> Vec<String> {
    let shown = |request: crate::support::server::Request| {
        let condition = if request.header("if-none-match").is_some() { "?" } else { "" };
        format!("{}{condition}", request.path.rsplit('/').next().unwrap())
    };
    server.requests().into_iter().map(shown).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_a_pause_is_left_alone_until_an_operator_overrides_it() {
    let mirror = Mirror::new();
    let app = mirror.open().await;
    for (reply, reason, seconds) in [
        (answer("429 Too Many Requests", "Retry-After: 120\r\n"), Reason::RateLimited, 120),
        (answer("429 Too Many Requests", ""), Reason::RateLimited, 3_600),
        (answer("403 Forbidden", ""), Reason::HttpStatus, 3_600),
        (answer("503 Service Unavailable", "Retry-After: 7200\r\n"), Reason::HttpStatus, 7_200),
        (answer("429 Too Many Requests", "Retry-After: 31536000\r\n"), Reason::RateLimited, 86_400),
    ] {
        mirror.first.put(INDEX, reply);
        let before = app.now();
        let record = run(&app, Trigger::Operator, IGNORING).await;
        let (told, message) = failure(&record);
        assert_eq!(told, reason, "{message}");
        assert_eq!(asked(&mirror.first), ["posture-update.xml"], "an override is one attempt");
        let cooling = app.cooling();
        let [cooldown] = cooling.as_slice() else { panic!("{cooling:?}") };
        assert!(message.contains(&format!("left alone until {:.0}", cooldown.until)), "{message}");
        let pause = cooldown.until.duration_since(before).as_secs();
        assert!((seconds..seconds + 60).contains(&pause), "{pause} s, not {seconds}");

        let record = sync(&app).await;
        let (told, message) = failure(&record);
        assert_eq!(told, Reason::Cooldown);
        assert!(message.contains("--ignore-cooldown") && message.contains(&url_of(&mirror.first)), "{message}");
        assert!(asked(&mirror.first).is_empty(), "nobody is asked");
    }

    serve(&mirror.first);
    assert!(run(&app, Trigger::Operator, IGNORING).await.outcome.unwrap().reason().is_none());
    assert!(app.cooling().is_empty(), "success ends it");
    assert!(sync(&app).await.outcome.unwrap().reason().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_asks_for_nothing_begins_no_cooldown() {
    let mirror = Mirror::new();
    let app = mirror.open().await;
    for reply in [answer("503 Service Unavailable", ""), answer("404 Not Found", "")] {
        mirror.first.put(INDEX, reply);
        assert_eq!(failure(&sync(&app).await).0, Reason::HttpStatus);
        assert!(app.cooling().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_is_heeded_though_something_else_failed_first() {
    let mirror = Mirror::new();
    let app = mirror.open().await;
    mirror.first.put("/web/secure/spa/gone.tar.gz", gone_meanwhile());
    mirror.first.put(INDEX, Reply::file(r#"<feed><x url="gone.tar.gz"/><x url="conditions.tar.gz"/></feed>"#));
    mirror.first.put("/web/secure/spa/conditions.tar.gz", answer("429 Too Many Requests", ""));
    assert_eq!(failure(&sync(&app).await).0, Reason::RateLimited);
    assert_eq!(app.cooling().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cooldown_survives_a_restart_and_ends_with_the_url() {
    let mut mirror = Mirror::new();
    mirror.first.put("/web/secure/spa/conditions.tar.gz", answer("429 Too Many Requests", ""));
    let app = mirror.open().await;
    assert_eq!(failure(&sync(&app).await).0, Reason::RateLimited);
    asked(&mirror.first);
    drop(app);

    let app = mirror.open().await;
    assert_eq!(app.cooling()[0].url, url_of(&mirror.first), "the index's URL, though an archive's answered so");
    assert_eq!(failure(&sync(&app).await).0, Reason::Cooldown);
    let metrics = app.metrics.render(&app.facts()).unwrap();
    let line = format!("posture_feed_cooldown_until_timestamp_seconds {}\n", app.cooling()[0].until.as_second());
    assert!(metrics.contains(&line), "{metrics}");
    assert!(asked(&mirror.first).is_empty());
    drop(app);

    mirror.config.upstream.url = url_of(&mirror.second).parse().unwrap();
    let app = mirror.open().await;
    assert!(app.cooling().is_empty());
    let metrics = app.metrics.render(&app.facts()).unwrap();
    assert!(!metrics.contains("cooldown_until_timestamp_seconds"), "{metrics}");
    assert!(sync(&app).await.outcome.unwrap().reason().is_none());
    drop(app);

    // Forgotten, not just passed over: going back begins anew.
    mirror.config.upstream.url = url_of(&mirror.first).parse().unwrap();
    let app = mirror.open().await;
    assert!(app.cooling().is_empty());
}

static LATER: AtomicI64 = AtomicI64::new(0);

fn later() -> Timestamp {
    clock::now() + Duration::from_secs(LATER.load(Ordering::Relaxed).unsigned_abs())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schedule_waits_for_the_end_of_a_cooldown() {
    let mirror = Mirror::new();
    mirror.first.put(INDEX, answer("429 Too Many Requests", "Retry-After: 1800\r\n"));
    let app = mirror.open_at(later).await;
    sync(&app).await;
    let until = app.cooling()[0].until;
    drop(app);
    asked(&mirror.first);
    serve(&mirror.first);

    // A start without a release owes a run, and a rate limit is worth a retry; both wait.
    let app = mirror.open_at(later).await;
    let stop = CancellationToken::new();
    let runner = tokio::spawn(jobs::runner::scheduled(Arc::clone(&app), jobs::runner::recent(&app), stop.clone()));
    wait_until(|| app.runs.next_due().is_some()).await;
    assert_eq!(app.runs.next_due(), Some(until));
    assert!(asked(&mirror.first).is_empty());

    LATER.store(1_801, Ordering::Relaxed);
    app.runs.wake();
    wait_until(|| app.newest().is_some()).await;
    stop.cancel();
    runner.await.unwrap();
}

async fn wait_until(mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "it never came to hold");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fallback_urls_are_asked_in_order_and_conditionally() {
    let mirror = Mirror::with_fallback();
    mirror.first.put(INDEX, answer("503 Service Unavailable", ""));
    let app = mirror.open().await;
    let record = sync(&app).await;
    assert!(matches!(record.outcome, Some(Outcome::Released { .. })), "{record:?}");
    assert_eq!(record.source_url, Some(url_of(&mirror.second)));
    assert_eq!(asked(&mirror.first), ["posture-update.xml"]);
    assert_eq!(asked(&mirror.second), ["posture-update.xml", "conditions.tar.gz"]);

    let record = sync(&app).await;
    assert_eq!((record.outcome, record.received_bytes), (Some(Outcome::Unchanged), 0));
    assert_eq!(asked(&mirror.first), ["posture-update.xml"], "the first one is asked first again");
    assert_eq!(asked(&mirror.second), ["posture-update.xml?", "conditions.tar.gz?"]);

    serve(&mirror.first);
    let record = sync(&app).await;
    assert_eq!((record.outcome, record.source_url), (Some(Outcome::Unchanged), None));
    assert!(asked(&mirror.second).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cools_down_is_passed_over() {
    let mirror = Mirror::with_fallback();
    mirror.first.put(INDEX, answer("429 Too Many Requests", ""));
    let app = mirror.open().await;
    assert!(sync(&app).await.outcome.unwrap().reason().is_none(), "the fallback serves");
    assert_eq!(app.cooling().len(), 1);
    assert!(app.all_cooling().is_none());
    asked(&mirror.first);
    assert!(sync(&app).await.outcome.unwrap().reason().is_none());
    assert!(asked(&mirror.first).is_empty(), "passed over");

    // Both at last: the one that is asked again first is the one that is told of.
    mirror.second.put(INDEX, answer("429 Too Many Requests", "Retry-After: 60\r\n"));
    let record = sync(&app).await;
    let (reason, message) = failure(&record);
    assert_eq!(reason, Reason::RateLimited, "of the one that was asked");
    assert!(message.contains("(cooldown)") && message.contains(&url_of(&mirror.first)), "{message}");
    asked(&mirror.second);
    let record = sync(&app).await;
    let (reason, message) = failure(&record);
    assert_eq!(reason, Reason::Cooldown);
    assert!(message.contains(&url_of(&mirror.second)), "{message}");
    assert!(asked(&mirror.first).is_empty() && asked(&mirror.second).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_fail_the_first_ones_failure_is_told_and_the_others_after_it() {
    let mirror = Mirror::with_fallback();
    mirror.first.put(INDEX, Reply::file("<html>Please log in</html>"));
    mirror.second.put(INDEX, answer("500 Internal Server Error", ""));
    let app = mirror.open().await;
    let record = sync(&app).await;
    let (reason, message) = failure(&record);
    assert_eq!(reason, Reason::NotAFeed, "{message}");
    let other = format!("; the other URLs: {}: ", url_of(&mirror.second));
    assert!(message.contains(&other) && message.contains("(http_status)"), "{message}");
    assert_eq!(record.source_url, None);
}
