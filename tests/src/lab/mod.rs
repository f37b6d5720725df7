//! The lab upstream: an HTTPS server that plays the vendor, with content that moves on when told to, and accidents that
//! happen when told to.
//!
//! It runs on a thread of its own and all its methods are plain calls, so that it goes on answering while a test waits
//! for a child process, on whatever runtime.

mod answer;
mod body;
mod captured;
mod control;
mod fault;
mod gate;
mod request;
mod server;
mod site;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow};
use bundles::fake::{Dialect, Edition, Feed, Options};
use certs::lab::{Chain, Versions};
use tokio::sync::{oneshot, watch};
use url::Url;

pub use fault::{Fault, Target, UnknownName};
pub use gate::{Gate, NotReached};
pub use request::LoggedRequest;
pub use site::{DIRECTORY, INDEX, OFFLINE_ZIP};

use captured::Captured;
use server::Command;
use site::{Content, FakeContent};

/// A whole answer given by a test in the place of what would be served.
#[derive(Debug, Clone)]
pub struct Raw {
    /// The status code.
    pub status: u16,
    /// Names and values, sent as they are; `Content-Length` is added where it is not among them.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Raw {
    /// 200 with these bytes.
    #[must_use]
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.into() }
    }
}

/// What the lab upstream is to be; see [`LabUpstream::builder`].
#[derive(Debug)]
pub struct LabBuilder {
    listen: SocketAddr,
    host: String,
    chain: Option<Chain>,
    versions: Versions,
    edition: Edition,
    options: Options,
    directory: Option<PathBuf>,
    capture: Option<PathBuf>,
    control: Option<SocketAddr>,
}

impl LabBuilder {
    /// The address to listen on; a free port of `127.0.0.1` without this.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// The host name in URLs and locators; `localhost` without this. The chain must be for it.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = host.into();
        self
    }

    /// The chain to present; a fresh one of the vendor's shape, for this machine's own names, without this.
    #[must_use]
    pub fn chain(mut self, chain: Chain) -> Self {
        self.chain = Some(chain);
        self
    }

    /// The TLS versions to speak; 1.2 only, as the vendor, without this.
    #[must_use]
    pub fn versions(mut self, versions: Versions) -> Self {
        self.versions = versions;
        self
    }

    /// The first edition; "before" of Update Information without this.
    #[must_use]
    pub fn edition(mut self, edition: Edition) -> Self {
        self.edition = edition;
        self
    }

    /// How the fake feed is made.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// How the index is written.
    #[must_use]
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.options.dialect = dialect;
        self
    }

    /// Serves the files of a directory instead of a fake feed.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Serves the answers of a capture instead of a fake feed, at the paths at which they were captured. Absolute locators
    /// of the captured host, and of captured archives elsewhere, are made to lead here; else nothing is changed.
    #[must_use]
    pub fn capture(mut self, capture: impl Into<PathBuf>) -> Self {
        self.capture = Some(capture.into());
        self
    }

    /// Opens the control endpoint, plain HTTP, there.
    #[must_use]
    pub fn control(mut self, address: SocketAddr) -> Self {
        self.control = Some(address);
        self
    }

    /// Starts it; it listens when this returns.
    ///
    /// # Errors
    /// An address is taken, or the chain cannot be made.
    pub fn start(self) -> Result<LabUpstream> {
        let chain = match self.chain {
            Some(chain) => chain,
            None => Chain::builder().loopback().build()?,
        };
        let tls = Arc::new(chain.server_config(self.versions)?);
        let content = match (self.directory, self.capture) {
            (_, Some(capture)) => Content::Captured(Box::new(Captured::open(&capture)?)),
            (Some(directory), None) => Content::Directory(directory),
            (None, None) => Content::Fake(Box::new(FakeContent::new(self.edition, self.options))),
        };
        let (commands, inbox) = tokio::sync::mpsc::unbounded_channel();
        let state = Arc::new(State {
            host: self.host,
            bound: OnceLock::new(),
            commands,
            mended: watch::Sender::new(0),
            inner: Mutex::new(Inner {
                content,
                faults: Vec::new(),
                cut: HashSet::new(),
                raw: HashMap::new(),
                gates: Vec::new(),
                log: Vec::new(),
            }),
        });
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = std::sync::mpsc::channel();
        let (for_thread, listen, control) = (Arc::clone(&state), self.listen, self.control);
        let thread = std::thread::Builder::new().name("lab-upstream".to_owned()).spawn(move || {
            server::run(&for_thread, listen, control, tls, inbox, &ready, stopped);
        })?;
        let control = started.recv().map_err(|_| anyhow!("the lab upstream ended before it listened"))??;
        Ok(LabUpstream { state, chain, control, stop: Some(stop), thread: Some(thread) })
    }
}

