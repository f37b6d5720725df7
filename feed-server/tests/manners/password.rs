//! A proxy password that is refused is tried once (design, promise 8).

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use feed_server::app::App;

use super::*;

const ARCHIVE: &str = "/web/secure/spa/conditions.tar.gz";

/// `Basic` for the tests' user.
fn basic(password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("mirror:{password}")))
}

/// What the proxy does.
#[derive(Debug, Clone)]
enum Door {
    /// Opens to this password, and says 407 to all else.
    Guarded(String),
    /// Takes CONNECT and says nothing.
    Silent,
}

/// A proxy that counts who knocks.
struct Gatekeeper {
    address: SocketAddr,
    /// For one connection after the other; the last one for all that follow.
    doors: Arc<Mutex<Vec<Door>>>,
    connections: Arc<AtomicUsize>,
}

impl Gatekeeper {
    fn new(door: Door) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (doors, connections) = (Arc::new(Mutex::new(vec![door])), Arc::<AtomicUsize>::default());
        let (shared, counted) = (Arc::clone(&doors), Arc::clone(&connections));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                counted.fetch_add(1, Ordering::SeqCst);
                let door = {
                    let mut doors = shared.lock().unwrap();
                    if doors.len() > 1 { doors.remove(0) } else { doors[0].clone() }
                };
                std::thread::spawn(move || stream.and_then(|stream| answer_connect(stream, &door)));
            }
        });
        Self { address, doors, connections }
    }

    fn now(&self, doors: impl Into<Vec<Door>>) {
        *self.doors.lock().unwrap() = doors.into();
    }

    /// How many connections there were since the last call.
    fn knocks(&self) -> usize {
        self.connections.swap(0, Ordering::SeqCst)
    }
}

fn answer_connect(stream: TcpStream, door: &Door) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut stream = stream;
    let shown = lines.iter().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("proxy-authorization").then(|| value.to_owned())
    });
    match door {
        Door::Silent => {
            std::io::copy(&mut reader, &mut std::io::sink())?;
            Ok(())
        }
        Door::Guarded(password) if shown == Some(basic(password)) => {
            let target = TcpStream::connect(lines[0].split(' ').nth(1).unwrap())?;
            stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
            let (mut from, mut to) = (target.try_clone()?, target);
            let mut back = stream.try_clone()?;
            let returning = std::thread::spawn(move || {
                let copied = std::io::copy(&mut from, &mut back);
                let _ = back.shutdown(Shutdown::Write);
                copied
            });
            let mut buffer = vec![0; 16 << 10];
            loop {
                match reader.read(&mut buffer)? {
                    0 => break,
                    count => to.write_all(&buffer[..count])?,
                }
            }
            to.shutdown(Shutdown::Write)?;
            returning.join().unwrap().map(drop)
        }
        Door::Guarded(_) => stream.write_all(
            b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\
              Content-Length: 0\r\nConnection: close\r\n\r\n",
        ),
    }
}

impl Mirror {
    fn behind(&mut self, proxy: &Gatekeeper) {
        self.config.upstream.proxy = Proxy {
            url: ProxyUrl::Url(format!("http://{}", proxy.address).parse().unwrap()),
            username: Some("mirror".to_owned()),
            password_file: Some("password".into()),
            ..Proxy::default()
        };
    }

    fn set_password(&self, password: &str) {
        let path = self.directory.path().join("password");
        let _ = std::fs::remove_file(&path);
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
        file.write_all(password.as_bytes()).unwrap();
    }
}

async fn scheduled(app: &Arc<App>) -> RunRecord {
    run(app, Trigger::Schedule, Wishes::default()).await
}

fn guarded(password: &str) -> Door {
    Door::Guarded(password.to_owned())
}

