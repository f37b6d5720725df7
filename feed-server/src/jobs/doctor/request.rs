//! What to ask the proxy and firewall teams for, ready to be sent to them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;
use url::Url;

use super::settings::{AnchorFacts, HTTPS};
use super::{ServerFacts, USER_AGENT};
use crate::config::{Config, Role};
use crate::upstream::Vendor;

const SECONDS_A_DAY: u64 = 86_400;

/// Bytes of a run that finds nothing new: a handshake with three certificates, through a proxy, and an answer of 304.
const IDLE_RUN: u64 = 16 << 10;

/// What is asked for.
#[derive(Debug, Clone, Serialize)]
pub struct Request {
    /// Which program asks.
    pub program: &'static str,
    /// What it calls itself.
    pub user_agent: &'static str,
    /// What it does with what it fetches.
    pub task: &'static str,
    /// Where it connects to, by itself or through the proxy.
    pub hosts: Vec<HostWanted>,
    /// The proxy that it uses, without a password.
    pub proxy: Option<String>,
    /// Who it is asked as.
    pub proxy_user: Option<String>,
    /// How the proxy is asked.
    pub method: Option<String>,
    /// Runs a day.
    pub runs_a_day: u64,
    /// Bytes of a run that finds nothing new.
    pub bytes_of_an_idle_run: u64,
    /// Bytes of the archives of the newest release, where one is known: what a run fetches at most as things are.
    pub bytes_of_a_whole_run: Option<u64>,
    /// Bytes at which a run is broken off.
    pub bytes_limit_of_a_run: u64,
}

/// A host, and who may vouch for it.
#[derive(Debug, Clone, Serialize)]
pub struct HostWanted {
    /// Its name.
    pub host: String,
    /// TCP ports.
    pub ports: BTreeSet<u16>,
    /// What it is for.
    pub purpose: &'static str,
    /// Whether it is reached through the proxy.
    pub through_proxy: bool,
    /// The only roots that are accepted for it.
    pub roots: Vec<AnchorFacts>,
}

impl Request {
    /// For a configuration, and what a running server knows.
    #[must_use]
    pub fn of(config: &Config, vendor: &Vendor, server: Option<&ServerFacts>) -> Self {
        let proxies = vendor.proxies();
        let mut hosts: BTreeMap<String, HostWanted> = BTreeMap::new();
        let mut order = Vec::new();
        let mut want = |host: &str, port: u16, purpose| {
            let wanted = hosts.entry(host.to_owned()).or_insert_with(|| {
                order.push(host.to_owned());
                let roots = vendor.verifier().anchors_for(host).iter().map(AnchorFacts::of).collect();
                let through_proxy = proxies.route(host, port).is_some();
                HostWanted { host: host.to_owned(), ports: BTreeSet::new(), purpose, through_proxy, roots }
            });
            wanted.ports.insert(port);
        };
        for (number, url) in vendor.sources().iter().enumerate() {
            let purpose = match (config.upstream.role(), number) {
                (Role::Origin, 0) => "index and archives",
                (Role::Origin, _) => "index and archives, in reserve",
                (Role::Relay, 0) => "signed metadata and archives",
                (Role::Relay, _) => "signed metadata and archives, in reserve",
            };
            want(url.host_str().unwrap_or_default(), port(url), purpose);
        }
        if let Some(url) = vendor.offline_zip_url() {
            want(url.host_str().unwrap_or_default(), port(url), "the vendor's offline zip");
        }
        for allowed in &config.upstream.allowed_hosts {
            want(&allowed.host, HTTPS, "archives");
        }
        let hosts: Vec<HostWanted> = order.iter().filter_map(|host| hosts.remove(host)).collect();
        let first = hosts.iter().find(|wanted| wanted.through_proxy);
        let method =
            first.and_then(|wanted| Some(format!("CONNECT {}:{} HTTP/1.1", wanted.host, wanted.ports.first()?)));
        let every = config.schedule.every.as_secs().max(1);
        Self {
            program: "Posture Feed (feed-server)",
            user_agent: USER_AGENT,
            task: match config.upstream.role() {
                Role::Origin => "mirrors the vendor's posture update feed for our headends",
                Role::Relay => "hands our own mirror of the vendor's posture update feed on to our headends",
            },
            proxy: method.as_ref().and_then(|_| Some(proxies.proxy()?.identity())),
            proxy_user: config.upstream.proxy.username.clone().filter(|_| method.is_some()),
            method,
            hosts,
            runs_a_day: if config.upstream.fetches() { SECONDS_A_DAY.div_ceil(every) } else { 0 },
            bytes_of_an_idle_run: IDLE_RUN,
            bytes_of_a_whole_run: server.and_then(|server| server.archive_bytes),
            bytes_limit_of_a_run: config.limits.run_bytes,
        }
    }

