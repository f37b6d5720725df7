//! What a [`Vendor`](crate::upstream::Vendor) says while it connects, as lines.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bundles::report::Failure;
use certs::PinnedVerifier;
use jiff::{SignedDuration, Timestamp};

use super::chains::ChainFacts;
use super::{Check, Line, Mark, Notes};
use crate::upstream::{Content, Seen, Step, UpstreamError, Vendor, Watch};

/// A certificate that ends within this time is told of as a warning: a month is what it takes to find whoever renews it.
const ENDS_SOON: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How connections are made, for the lines about the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The proxy and where it is configured, in words; `None` where there is none on the way to the index.
    pub proxy: Option<String>,
    /// Why there is none.
    pub direct: String,
}

/// Notes the steps of connections.
#[derive(Debug)]
pub struct Network {
    notes: Arc<Notes>,
    steps: &'static [Check],
    opened: OnceLock<Opened>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct Opened {
    verifier: Arc<PinnedVerifier>,
    of_proxy: Option<Arc<PinnedVerifier>>,
    route: Route,
}

#[derive(Debug, Default)]
struct State {
    /// The last answer's head, until it is known whether it is the index's.
    answer: Option<Seen>,
    /// From here on, answers are archives'.
    index_came: bool,
    /// From here on, it is about something else.
    is_quiet: bool,
}

impl Network {
    /// Notes into `notes`. `steps` are those that there are, in order.
    #[must_use]
    pub fn new(notes: Arc<Notes>, steps: &'static [Check]) -> Self {
        Self { notes, steps, opened: OnceLock::new(), state: Mutex::default() }
    }

    /// Who verifies hosts and the proxy, and how the index is reached. Before the first request.
    pub fn opened(&self, vendor: &Vendor, route: Route) {
        let (verifier, of_proxy) = (Arc::clone(vendor.verifier()), vendor.proxies().verifier().cloned());
        // A second call would say the same.
        let _ = self.opened.set(Opened { verifier, of_proxy, route });
    }

    /// From here on, nothing is noted.
    pub fn be_quiet(&self) {
        self.lock().is_quiet = true;
    }

    /// The index's answer came: what was learnt of it, beside its status.
    pub fn index_came(&self, content: &Content) {
        let answer = {
            let mut state = self.lock();
            state.index_came = true;
            state.answer.take()
        };
        let may_ask = match (&content.etag, &content.last_modified) {
            (Some(_), Some(_)) => "ETag and Last-Modified, so that later runs can ask for changes only",
            (Some(_), None) => "ETag, so that later runs can ask for changes only",
            (None, Some(_)) => "Last-Modified, so that later runs can ask for changes only",
            (None, None) => "neither ETag nor Last-Modified, so that every run fetches it whole",
        };
        let length = content.length.map_or_else(|| "no length".to_owned(), |length| format!("{length} bytes"));
        let status = answer.as_ref().map_or("answered", |seen| seen.detail.as_str());
        let mut line = Line::new(Check::Http, Mark::Ok, format!("{status}; {length}; {may_ask}"));
        if let Some(seen) = answer {
            line = line.about(&seen.target).took(seen.took);
        }
        self.notes.note(line);
    }

    /// Notes the step that failed. `stage` is how far the look was, for errors that are of no connection.
    pub fn failed(&self, error: &UpstreamError, failure: Failure, stage: Check) {
        let refused = self.chains().into_iter().find(|chain| !chain.is_trusted);
        let check = match (error.step(), &refused) {
            (Some(Step::Dns), _) => Check::Dns,
            (Some(Step::Tcp), _) => Check::Tcp,
            (Some(Step::ProxyTls), _) => Check::Proxy,
            (Some(Step::Connect), _) => Check::Connect,
            (Some(Step::Tls), None) => Check::Tls,
            (Some(Step::Tls), Some(_)) => Check::Chain,
            (Some(Step::Http) | None, _) => stage,
        };
        if check > Check::Proxy {
            self.note_proxy(None);
        }
        if check > Check::Connect {
            self.note_no_connect();
        }
        let mut line = Line::failed(check, failure);
        if check == Check::Http
            && let Some(seen) = self.lock().answer.take()
        {
            line = Line { seen: seen.detail, ..line }.about(&seen.target).took(seen.took);
        }
        if let (Check::Proxy | Check::Chain, Some(chain)) = (check, refused) {
            if check == Check::Chain {
                let seen = "as far as the certificates";
                self.notes.note_once(Line::new(Check::Tls, Mark::Ok, seen).about(&chain.host));
            }
            line.seen = format!("refused: {}", certificates(&chain));
            line = line.about(&chain.host).with(chain.to_lines());
        }
        self.notes.note(line);
    }

