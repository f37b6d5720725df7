use std::sync::Arc;
use std::time::Duration;

use bundles::Reason;
use bundles::diagnosis::Step as _;
use bundles::report::Failure;

use super::*;
use crate::config;
use crate::upstream::{Environment, Seen, Setup, Step, UpstreamError, Vendor, Watch as _};

fn network(proxy: Option<&str>) -> (Arc<Notes>, Network) {
    let notes = Arc::new(Notes::new(|_| {}));
    let network = Network::new(Arc::clone(&notes), &Check::NETWORK);
    let setup = Setup { environment: Environment::empty(), ..Setup::default() };
    let vendor = Vendor::open(&config::Upstream::default(), "test", setup).unwrap();
    network.opened(&vendor, Route { proxy: proxy.map(str::to_owned), direct: "bypassed".to_owned() });
    (notes, network)
}

fn seen(step: Step, target: &str) -> Seen {
    Seen { step, target: target.to_owned(), detail: "TLSv1_2".to_owned(), took: Duration::from_millis(1) }
}

fn told(notes: &Notes) -> Vec<String> {
    notes.lines().iter().map(|line| format!("{} {}", line.step.as_str(), line.result.as_str())).collect()
}

fn dns() -> (UpstreamError, Failure) {
    let error = UpstreamError::Dns { host: "x".to_owned(), source: "no such name".into() };
    (error, Failure::new(Reason::Dns, "x"))
}

#[test]
fn without_a_proxy_its_lines_say_so_in_their_place() {
    let (notes, network) = network(None);
    for step in [Step::Dns, Step::Tcp, Step::Tls, Step::Http] {
        network.seen(seen(step, "x:443"));
    }
    assert_eq!(told(&notes), ["dns ok", "tcp ok", "proxy none", "connect none", "tls ok"]);
    assert_eq!(notes.lines()[2].seen, "bypassed");
    assert_eq!(notes.lines()[4].seen, "TLS 1.2");
}

#[test]
fn a_second_connection_to_the_same_host_is_no_news() {
    let (notes, network) = network(Some("http://proxy:3128"));
    for step in [Step::Dns, Step::Tcp, Step::ProxyTls, Step::Connect, Step::Dns, Step::Tcp, Step::ProxyTls] {
        network.seen(seen(step, "x:443"));
    }
    network.seen(seen(Step::Tcp, "y:443"));
    assert_eq!(told(&notes), ["dns ok", "tcp ok", "proxy ok", "connect ok", "tcp ok"]);
    network.be_quiet();
    network.seen(seen(Step::Tcp, "z:443"));
    assert_eq!(notes.lines().len(), 5);
}

#[test]
fn what_comes_behind_a_failed_step_is_not_tried() {
    let (notes, network) = network(Some("http://proxy:3128"));
    let (error, failure) = dns();
    network.failed(&error, failure, Check::Http);
    network.none_tried(Mark::NotTried, "");
    let lines = told(&notes);
    assert_eq!(lines[0], "dns FAILED");
    assert_eq!(lines[1..].iter().filter(|line| line.ends_with(" not tried")).count(), Check::NETWORK.len() - 1);
    assert_eq!(notes.lines()[2].seen, "http://proxy:3128", "which proxy it would be is known");
    assert_eq!(notes.failure().map(|failure| failure.reason), Some(Reason::Dns));
}

#[test]
fn lines_hold_no_control_characters() {
    let line = Line::new(Check::Http, Mark::Ok, "a\u{1b}[2Jb\nc").about("x\r").with(["d\u{9b}".to_owned()]);
    assert_eq!((line.seen.as_str(), line.target.as_deref()), ("a [2Jb c", Some("x ")));
    assert_eq!(line.details, ["d "]);
}