    /// As plain text, to be pasted into a ticket.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing into a string does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "Request: allow a server of ours to fetch posture updates\n")?;
        writeln!(text, "{} {}. Please allow:\n", self.program, self.task)?;
        self.write_connections(text)?;
        self.write_inspection(text)?;
        writeln!(text, "\nTraffic")?;
        writeln!(text, "  User-Agent      {}", self.user_agent)?;
        writeln!(text, "  Requests        {} runs a day, GET only, each asking for changes only", self.runs_a_day)?;
        let idle = self.bytes_of_an_idle_run.saturating_mul(self.runs_a_day);
        writeln!(text, "  Bytes a day     about {} where nothing is new", bytes(idle))?;
        match self.bytes_of_a_whole_run {
            Some(whole) => {
                let most = whole.saturating_mul(self.runs_a_day);
                writeln!(
                    text,
                    "                  a run fetches what changed: at most {} if everything did ({} a day if every run \
                     found that)",
                    bytes(whole),
                    bytes(most)
                )?;
            }
            None => {
                writeln!(
                    text,
                    "                  a run fetches what changed; how much at most, a running server knows after the first one"
                )?;
            }
        }
        writeln!(text, "  Limit           a run is broken off beyond {}", bytes(self.bytes_limit_of_a_run))
    }

    fn write_connections(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "Connections from this server")?;
        for wanted in self.hosts.iter().filter(|wanted| !wanted.through_proxy) {
            writeln!(text, "  TCP {:<11} to {} ({})", ports(&wanted.ports), wanted.host, wanted.purpose)?;
        }
        if let (Some(proxy), Some(method)) = (&self.proxy, &self.method) {
            let user = self.proxy_user.as_ref().map_or_else(String::new, |user| format!(", as user {user}"));
            writeln!(text, "  TCP             to the proxy {proxy}{user}")?;
            writeln!(text, "  DNS (UDP and TCP 53) and NTP (UDP 123) to your usual servers")?;
            writeln!(text, "\nThrough the proxy, method CONNECT (as in \"{method}\")")?;
            for wanted in self.hosts.iter().filter(|wanted| wanted.through_proxy) {
                writeln!(text, "  TCP {:<11} to {} ({})", ports(&wanted.ports), wanted.host, wanted.purpose)?;
            }
            return Ok(());
        }
        writeln!(text, "  DNS (UDP and TCP 53) and NTP (UDP 123) to your usual servers")
    }

    fn write_inspection(&self, text: &mut String) -> std::fmt::Result {
        writeln!(
            text,
            "\nNo TLS inspection for these hosts, please: the program accepts certificates of the roots below and of"
        )?;
        writeln!(text, "no other, so that an inspected connection fails.")?;
        for wanted in &self.hosts {
            writeln!(text, "  {}", wanted.host)?;
            for root in &wanted.roots {
                writeln!(text, "    root          {}", root.shown())?;
                match root.sha256 {
                    Some(sha256) => writeln!(text, "    SHA-256       {sha256} (certificate)")?,
                    None => writeln!(text, "    SHA-256       {} (public key)", root.key_sha256)?,
                }
            }
        }
        Ok(())
    }
}

fn port(url: &Url) -> u16 {
    url.port_or_known_default().unwrap_or(HTTPS)
}

fn ports(ports: &BTreeSet<u16>) -> String {
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}

fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}