    /// Notes the steps that have no line yet, in their order, with why not.
    pub fn none_tried(&self, result: Mark, why: &str) {
        for step in self.steps {
            if !self.notes.has(*step) {
                self.notes.note(self.not_tried(*step, result, why));
            }
        }
    }

    /// What is configured of a proxy is known without a try.
    fn not_tried(&self, step: Check, result: Mark, why: &str) -> Line {
        let route = self.opened.get().map(|opened| &opened.route).filter(|_| result == Mark::NotTried);
        match (step, route) {
            (Check::Proxy, Some(Route { proxy: Some(proxy), .. })) => Line::new(step, result, proxy),
            (Check::Proxy, Some(Route { proxy: None, direct })) => Line::new(step, Mark::None, direct),
            (Check::Connect, Some(Route { proxy: None, .. })) => Line::new(step, Mark::None, ""),
            (_, _) => Line::new(step, result, why),
        }
    }

    /// Every chain that was presented.
    #[must_use]
    pub fn chains(&self) -> Vec<ChainFacts> {
        let verifiers = self.opened.get().into_iter().flat_map(|it| it.of_proxy.iter().chain([&it.verifier]));
        verifiers.flat_map(|verifier| ChainFacts::all(verifier)).collect()
    }

    fn note_proxy(&self, seen: Option<&Seen>) {
        if self.notes.has(Check::Proxy) {
            return;
        }
        let Some(Opened { route, .. }) = self.opened.get() else { return };
        let line = match (&route.proxy, seen) {
            (None, _) => Line::new(Check::Proxy, Mark::None, &route.direct),
            (Some(proxy), None) => Line::new(Check::Proxy, Mark::Ok, proxy),
            (Some(proxy), Some(seen)) => {
                let tls = version_for_people(&seen.detail);
                Line::new(Check::Proxy, Mark::Ok, format!("{proxy}; TLS with it: {tls}")).took(seen.took)
            }
        };
        self.notes.note(line);
    }

    fn note_no_connect(&self) {
        let Some(Opened { route, .. }) = self.opened.get() else { return };
        if route.proxy.is_none() && !self.notes.has(Check::Connect) {
            self.notes.note(Line::new(Check::Connect, Mark::None, ""));
        }
    }

    fn note_chain(&self, target: &str) {
        let Some(Opened { verifier, .. }) = self.opened.get() else { return };
        let Some(chain) = verifier.presented(host_of(target)) else { return };
        let chain = ChainFacts::of(host_of(target), &chain);
        let mut mark = Mark::Ok;
        let ends = chain.first_to_end().map_or_else(String::new, |(position, not_after)| {
            if not_after.duration_since(chain.at) < ENDS_SOON {
                mark = Mark::Warning;
            }
            format!("; the first to end is number {position}, {}", day(not_after))
        });
        let seen = format!("trusted: {}{ends}", certificates(&chain));
        self.notes.note_once(Line::new(Check::Chain, mark, seen).about(&chain.host).with(chain.to_lines()));
    }

    // A panic elsewhere leaves nothing half-written in here.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch for Network {
    fn seen(&self, seen: Seen) {
        if self.lock().is_quiet {
            return;
        }
        let line = |check| Line::new(check, Mark::Ok, &seen.detail).about(&seen.target).took(seen.took);
        match seen.step {
            Step::Dns => self.notes.note_once(line(Check::Dns)),
            Step::Tcp => self.notes.note_once(line(Check::Tcp)),
            Step::ProxyTls => self.note_proxy(Some(&seen)),
            Step::Connect => {
                self.note_proxy(None);
                self.notes.note_once(line(Check::Connect));
            }
            Step::Tls => {
                self.note_proxy(None);
                self.note_no_connect();
                self.notes.note_once(Line { seen: version_for_people(&seen.detail), ..line(Check::Tls) });
                self.note_chain(&seen.target);
            }
            // Of a followed server, the first answer with what was asked for is what there is to say.
            Step::Http if self.steps.contains(&Check::Metadata) && seen.detail.starts_with("200") => {
                if !self.notes.has(Check::Http) {
                    self.notes.note(line(Check::Http));
                }
            }
            Step::Http => {
                let mut state = self.lock();
                if !state.index_came {
                    state.answer = Some(seen);
                }
            }
        }
    }
}

/// `www.cisco.com` of `www.cisco.com:443`, without the brackets of an IPv6 address, as verifiers know hosts.
fn host_of(target: &str) -> &str {
    let host = match target.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        Some(_) | None => target,
    };
    host.trim_start_matches('[').trim_end_matches(']')
}

/// `TLS 1.2` for `TLSv1_2`.
fn version_for_people(detail: &str) -> String {
    detail.replace("TLSv1_", "TLS 1.")
}

fn certificates(chain: &ChainFacts) -> String {
    match chain.certificates.len() {
        1 => "1 certificate".to_owned(),
        count => format!("{count} certificates"),
    }
}

fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}
