//! An HTTP proxy on the way to the server.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Output;
use std::sync::{Arc, Mutex};

use certs::lab::{Chain, Keys, Presented, Versions};

use crate::server::Server;
use crate::world::{World, stderr, text};

/// A host that no resolver knows: whoever reaches it did so through the proxy.
const HOST: &str = "feed.example.invalid";

/// How the proxy answers `CONNECT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// A tunnel, wherever to; with these credentials where they are given.
    Open(Option<&'static str>),
    /// This status.
    Refuse(u16),
    /// A connection that ends without a word.
    HangUp,
}

/// Serves until the test's process ends.
pub(crate) struct Proxy {
    pub(crate) address: String,
    asked: Arc<Mutex<Vec<String>>>,
    manner: Arc<Mutex<Manner>>,
}

impl Proxy {
    /// All tunnels lead to `server`, whatever their name.
    pub(crate) fn start(server: &str, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let manner = Arc::new(Mutex::new(manner));
        let (record, server, manners) = (Arc::clone(&asked), server.to_owned(), Arc::clone(&manner));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (record, server, manner) = (Arc::clone(&record), server.clone(), *manners.lock().unwrap());
                std::thread::spawn(move || tunnel(stream, &record, &server, manner));
            }
        });
        Self { address, asked, manner }
    }

    /// From now on it answers so.
    pub(crate) fn behave(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// First lines of what was asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn tunnel(mut stream: TcpStream, record: &Mutex<Vec<String>>, server: &str, manner: Manner) -> Option<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    record.lock().unwrap().push(head.lines().next().unwrap_or_default().to_owned());
    let status = match manner {
        Manner::Open(None) => 200,
        Manner::Open(Some(credentials)) if head.contains(&format!("Basic {credentials}\r\n")) => 200,
        Manner::Open(Some(_)) => 407,
        Manner::Refuse(status) => status,
        Manner::HangUp => return None,
    };
    let end = if status == 200 { "" } else { "Content-Length: 0\r\n" };
    write!(stream, "HTTP/1.1 {status} X\r\n{end}\r\n").ok()?;
    if status != 200 {
        return None;
    }
    let mut far = TcpStream::connect(server).unwrap();
    let (mut back, mut there) = (stream.try_clone().unwrap(), far.try_clone().unwrap());
    let up = std::thread::spawn(move || {
        let _ = std::io::copy(&mut stream, &mut there);
        let _ = there.shutdown(std::net::Shutdown::Write);
    });
    let _ = std::io::copy(&mut far, &mut back);
    let _ = back.shutdown(std::net::Shutdown::Write);
    up.join().ok()
}

pub(crate) struct Site {
    pub(crate) world: World,
    pub(crate) server: String,
    pub(crate) url: String,
    pub(crate) anchors: String,
}

/// A server behind a name that only the proxy knows.
pub(crate) fn site() -> Site {
    let chain = Chain::builder().keys(Keys::Ecdsa).root_named("The Site's Root").names([HOST]).build().unwrap();
    let presented = chain.presenting(Presented::WithoutRoot);
    let world = World::with_server(Server::start_tls(presented.server_config(Versions::Tls12And13).unwrap()));
    std::fs::write(world.path("anchor.pem"), &chain.root.pem).unwrap();
    let server = world.server.url.trim_start_matches("https://").to_owned();
    let anchors = format!("[server]\ntrust_anchors = [{:?}]\n", world.path("anchor.pem"));
    Site { url: format!("https://{HOST}:8443"), world, server, anchors }
}

impl Site {
    pub(crate) fn enroll(&self, variables: &[(&str, &str)]) -> Output {
        let root = self.world.path("root.json");
        let mut command = self.world.command();
        command.args(["enroll", "--server", &self.url, "--id", "vpn-1", "--root", text(&root), "--json"]);
        command.envs(variables.iter().copied()).output().unwrap()
    }

    fn refused(&self, variables: &[(&str, &str)]) -> (i32, String) {
        let output = self.enroll(variables);
        (output.status.code().unwrap(), stderr(&output))
    }
}