fn refused(record: &RunRecord) -> &str {
    let (reason, message) = failure(record);
    assert_eq!(reason, Reason::ProxyAuth, "{message}");
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_password_is_tried_again_only_where_it_changed_or_an_operator_asks() {
    let proxy = Gatekeeper::new(Door::Guarded("right".to_owned()));
    let mut mirror = Mirror::with_fallback();
    mirror.behind(&proxy);
    mirror.set_password("wrong");
    let app = mirror.open().await;
    refused(&scheduled(&app).await);
    assert_eq!(proxy.knocks(), 1, "the fallback is behind the same proxy, and is not tried");

    for trigger in [Trigger::Schedule, Trigger::Retry] {
        let record = run(&app, trigger, Wishes::default()).await;
        let message = refused(&record);
        for part in ["not tried again", "password_file", "`feed-server sync`", &proxy.address.to_string()] {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert!(!message.contains("wrong"), "{message}");
    }
    assert_eq!(proxy.knocks(), 0, "not even a connection");
    drop(app);

    let app = mirror.open().await;
    refused(&scheduled(&app).await);
    assert_eq!(proxy.knocks(), 0, "nor after a restart");
    assert!(app.password_refused().is_some());
    refused(&sync(&app).await);
    assert_eq!(proxy.knocks(), 1, "an operator's ask is one attempt");
    refused(&scheduled(&app).await);
    assert_eq!(proxy.knocks(), 0);

    mirror.set_password("right");
    let record = scheduled(&app).await;
    assert!(matches!(record.outcome, Some(Outcome::Released { .. })), "{record:?}");
    assert_eq!(app.manners().password(), None);
    proxy.knocks();

    // What was taken once may be refused later: then it is the same again.
    proxy.now([Door::Guarded("another".to_owned())]);
    refused(&scheduled(&app).await);
    assert_eq!(proxy.knocks(), 1);
    refused(&scheduled(&app).await);
    assert_eq!(proxy.knocks(), 0);
    // And let in again, an operator ends it.
    proxy.now([Door::Guarded("right".to_owned())]);
    assert_eq!(sync(&app).await.outcome, Some(Outcome::Unchanged));
    assert_eq!(scheduled(&app).await.outcome, Some(Outcome::Unchanged));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_or_none_is_tried() {
    let proxy = Gatekeeper::new(Door::Guarded("right".to_owned()));
    let mut mirror = Mirror::new();
    mirror.behind(&proxy);
    mirror.set_password("wrong");
    for username in [Some("mirror"), Some("other"), None] {
        mirror.config.upstream.proxy.username = username.map(str::to_owned);
        mirror.config.upstream.proxy.password_file = username.map(|_| "password".into());
        let app = mirror.open().await;
        refused(&scheduled(&app).await);
        assert_eq!(proxy.knocks(), 1, "{username:?}");
        refused(&scheduled(&app).await);
        assert_eq!(proxy.knocks(), 0, "{username:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_stopped_before_the_proxys_answer_holds_nothing_back_and_one_that_is_killed_does() {
    let proxy = Gatekeeper::new(Door::Silent);
    let mut mirror = Mirror::new();
    mirror.behind(&proxy);
    mirror.set_password("wrong");
    let app = mirror.open().await;
    let stop = CancellationToken::new();
    let (running, stopping) = (Arc::clone(&app), stop.clone());
    let cut_off = tokio::spawn(async move {
        running.ask(Trigger::Schedule, Wishes::default()).unwrap();
        let (request, guard) = running.runs.begin(running.now()).unwrap();
        jobs::update::run(&running, request, guard, &stopping).await
    });
    wait_until(|| app.manners().password().is_some()).await;
    wait_until(|| proxy.connections.load(Ordering::SeqCst) == 1).await;
    let in_flight = app.manners().password().cloned().unwrap();
    stop.cancel();
    cut_off.await.unwrap();
    proxy.knocks();
    assert_eq!(app.manners().password(), None, "nobody refused it");

    // What a process that was killed at that moment leaves on disk.
    app.change_manners(|manners| manners.remember_password(in_flight)).unwrap();
    drop(app);
    let app = mirror.open().await;
    let record = scheduled(&app).await;
    assert!(refused(&record).contains("cut off before the answer was known"), "{record:?}");
    assert_eq!(proxy.knocks(), 0);
    proxy.now([Door::Guarded("wrong".to_owned())]);
    assert!(sync(&app).await.outcome.unwrap().reason().is_none(), "an operator finds out");
    assert!(scheduled(&app).await.outcome.unwrap().reason().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_not_reached_refused_nothing() {
    let mut mirror = Mirror::new();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = Gatekeeper::new(Door::Silent);
    mirror.behind(&proxy);
    mirror.config.upstream.proxy.url = ProxyUrl::Url(format!("http://{nobody}").parse().unwrap());
    mirror.set_password("wrong");
    let app = mirror.open().await;
    for _ in 0..2 {
        assert_eq!(failure(&scheduled(&app).await).0, Reason::ProxyConnect);
        assert_eq!(app.manners().password(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cooldown_ends_with_the_proxy() {
    let proxy = Gatekeeper::new(Door::Guarded("right".to_owned()));
    let mut mirror = Mirror::new();
    mirror.set_password("right");
    mirror.first.put(INDEX, answer("429 Too Many Requests", ""));
    let app = mirror.open().await;
    assert_eq!(failure(&sync(&app).await).0, Reason::RateLimited);
    drop(app);
    mirror.behind(&proxy);
    let app = mirror.open().await;
    assert!(app.cooling().is_empty());
    assert_eq!(failure(&sync(&app).await).0, Reason::RateLimited, "asked by another way");
    let identity = format!("http://mirror@{}", proxy.address);
    assert_eq!(app.cooling()[0].proxy.as_ref(), Some(&identity));
    assert_eq!(failure(&sync(&app).await).0, Reason::Cooldown);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_in_the_midst_of_a_run_is_one_whatever_else_fails() {
    let proxy = Gatekeeper::new(guarded("right"));
    let mut mirror = Mirror::new();
    mirror.behind(&proxy);
    mirror.set_password("right");
    // The rest of a download is asked for over another connection, which the proxy refuses.
    mirror.first.put(ARCHIVE, cut_off());
    proxy.now([guarded("right"), guarded("another")]);
    let app = mirror.open().await;
    refused(&scheduled(&app).await);
    assert_eq!(proxy.knocks(), 2);
    refused(&scheduled(&app).await);
    assert_eq!(proxy.knocks(), 0);
    drop(app);

    // The index's host is reached without the proxy, and one of its own archives cannot be had either, while the other
    // one is asked for.
    mirror.first.put("/web/secure/spa/gone.tar.gz", gone_meanwhile());
    mirror.set_password("changed");
    mirror.config.upstream.proxy.bypass = vec!["127.0.0.1".to_owned()];
    mirror.config.upstream.allowed_hosts = vec![AllowedHost { host: "localhost".to_owned(), trust_anchors: None }];
    let other = format!("https://localhost:{}{ARCHIVE}", mirror.first.address.port());
    mirror.first.put(INDEX, Reply::file(format!(r#"<feed><x url="gone.tar.gz"/><x url="{other}"/></feed>"#)));
    let app = mirror.open().await;
    refused(&scheduled(&app).await);
    assert_eq!(proxy.knocks(), 1);
    mirror.first.put("/web/secure/spa/gone.tar.gz", gone_meanwhile());
    refused(&scheduled(&app).await);
    assert_eq!(proxy.knocks(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_no_proxy_is_asked_after_a_refusal_too() {
    let proxy = Gatekeeper::new(guarded("right"));
    let mut mirror = Mirror::new();
    mirror.behind(&proxy);
    mirror.set_password("wrong");
    let app = mirror.open().await;
    refused(&scheduled(&app).await);
    assert_eq!(proxy.knocks(), 1);
    drop(app);

    // The message names this as a way out.
    mirror.config.upstream.proxy.bypass = vec!["127.0.0.1".to_owned()];
    let app = mirror.open().await;
    assert!(scheduled(&app).await.outcome.unwrap().reason().is_none());
    // An archive that does need it is not asked for.
    mirror.config.upstream.allowed_hosts = vec![AllowedHost { host: "localhost".to_owned(), trust_anchors: None }];
    let other = format!("https://localhost:{}{ARCHIVE}", mirror.first.address.port());
    mirror.first.put(INDEX, Reply::file(format!(r#"<feed><x url="{other}"/></feed>"#)));
    drop(app);
    let app = mirror.open().await;
    assert!(refused(&scheduled(&app).await).contains("not tried again"));
    assert_eq!(proxy.knocks(), 0);
    drop(app);

    mirror.config.upstream.proxy.bypass.clear();
    let app = mirror.open().await;
    refused(&scheduled(&app).await);
    assert_eq!(proxy.knocks(), 0, "it is remembered all the while");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_was_taken_is_in_doubt_again_with_each_connection() {
    let proxy = Gatekeeper::new(guarded("right"));
    let mut mirror = Mirror::new();
    mirror.behind(&proxy);
    mirror.set_password("right");
    mirror.first.put(ARCHIVE, cut_off());
    proxy.now([guarded("right"), Door::Silent]);
    let app = mirror.open().await;
    let (running, stop) = (Arc::clone(&app), CancellationToken::new());
    let stopping = stop.clone();
    let run = tokio::spawn(async move {
        running.ask(Trigger::Schedule, Wishes::default()).unwrap();
        let (request, guard) = running.runs.begin(running.now()).unwrap();
        jobs::update::run(&running, request, guard, &stopping).await
    });
    wait_until(|| proxy.connections.load(Ordering::SeqCst) == 2).await;
    wait_until(|| app.manners().password().is_some()).await;
    stop.cancel();
    run.await.unwrap();
    assert_eq!(app.manners().password(), None, "nobody refused it");
}
