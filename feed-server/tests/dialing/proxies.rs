//! Through a proxy, and what a proxy may say instead.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bundles::{Reason, Reasoned as _};
use certs::lab::{Chain, Keys, Presented};
use feed_server::config::{Proxy, ProxyUrl};
use feed_server::upstream::proxy::Environment;
use feed_server::upstream::{Seen, Setup, Step, Timeouts, UpstreamError, Vendor, Watch};

use crate::support::proxy::{Manner, ScriptedProxy};
use crate::support::server::chain;
use crate::support::world::World;

/// A host that no resolver is asked for: proxies resolve names themselves.
const NAME: &str = "localhost";

const PASSWORD: &str = "not-for-logs";

fn through(world: &mut World, proxy: &ScriptedProxy) {
    let url = format!("http://{}", proxy.address).parse().unwrap();
    world.config.proxy = Proxy { url: ProxyUrl::Url(url), ..Proxy::default() };
}

fn with_password(world: &mut World) {
    let path = world.store.directory().join("password");
    std::fs::write(&path, format!("{PASSWORD}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
    world.config.proxy.username = Some("feed".to_owned());
    world.config.proxy.password_file = Some(path);
}

async fn fails(world: &World) -> UpstreamError {
    let vendor = world.vendor().unwrap();
    vendor.get_raw(vendor.index_url(), 1 << 20).await.unwrap_err()
}

#[derive(Default)]
struct Seeing(Mutex<Vec<Seen>>);

impl Watch for Seeing {
    fn seen(&self, seen: Seen) {
        self.0.lock().unwrap().push(seen);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_comes_through_a_proxy_that_is_asked_for_tunnels_alone() {
    let mut world = World::new();
    let proxy = ScriptedProxy::start(Manner::Tunnel(world.server.address)).await;
    through(&mut world, &proxy);
    with_password(&mut world);
    world.feed().await;
    let requests = proxy.requests();
    assert!(!requests.is_empty());
    let port = world.server.address.port();
    for request in requests {
        assert_eq!(request[0], format!("CONNECT 127.0.0.1:{port} HTTP/1.1"));
        let has = |line: &str| request.iter().any(|known| known.eq_ignore_ascii_case(line));
        assert!(has(&format!("host: 127.0.0.1:{port}")) && has("user-agent: posture-feed/test"), "{request:?}");
        // feed:not-for-logs
        assert!(has("proxy-authorization: Basic ZmVlZDpub3QtZm9yLWxvZ3M="), "{request:?}");
    }

    // What need not pass through it does not.
    world.config.proxy.bypass = vec!["127.0.0.0/8".to_owned()];
    world.feed().await;
    assert!(proxy.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_is_told_with_what_was_seen() {
    let mut world = World::new();
    let proxy = ScriptedProxy::start(Manner::Tunnel(world.server.address)).await;
    let seeing = Arc::new(Seeing::default());
    let open = |world: &World| {
        let setup = Setup { watch: Arc::clone(&seeing) as _, environment: Environment::empty(), ..Setup::default() };
        Vendor::open(&world.config, "posture-feed/test", setup).unwrap()
    };
    let steps = || std::mem::take(&mut *seeing.0.lock().unwrap());
    let vendor = open(&world);
    let port = world.server.address.port();
    let connected = vendor.connect("127.0.0.1", port).await.unwrap();
    assert_eq!((connected.proxy.as_deref(), connected.host.as_str(), connected.port), (None, "127.0.0.1", port));
    assert!(connected.tls.starts_with("TLSv1_2, "), "{}", connected.tls);
    assert_eq!(connected.chain.unwrap().outcome, Ok(()));
    assert!(world.server.requests().is_empty(), "nothing was said over it");
    assert_eq!(steps().iter().map(|seen| seen.step).collect::<Vec<_>>(), [Step::Dns, Step::Tcp, Step::Tls]);
    // And a request goes over what is there.
    let raw = vendor.get_raw(vendor.index_url(), 10).await.unwrap();
    assert_eq!((raw.status, raw.body.len(), raw.is_whole), (200, 10, false));
    assert!(raw.header("etag").is_some_and(|etag| etag.starts_with('"')));
    assert_eq!(steps().iter().map(|seen| seen.step).collect::<Vec<_>>(), [Step::Http]);

    through(&mut world, &proxy);
    let vendor = open(&world);
    vendor.connect(NAME, port).await.unwrap();
    let raw = vendor.get_raw(vendor.index_url(), 1 << 20).await.unwrap();
    assert_eq!(raw.proxy, Some(proxy.address.to_string()));
    let seen = steps();
    let names: BTreeSet<&str> = seen.iter().map(|seen| seen.step.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["dns", "tcp", "connect", "tls", "http"]));
    let connect = seen.iter().find(|seen| seen.step == Step::Connect).unwrap();
    assert_eq!(connect.target, format!("{NAME}:{port}"));
    assert!(connect.detail.contains("200") && connect.detail.contains(&proxy.address.to_string()), "{connect:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_with_tls_of_its_own_is_held_to_its_own_anchors() {
    let mut world = World::new();
    let own = Chain::builder().loopback().keys(Keys::Ecdsa).root_named("Proxy Root").build().unwrap();
    let proxy = ScriptedProxy::over_tls(Manner::Tunnel(world.server.address), &own).await;
    let root = own.presented_pem().split_inclusive("-----END CERTIFICATE-----\n").last().unwrap().to_owned();
    std::fs::write(world.config.base_dir.join("proxy.pem"), root).unwrap();
    world.config.proxy = Proxy {
        url: ProxyUrl::Url(format!("https://{}", proxy.address).parse().unwrap()),
        trust_anchors: vec!["proxy.pem".to_owned()],
        ..Proxy::default()
    };
    world.feed().await;
    assert!(!proxy.requests().is_empty());

    // Upstream's root is none of the proxy's.
    world.config.proxy.trust_anchors = vec!["root.pem".to_owned()];
    let error = fails(&world).await;
    assert_eq!((error.reason(), error.step()), (Reason::ProxyConnect, Some(Step::ProxyTls)), "{error}");
    assert!(proxy.requests().is_empty(), "it is asked nothing, and shown no password");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_refuses_is_understood() {
    let mut world = World::new();
    let proxy = ScriptedProxy::start(Manner::Hangs).await;
    through(&mut world, &proxy);
    let target = world.server.address.to_string();
    for (says, reason, words) in [
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", Reason::ProxyRefused, vec!["403", "rule", &target]),
        ("HTTP/1.0 503 Service Unavailable\r\n\r\n", Reason::ProxyRefused, vec!["503", "could not reach", &target]),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n", Reason::ProxyRefused, vec!["502", "resolve"]),
        ("HTTP/1.1 302 Found\r\nLocation: http://portal/\r\n\r\n", Reason::ProxyRefused, vec!["302"]),
        ("SSH-2.0-OpenSSH_9.9\r\n", Reason::ProxyConnect, vec!["did not answer CONNECT"]),
        ("", Reason::ProxyConnect, vec!["did not answer CONNECT"]),
    ] {
        proxy.now(Manner::Says(says));
        let error = fails(&world).await;
        assert_eq!((error.reason(), error.step()), (reason, Some(Step::Connect)), "{says:?}: {error}");
        let message = error.whole_message();
        assert!(message.contains(&proxy.address.to_string()), "{message}");
        assert!(words.iter().all(|word| message.contains(word)), "{says:?}: {message}");
        assert!(proxy.requests().len() == 1 && world.server.requests().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_wants_authentication_is_asked_once_and_its_offers_are_named() {
    let basic = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n";
    let windows = "HTTP/1.1 407 No\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n\r\n";
    for (says, has_password, words) in [
        (basic, true, ["refused the user name and password", "password_file"]),
        (basic, false, ["asks for a user name and password", "username"]),
        (windows, true, ["only Negotiate and NTLM", "cntlm"]),
        (windows, false, ["only Negotiate and NTLM", "bypass"]),
        ("HTTP/1.1 407 No\r\n\r\n", true, ["without saying", "bypass"]),
    ] {
        let mut world = World::new();
        let proxy = ScriptedProxy::start(Manner::Says(says)).await;
        through(&mut world, &proxy);
        if has_password {
            with_password(&mut world);
        }
        let vendor = world.vendor().unwrap();
        // Even where several are wanted at once.
        let port = world.server.address.port();
        let hosts = ["127.0.0.1", "localhost", "127.0.0.2"].map(|host| vendor.connect(host, port));
        for connected in futures_util::future::join_all(hosts).await {
            let error = connected.unwrap_err();
            assert!(
                matches!(&error, UpstreamError::ProxyAuth { had_credentials, .. } if *had_credentials == has_password)
            );
            assert_eq!((error.reason(), error.step()), (Reason::ProxyAuth, Some(Step::Connect)));
            let message = error.whole_message();
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
            assert!(!message.contains(PASSWORD) && !format!("{error:?}{vendor:?}").contains(PASSWORD), "{message}");
        }
        assert_eq!(proxy.requests().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_accepts_and_then_hangs_is_named_with_the_step() {
    let mut world = World::new();
    let proxy = ScriptedProxy::start(Manner::Hangs).await;
    through(&mut world, &proxy);
    world.timeouts = Timeouts { tunnel: Duration::from_millis(200), ..Timeouts::default() };
    let error = fails(&world).await;
    assert_eq!((error.reason(), error.step()), (Reason::Timeout, Some(Step::Connect)));
    assert!(error.to_string().starts_with(&format!("the proxy {} did not answer CONNECT", proxy.address)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_cannot_be_reached_is_told_apart_from_upstream() {
    let mut world = World::new();
    let bound = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let dead = bound.local_addr().unwrap().to_string();
    let unresolved = format!("{}.example:3128", "a".repeat(64));
    for (authority, step) in [(dead, Step::Tcp), (unresolved, Step::Dns)] {
        world.config.proxy.url = ProxyUrl::Url(format!("http://{authority}").parse().unwrap());
        let error = fails(&world).await;
        assert_eq!((error.reason(), error.step()), (Reason::ProxyConnect, Some(step)), "{error}");
        assert!(error.to_string().starts_with(&format!("the proxy {authority} ")), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_answers_in_the_hosts_place_is_named_with_the_issuer_it_forged_with() {
    let forged = Chain::builder().loopback().keys(Keys::Ecdsa).root_named("Example Inspection CA").build();
    let mut world = World::trusting(&forged.unwrap(), &chain());
    let proxy = ScriptedProxy::start(Manner::Tunnel(world.server.address)).await;
    assert_eq!(fails(&world).await.reason(), Reason::TlsUntrusted, "without a proxy it is only not trusted");
    through(&mut world, &proxy);
    let error = fails(&world).await;
    assert_eq!((error.reason(), error.step()), (Reason::TlsIntercepted, Some(Step::Tls)), "{error}");
    let message = error.to_string();
    for words in [proxy.address.to_string().as_str(), "exempt 127.0.0.1", "\"Example Inspection CA\""] {
        assert!(message.contains(words), "{words}: {message}");
    }
    assert!(world.server.requests().is_empty(), "nothing was asked of it");

    // The vendor's own chain without its intermediate is upstream's mistake, and no proxy's.
    let world = World::with(&chain().presenting(Presented::LeafOnly));
    let mut config = world.config.clone();
    config.trust_anchors = vec![certs::DEFAULT_ANCHOR.to_owned()];
    proxy.now(Manner::Tunnel(world.server.address));
    config.proxy.url = ProxyUrl::Url(format!("http://{}", proxy.address).parse().unwrap());
    let vendor = Vendor::new(&config, "posture-feed/test").unwrap();
    let error = vendor.get_raw(vendor.index_url(), 1).await.unwrap_err();
    assert!(error.reason() == Reason::TlsUntrusted && error.to_string().contains("incomplete"), "{error}");
}