/// The running server. Ends when dropped.
#[derive(Debug)]
pub struct LabUpstream {
    state: Arc<State>,
    chain: Chain,
    control: Option<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    host: String,
    /// Where it listens, with the port that the system gave; from the moment it does.
    bound: OnceLock<Bound>,
    commands: tokio::sync::mpsc::UnboundedSender<Command>,
    /// Counts how often faults were taken away, so that stalled downloads wake up.
    mended: watch::Sender<u64>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Bound {
    address: SocketAddr,
    /// The URL of the vendor's directory.
    base: Url,
}

#[derive(Debug)]
struct Inner {
    content: Content,
    faults: Vec<(Target, Fault)>,
    /// The paths whose one cut is done ([`Fault::CutOnce`], [`Fault::ChangedMeanwhile`]).
    cut: HashSet<String>,
    raw: HashMap<String, Raw>,
    gates: Vec<Gate>,
    log: Vec<LoggedRequest>,
}

impl State {
    /// A panic of one request's task leaves lists that are whole.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bind(&self, address: SocketAddr) -> Result<()> {
        let base = format!("https://{}:{}{DIRECTORY}", self.host, address.port());
        let base = base.parse().with_context(|| format!("{base} is no URL"))?;
        // Called once, by the one thread that listens.
        let _ = self.bound.set(Bound { address, base });
        Ok(())
    }

    fn bound(&self) -> &Bound {
        self.bound.get().expect("a lab upstream listens from the moment it is started")
    }

    fn command(&self, command: impl FnOnce(std::sync::mpsc::Sender<Result<()>>) -> Command) -> Result<()> {
        let (done, answer) = std::sync::mpsc::channel();
        self.commands.send(command(done)).context("the lab upstream has ended")?;
        answer.recv().context("the lab upstream has ended")?
    }

    /// Adds an accident; [`Fault::Away`] has happened when this returns.
    fn break_with(&self, fault: Fault, target: Target) -> Result<()> {
        self.inner().faults.push((target, fault));
        if fault == Fault::Away { self.command(Command::Leave) } else { Ok(()) }
    }

    /// Takes all accidents away; the server listens again when this returns.
    fn mend(&self) -> Result<()> {
        let was_away = {
            let mut inner = self.inner();
            let away = inner.faults.iter().any(|(_, fault)| *fault == Fault::Away);
            inner.faults.clear();
            inner.cut.clear();
            away
        };
        self.mended.send_modify(|count| *count += 1);
        if was_away { self.command(Command::Return) } else { Ok(()) }
    }

    /// Where there is such a fault, what tells of its end.
    fn until_mended(&self, is: impl Fn(Target, Fault) -> bool) -> Option<watch::Receiver<u64>> {
        let inner = self.inner();
        let found = inner.faults.iter().any(|(target, fault)| is(*target, *fault));
        // Subscribed while the faults are locked, so that it wakes from the very mending that ends the fault.
        found.then(|| self.mended.subscribe())
    }

    fn publish_next(&self) -> Result<()> {
        self.inner().content.publish_next()
    }
}

impl LabUpstream {
    /// An upstream with the "before" edition of Update Information on a free port.
    #[must_use]
    pub fn builder() -> LabBuilder {
        LabBuilder {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            host: "localhost".to_owned(),
            chain: None,
            versions: Versions::default(),
            edition: Edition::before(),
            options: Options::default(),
            directory: None,
            capture: None,
            control: None,
        }
    }