#[test]
fn the_configured_proxy_is_the_way_to_the_server() {
    let site = site();
    let proxy = Proxy::start(&site.server, Manner::Open(None));
    site.world.configure(&format!("{}proxy = \"http://{}\"\n", site.anchors, proxy.address));
    // What the environment says does not matter then.
    let output = site.enroll(&[("HTTPS_PROXY", "http://127.0.0.1:1"), ("NO_PROXY", "*")]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(site.world.ok(&["update"])["serial"], 1);
    assert!(proxy.asked().iter().all(|line| line == &format!("CONNECT {HOST}:8443 HTTP/1.1")), "{:?}", proxy.asked());
}

#[test]
fn the_environment_s_proxy_counts_and_its_bypass_list_and_its_password() {
    let site = site();
    site.world.configure(&site.anchors);
    // "me:secret"
    let proxy = Proxy::start(&site.server, Manner::Open(Some("bWU6c2VjcmV0")));
    let with_password = format!("http://me:secret@{}", proxy.address);
    let output = site.enroll(&[("HTTPS_PROXY", &with_password)]);
    assert!(output.status.success(), "{}", stderr(&output));

    let before = proxy.asked().len();
    let (code, message) = site.refused(&[("HTTPS_PROXY", &with_password), ("NO_PROXY", "*.example.invalid")]);
    assert_eq!((code, proxy.asked().len()), (10, before), "{message}");
    site.world.configure(&format!("{}proxy = \"none\"\n", site.anchors));
    let (code, message) = site.refused(&[("HTTPS_PROXY", &with_password)]);
    assert_eq!((code, proxy.asked().len()), (10, before), "{message}");
    assert!(message.contains("\"dns\""), "{message}");
}

#[test]
fn what_a_proxy_refuses_is_said_by_its_own_reason() {
    let site = site();
    for (manner, reason, words) in [
        (Manner::Open(Some("bWU6c2VjcmV0")), "proxy_auth", "HTTPS_PROXY"),
        (Manner::Refuse(403), "proxy_refused", "CONNECT"),
        (Manner::Refuse(502), "proxy_refused", "feed.example.invalid:8443"),
        (Manner::HangUp, "proxy_connect", "cannot be reached"),
    ] {
        let proxy = Proxy::start(&site.server, manner);
        site.world.configure(&format!("{}proxy = \"http://{}\"\n", site.anchors, proxy.address));
        let (code, message) = site.refused(&[]);
        assert_eq!(code, 11, "{message}");
        assert!(message.contains(&format!("{reason:?}")) && message.contains(words), "{message}");
        assert!(message.contains(&proxy.address), "{message}");
    }
    for unreachable in ["127.0.0.1:1", "proxy.example.invalid:3128"] {
        site.world.configure(&format!("{}proxy = \"http://{unreachable}\"\n", site.anchors));
        let (code, message) = site.refused(&[]);
        assert!(code == 11 && message.contains("proxy_connect") && message.contains(unreachable), "{message}");
    }
}

#[test]
fn an_untrusted_root_behind_a_proxy_is_taken_for_an_inspection() {
    let site = site();
    let proxy = Proxy::start(&site.server, Manner::Open(None));
    site.world.configure(&format!("[server]\nproxy = \"http://{}\"\n", proxy.address));
    let (code, message) = site.refused(&[]);
    assert!(code == 12 && message.contains("tls_intercepted") && message.contains("exempt the server"), "{message}");
    assert!(message.contains("The Site's Root") && message.contains(&proxy.address), "{message}");
}

#[test]
fn a_proxy_that_cannot_be_used_is_refused_with_its_line_or_variable_and_without_its_password() {
    let site = site();
    site.world.configure("[server]\nproxy = \"http://me:secret@proxy:3128\"\n");
    let (code, message) = site.refused(&[]);
    assert!(code == 2 && message.contains("feed-client.toml:2: server.proxy"), "{message}");
    assert!(!message.contains("secret"), "{message}");
    site.world.configure(&site.anchors);
    let (code, message) = site.refused(&[("HTTPS_PROXY", "socks5://me:secret@proxy:1080")]);
    assert!(code == 2 && message.contains("HTTPS_PROXY") && !message.contains("secret"), "{message}");
}
