//! Chromium, headless, driven over the W3C WebDriver protocol: the client that is not ours of what the web defines.

mod person;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Client;
use serde_json::{Value, json};
use url::Url;

pub use self::person::Look;
use super::daemon::Daemon;

/// How long a script may take on a busy machine.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a browser may take to quit.
const QUIT_TIMEOUT: Duration = Duration::from_secs(20);

/// A browser with one window. Ends when dropped, with its driver.
#[derive(Debug)]
pub struct Chromium {
    driver: Daemon,
    http: Client,
    session: Url,
}

impl Chromium {
    /// Starts one with a profile of its own.
    ///
    /// # Errors
    /// Chromium or its driver is missing, or does not start.
    pub async fn start() -> Result<Self> {
        let place = Daemon::place()?;
        let port = format!("--port={}", place.0.address().port());
        let profile = place.1.path().join("profile");
        let driver = Daemon::start(place, "chromedriver", [port]).await?;
        let http =
            Client::builder().tls_backend_preconfigured(no_tls()?).no_proxy().timeout(SCRIPT_TIMEOUT * 2).build()?;
        let base = Url::parse(&format!("http://{}/", driver.address()))?;
        let created = ask(&http, base.join("session")?, &capabilities(&profile)).await?;
        let id = created["sessionId"].as_str().context("a session has an id")?;
        let session = base.join(&format!("session/{id}/"))?;
        let timeouts = json!({ "script": SCRIPT_TIMEOUT.as_millis() as u64 });
        ask(&http, session.join("timeouts")?, &timeouts).await?;
        Ok(Self { driver, http, session })
    }

    /// Goes to a page.
    ///
    /// # Errors
    /// The browser says why not.
    pub async fn open(&self, page: &Url) -> Result<()> {
        ask(&self.http, self.session.join("url")?, &json!({ "url": page.as_str() })).await.map(drop)
    }

    /// Runs the body of an `async` function in the page, with these arguments, and gives what it returns.
    ///
    /// # Errors
    /// It throws, or does not end in a minute.
    pub async fn run(&self, script: &str, arguments: &[&str]) -> Result<Value> {
        let body = format!("return (async (...args) => {{ {script} }})(...arguments);");
        ask(&self.http, self.session.join("execute/sync")?, &json!({ "script": body, "args": arguments })).await
    }
}

impl Drop for Chromium {
    /// The driver is killed after this, and would leave its browser behind.
    fn drop(&mut self) {
        let _ = quit(self.driver.address(), self.session.path().trim_end_matches('/'));
    }
}

/// Ends a session, without the runtime, which may be gone: answered once the browser has quit.
fn quit(driver: SocketAddr, session: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(driver)?;
    stream.set_read_timeout(Some(QUIT_TIMEOUT))?;
    write!(stream, "DELETE {session} HTTP/1.1\r\nHost: {driver}\r\nContent-Length: 0\r\n\r\n")?;
    stream.read(&mut [0; 64]).map(drop)
}

fn capabilities(profile: &Path) -> Value {
    // No sandbox, since tests run as root; nothing is browsed but our own server.
    let arguments = [
        "--headless=new".to_owned(),
        "--no-sandbox".to_owned(),
        "--disable-gpu".to_owned(),
        "--disable-dev-shm-usage".to_owned(),
        "--no-first-run".to_owned(),
        "--disable-background-networking".to_owned(),
        format!("--user-data-dir={}", profile.display()),
    ];
    json!({ "capabilities": { "alwaysMatch": {
        "browserName": "chrome",
        "goog:chromeOptions": { "args": arguments },
        "goog:loggingPrefs": { "browser": "ALL" },
    } } })
}

/// The driver speaks plain HTTP; the settings are given so that none are looked for.
pub(super) fn no_tls() -> Result<rustls::ClientConfig> {
    Ok(rustls::ClientConfig::builder_with_provider(certs::provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth())
}

async fn ask(http: &Client, url: Url, body: &Value) -> Result<Value> {
    let answer = http.post(url.clone()).json(body).send().await?;
    let status = answer.status();
    let mut told: Value = answer.json().await.with_context(|| format!("{url} answers {status}"))?;
    ensure!(status.is_success(), "{}: {}", url.path(), told["value"]["message"]);
    Ok(told["value"].take())
}
