//! The way from a verb to the data: the control socket of the server that runs, or one that the verb opens for itself.
//! Either way the verb speaks the same API, so there is one path to test.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bundles::report::Failure;
use bundles::{Reason, Reasoned as _, Serial};
use futures_util::StreamExt as _;
use reqwest::header::CONTENT_LENGTH;
use reqwest::{Body, Client, Method, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{Global, failed};
use crate::app::{App, Opened};
use crate::config::Config;
use crate::control::{ControlSocket, SocketPath};
use crate::http::api::views::StatusView;
use crate::http::errors::Problem;
use crate::http::server::Servers;
use crate::store::user_name;
use crate::{clock, jobs};

/// How long to wait for a process that has the data directory's lock and does not answer yet: a server that starts, or
/// another verb that ends.
const PATIENCE: Duration = Duration::from_secs(5);

const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Read from a medium at once, and sent.
const UPLOAD_PIECE: usize = 256 << 10;

/// The way in.
#[derive(Debug)]
pub struct Door {
    client: Client,
    own: Option<Own>,
    _path: SocketPath,
}

/// What a verb runs for itself where no server does.
#[derive(Debug)]
struct Own {
    stop: CancellationToken,
    runner: JoinHandle<()>,
    servers: Servers,
    socket: ControlSocket,
}

impl Door {
    /// Opens the way in, does `act`, and closes it again whatever came of it.
    ///
    /// # Errors
    /// Those of `act`; or there is no way in.
    pub async fn with<T>(global: &Global, act: impl AsyncFnOnce(&Self) -> anyhow::Result<T>) -> anyhow::Result<T> {
        Self::open(global.config()?, Start::AsItIs, Absent::IsRefused).await?.act(act).await
    }

    /// The same, but a mirror is made where there is none.
    ///
    /// # Errors
    /// As [`Self::with`].
    pub async fn making<T>(global: &Global, act: impl AsyncFnOnce(&Self) -> anyhow::Result<T>) -> anyhow::Result<T> {
        Self::open(global.config()?, Start::AsItIs, Absent::IsMade).await?.act(act).await
    }

    /// The same, and where no server runs, what an earlier process left unpublished is published first.
    ///
    /// # Errors
    /// As [`Self::with`].
    pub async fn with_published<T>(
        global: &Global,
        act: impl AsyncFnOnce(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        Self::open(global.config()?, Start::Published, Absent::IsRefused).await?.act(act).await
    }

    /// The way to the server that runs on the data directory, where one does; nothing is opened otherwise.
    ///
    /// # Errors
    /// The socket is another user's.
    pub fn to_server(config: &Config) -> anyhow::Result<Option<Self>> {
        let directory = &config.data.directory;
        // Without the directory there is neither a socket nor a server.
        if !directory.exists() || !server_answers(directory)? {
            return Ok(None);
        }
        let path = SocketPath::of(directory).map_err(|error| no_socket(directory, &error))?;
        Ok(Some(Self { client: client(&path)?, own: None, _path: path }))
    }

    async fn act<T>(self, act: impl AsyncFnOnce(&Self) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let result = act(&self).await;
        self.close().await;
        result
    }

    async fn open(config: Config, start: Start, absent: Absent) -> anyhow::Result<Self> {
        let directory = config.data.directory.clone();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(door) = Self::to_server(&config)? {
                return Ok(door);
            }
            let refused = match absent {
                Absent::IsRefused => refuse_absent(&directory),
                Absent::IsMade => Ok(()),
            };
            if let Err(failure) = refused {
                // A server that starts here for the first time takes the lock before it makes the directory a mirror's.
                if crate::store::was_locked(&directory) && Instant::now() < deadline {
                    tokio::time::sleep(LOOK_AGAIN).await;
                    continue;
                }
                return Err(failure.into());
            }
            match open_app(config.clone(), None, start).await {
                Ok(app) => return Self::open_own(&directory, app),
                Err(failure) if failure.reason == Reason::Busy && Instant::now() < deadline => {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                Err(failure) => return Err(failure.into()),
            }
        }
    }

    fn open_own(directory: &Path, app: Arc<App>) -> anyhow::Result<Self> {
        let (socket, listener) = ControlSocket::open(directory).map_err(|error| no_socket(directory, &error))?;
        let mut servers = Servers::default();
        servers.serve_control(&app, listener).map_err(failed)?;
        let stop = CancellationToken::new();
        let runner = tokio::spawn(jobs::runner::on_request(app, stop.clone()));
        let path = SocketPath::of(directory).map_err(|error| no_socket(directory, &error))?;
        let client = client(&path)?;
        Ok(Self { client, own: Some(Own { stop, runner, servers, socket }), _path: path })
    }

    /// Whether it leads to a server that runs, not to what the verb runs for itself.
    #[must_use]
    pub fn leads_to_server(&self) -> bool {
        self.own.is_none()
    }

    /// The number of the newest release.
    ///
    /// # Errors
    /// There is none; or as [`Self::get`].
    pub async fn newest(&self) -> anyhow::Result<Serial> {
        let status: StatusView = self.get("/api/v1/status").await?;
        let none = || Failure::new(Reason::NotFound, "there is no release yet; run `feed-server sync` first");
        Ok(status.release.ok_or_else(none)?.serial)
    }

    async fn close(self) {
        drop(self.client);
        let Some(own) = self.own else { return };
        // The socket goes first: who comes now must not find one that no longer answers, nor may its file be removed
        // after the data directory's lock went to somebody else.
        drop(own.socket);
        own.stop.cancel();
        if let Err(error) = own.runner.await {
            tracing::error!(%error, "the runner did not end well");
        }
        own.servers.stop().await;
    }

    /// Asks for facts.
    ///
    /// # Errors
    /// The server's problem, as it says it.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        Ok(self.send(Method::GET, path, None::<&()>).await?.json().await?)
    }

    /// Asks for something to happen.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> anyhow::Result<T> {
        Ok(self.send(Method::POST, path, Some(body)).await?.json().await?)
    }

    /// Asks for something to happen that is answered without facts.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn tell(&self, path: &str, body: &impl Serialize) -> anyhow::Result<()> {
        self.send(Method::POST, path, Some(body)).await.map(drop)
    }

    /// Asks for something to go.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn delete(&self, path: &str) -> anyhow::Result<()> {
        self.send(Method::DELETE, path, None::<&()>).await.map(drop)
    }

    /// Bytes as they are.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn bytes(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        Ok(self.send(Method::GET, path, None::<&()>).await?.bytes().await?.to_vec())
    }

    /// Hands bytes on as they come, all of them.
    ///
    /// # Errors
    /// As [`Self::get`]; they broke off; or what `take` says.
    pub async fn stream(&self, path: &str, mut take: impl FnMut(&[u8]) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let mut response = self.send(Method::GET, path, None::<&()>).await?;
        loop {
            let piece = response.chunk().await.map_err(|error| {
                let message = format!("the answer broke off ({error}); the server's log says why");
                Failure::new(Reason::Truncated, message)
            })?;
            let Some(piece) = piece else { return Ok(()) };
            take(&piece)?;
        }
    }

    /// Streams a file to `target`, which appears whole or not at all; tells `progress` bytes so far and in all.
    ///
    /// # Errors
    /// As [`Self::get`]; or the file cannot be written.
    pub async fn download(
        &self,
        path: &str,
        target: &Path,
        mut progress: impl FnMut(u64, Option<u64>),
    ) -> anyhow::Result<u64> {
        let mut response = self.send(Method::GET, path, None::<&()>).await?;
        let length = response.content_length();
        let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let unwritten = |error: std::io::Error| cannot_write(target, &error);
        // Readable as the user's umask says: it is made to be handed on.
        let mut builder = tempfile::Builder::new();
        builder.prefix(".posture-").permissions(std::fs::Permissions::from_mode(0o666));
        let file = builder.tempfile_in(directory).map_err(unwritten)?;
        let mut writer = tokio::fs::File::from_std(file.as_file().try_clone().map_err(unwritten)?);
        let mut written = 0;
        while let Some(chunk) = response.chunk().await? {
            writer.write_all(&chunk).await.map_err(unwritten)?;
            written += chunk.len() as u64;
            progress(written, length);
        }
        writer.sync_all().await.map_err(unwritten)?;
        file.persist(target).map_err(|error| unwritten(error.error))?;
        Ok(written)
    }

    /// Sends a file of `length` bytes; tells `progress` of each piece.
    ///
    /// # Errors
    /// As [`Self::get`]; or the file cannot be read to its end.
    pub async fn upload<T: DeserializeOwned>(
        &self,
        path: &str,
        source: &Path,
        file: std::fs::File,
        length: u64,
        progress: impl Fn(u64) + Send + Sync + 'static,
    ) -> anyhow::Result<T> {
        let unread = Arc::new(Mutex::new(None));
        let noting = Arc::clone(&unread);
        let pieces = ReaderStream::with_capacity(tokio::fs::File::from_std(file), UPLOAD_PIECE).map(move |piece| {
            match &piece {
                Ok(bytes) => progress(bytes.len() as u64),
                Err(error) => *noting.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string()),
            }
            piece
        });
        let request = self.client.request(Method::POST, format!("http://localhost{path}"));
        let request = request.header(CONTENT_LENGTH, length).body(Body::wrap_stream(pieces));
        let sent = answer(request.send().await).await;
        let unread = unread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(error) = unread {
            // A stick that was pulled out, or a sector that cannot be read.
            let message =
                format!("{} cannot be read to its end ({error}); check the medium, or copy it anew", source.display());
            return Err(Failure::new(Reason::Storage, message).into());
        }
        Ok(sent?.json().await?)
    }

    async fn send(&self, method: Method, path: &str, body: Option<&impl Serialize>) -> anyhow::Result<Response> {
        // The host is a formality: every connection goes to the socket.
        let mut request = self.client.request(method, format!("http://localhost{path}"));
        if let Some(body) = body {
            request = request.json(body);
        }
        answer(request.send().await).await
    }
}