    /// The index's URL: what `[upstream] url` is to hold.
    #[must_use]
    pub fn url(&self) -> Url {
        let captured = match &self.state.inner().content {
            Content::Captured(captured) => Some(captured.index().to_owned()),
            Content::Fake(_) | Content::Directory(_) => None,
        };
        self.url_of(captured.as_deref().unwrap_or(INDEX))
    }

    /// The URL of a file beside the index.
    ///
    /// # Panics
    /// The name makes no URL.
    #[must_use]
    pub fn url_of(&self, name: &str) -> Url {
        self.state.bound().base.join(name).unwrap_or_else(|error| panic!("{name:?} makes no URL: {error}"))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.state.bound().address
    }

    /// Where the control endpoint listens, if it was asked for.
    #[must_use]
    pub fn control(&self) -> Option<SocketAddr> {
        self.control
    }

    /// The chain it presents.
    #[must_use]
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Writes the root's certificate: the file to name in `[upstream] trust_anchors`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_ca(&self, path: &Path) -> Result<()> {
        std::fs::write(path, &self.chain.root.pem).with_context(|| format!("{} cannot be written", path.display()))
    }

    /// The feed as it is served now, where it is a fake one.
    #[must_use]
    pub fn feed(&self) -> Option<Feed> {
        match &self.state.inner().content {
            Content::Fake(content) => Some(content.feed().clone()),
            Content::Directory(_) | Content::Captured(_) => None,
        }
    }

    /// The edition that is served now, where it is a fake one.
    #[must_use]
    pub fn edition(&self) -> Option<Edition> {
        match &self.state.inner().content {
            Content::Fake(content) => Some(content.edition().clone()),
            Content::Directory(_) | Content::Captured(_) => None,
        }
    }

    /// Publishes the edition after the present one.
    ///
    /// # Errors
    /// A directory or a capture is served.
    pub fn publish_next(&self) -> Result<()> {
        self.state.publish_next()
    }

    /// Packs the vendor's own zip anew, and leaves the feed as it is.
    ///
    /// # Errors
    /// No fake feed is served.
    pub fn pack_anew(&self) -> Result<()> {
        self.state.inner().content.pack_anew()
    }

    /// Publishes that edition.
    ///
    /// # Errors
    /// A directory or a capture is served.
    pub fn publish(&self, edition: Edition) -> Result<()> {
        self.state.inner().content.publish(edition)
    }

    /// Lets an accident happen to what it usually strikes, until [`LabUpstream::mend`].
    ///
    /// # Errors
    /// The server has ended.
    pub fn break_with(&self, fault: Fault) -> Result<()> {
        self.break_at(fault, fault.usual_target())
    }

    /// Lets an accident happen to that, until [`LabUpstream::mend`].
    ///
    /// # Errors
    /// The server has ended.
    pub fn break_at(&self, fault: Fault, target: Target) -> Result<()> {
        self.state.break_with(fault, target)
    }

    /// Takes all accidents away. Gates and given answers stay.
    ///
    /// # Errors
    /// The server has ended, or its port was taken by another program while it was away.
    pub fn mend(&self) -> Result<()> {
        self.state.mend()
    }

    /// Answers a path with exactly this, until [`LabUpstream::restore`].
    pub fn answer(&self, path: &str, raw: Raw) {
        self.state.inner().raw.insert(path.to_owned(), raw);
    }

    /// Takes the given answer for a path away.
    pub fn restore(&self, path: &str) {
        self.state.inner().raw.remove(path);
    }

    /// Stops downloads of a path after that many bytes of its body, until the gate is released.
    #[must_use]
    pub fn gate(&self, path: &str, after: u64) -> Gate {
        let gate = Gate::new(path.to_owned(), after);
        self.state.inner().gates.push(gate.clone());
        gate
    }

    /// Every request so far, the oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.state.inner().log.clone()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.state.inner().log.clear();
    }
}

impl Drop for LabUpstream {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the server's thread has been printed already.
            let _ = thread.join();
        }
    }
}