/// What the server answers, or its problem.
async fn answer(response: reqwest::Result<Response>) -> anyhow::Result<Response> {
    let response = response.map_err(|error| {
        Failure::new(Reason::Connect, format!("the server went away ({error}); check whether it still runs"))
    })?;
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    let problem: Problem = response.json().await.unwrap_or_else(|_| {
        Problem::new(Reason::Internal, format!("the server answered {status}; see its log for the cause"))
    });
    Err(Failure::new(problem.reason, problem.detail).into())
}

/// How an app begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With what is there. Most verbs look at the catalog or change it; nothing has to be signed for that.
    AsItIs,
    /// With all that the catalog holds published.
    Published,
}

/// What a verb does where there is no mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Absent {
    /// It fails and changes nothing: most likely `--config` or `--data` was forgotten, and a second mirror, whose keys no
    /// headend trusts, would hide that.
    IsRefused,
    /// It makes one.
    IsMade,
}

/// Whether a server answers on the control socket of a data directory.
///
/// # Errors
/// The socket is another user's.
pub fn server_answers(directory: &Path) -> anyhow::Result<bool> {
    let path = SocketPath::of(directory).map_err(|error| no_socket(directory, &error))?;
    path.answers().map_err(|error| no_socket(directory, &error))
}

/// Opens the app on a data directory, puts right what an earlier process left, and tells people of new keys.
///
/// # Errors
/// Another process has it; it is another user's; or it cannot be read or written.
pub async fn open_app(config: Config, public_url: Option<Url>, start: Start) -> Result<Arc<App>, Failure> {
    refuse_other_owner(&config.data.directory)?;
    let Opened { app, keys_created } = App::open(config, public_url, clock::now).await?;
    // Before a run it is tried again; that earlier runs cannot be told the end of must not keep anybody from being served.
    if let Err(error) = jobs::startup::end_interrupted(&app) {
        tracing::error!(error = error.whole_message(), "earlier runs and imports stay without an end for now");
    }
    match start {
        Start::AsItIs => {}
        Start::Published => jobs::startup::publish(&app).await,
    }
    if keys_created {
        eprintln!("Signing keys were made in {}. Fingerprints (SHA-256):", app.config.data.directory.display());
        for key in app.publisher.keys() {
            eprintln!("  {:<18} {}", format!("{} {}", key.repository, key.role), key.fingerprint);
        }
    }
    Ok(Arc::new(app))
}

fn client(path: &SocketPath) -> anyhow::Result<Client> {
    // No TLS goes over the socket; the settings are given so that none are looked for.
    let tls = rustls::ClientConfig::builder_with_provider(certs::provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Ok(Client::builder().unix_socket(path.as_path()).tls_backend_preconfigured(tls).no_proxy().build()?)
}

/// A mirror is where signing keys are, without which nothing that an origin published is worth anything, or where it is
/// said that this is a relay: both are made before anything else.
fn refuse_absent(directory: &Path) -> Result<(), Failure> {
    // Where it cannot be known, opening tells why.
    if crate::app::role::is_mirror(directory).unwrap_or(true) {
        return Ok(());
    }
    let message = format!(
        "there is no mirror in {}; give its --config or --data, or make one with `feed-server serve`",
        directory.display()
    );
    Err(Failure::new(Reason::NotFound, message))
}

/// Files that another user makes in here the server could not read or replace later: root's above all.
pub(super) fn refuse_other_owner(directory: &Path) -> Result<(), Failure> {
    let Ok(metadata) = directory.metadata() else { return Ok(()) };
    let me = rustix::process::geteuid().as_raw();
    if metadata.uid() == me {
        return Ok(());
    }
    Err(Failure::new(Reason::BadRequest, run_as(directory, metadata.uid())))
}

fn no_socket(directory: &Path, error: &std::io::Error) -> anyhow::Error {
    let owner = directory.metadata().map(|metadata| metadata.uid());
    match owner {
        Ok(owner) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Failure::new(Reason::BadRequest, run_as(directory, owner)).into()
        }
        Ok(_) | Err(_) => {
            let message = format!("the control socket in {} cannot be used: {error}", directory.display());
            Failure::new(Reason::Storage, message).into()
        }
    }
}

fn run_as(directory: &Path, owner: u32) -> String {
    let name = user_name(owner);
    let directory = directory.display();
    format!(
        "the data directory {directory} belongs to user {name}, and files of another user in it would lock the server \
         out; run this as that user: sudo -u '{name}' feed-server …"
    )
}

/// A file that a command was to write and cannot.
pub fn cannot_write(path: &Path, error: &std::io::Error) -> anyhow::Error {
    let message = format!("{} cannot be written ({error}); check the path, permissions and free space", path.display());
    Failure::new(Reason::Storage, message).into()
}
