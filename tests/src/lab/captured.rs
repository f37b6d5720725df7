//! A capture, served again: each captured answer at its own path, verbatim but for what belongs to a connection.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use bundles::Limits;
use bundles::capture::{self, Exchange, REMOVED};
use bundles::index::{Index, Patterns};
use bytes::Bytes;
use hyper::header::{self, HeaderMap};
use hyper::{Response, StatusCode};
use tempfile::TempDir;
use url::{Position, Url};

use super::body::{Body, Delivery, Source, full, sent};

/// Headers that belong to the connection over which the answer came once, or that would tell a time that has passed.
const OF_THE_CONNECTION: [&str; 6] =
    ["connection", "content-length", "date", "keep-alive", "strict-transport-security", "transfer-encoding"];

/// The captured answers.
#[derive(Debug)]
pub(super) struct Captured {
    /// Path and query of the index.
    index: String,
    /// Where it was found, and so what its relative locators are relative to.
    found: Url,
    /// By path and query.
    answers: HashMap<String, Exchange>,
    /// URLs of this and other hosts that are answered here.
    urls: Vec<Url>,
    directory: TempDir,
    source: PathBuf,
}

impl Captured {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
        let opened = capture::read(&mut file, directory.path(), &Limits::default())
            .with_context(|| format!("{} cannot be replayed", path.display()))?;
        let capture = opened.capture;
        ensure!(capture.index.body.is_some(), "{} holds no index to replay", path.display());
        let mut answers = HashMap::new();
        for exchange in capture.exchanges() {
            answers.insert(place(&exchange.url), exchange.clone());
            answers.insert(place(&exchange.found), exchange.clone());
        }
        Ok(Self {
            index: place(&capture.index.url),
            found: capture.index.found.clone(),
            urls: capture.exchanges().map(|exchange| exchange.url.clone()).collect(),
            answers,
            directory,
            source: path.to_owned(),
        })
    }

    /// The file that is replayed.
    pub(super) fn source(&self) -> &Path {
        &self.source
    }

    /// Path and query of the index.
    pub(super) fn index(&self) -> &str {
        &self.index
    }

    /// The answer for a path and query; `base` is a URL of this server.
    pub(super) fn answer(
        &self,
        place: &str,
        asked: &HeaderMap,
        base: &Url,
        delivery: Delivery,
    ) -> Result<Option<Response<Body>>> {
        let Some(exchange) = self.answers.get(place) else { return Ok(None) };
        let mut response = Response::builder().status(exchange.status);
        for header in &exchange.headers {
            if header.value != REMOVED && !OF_THE_CONNECTION.contains(&header.name.as_str()) {
                response = response.header(&header.name, &header.value);
            }
        }
        if is_known(exchange, asked) {
            return Ok(Some(response.status(StatusCode::NOT_MODIFIED).body(full(""))?));
        }
        let Some(body) = &exchange.body else { return Ok(Some(response.body(full(""))?)) };
        let path = self.directory.path().join(&body.path);
        let source = if place == self.index {
            Source::Bytes(self.relocated(&std::fs::read(&path)?, base))
        } else {
            Source::File(path, body.length)
        };
        let length = source.length();
        let response = response.header(header::CONTENT_LENGTH, length);
        Ok(Some(response.body(sent(source, 0, length, delivery))?))
    }

    /// The index with its absolute locators leading here; relative ones do already. One that cannot be read is left as it
    /// is: how the mirror takes it is what a replay is to show.
    fn relocated(&self, index: &[u8], base: &Url) -> Bytes {
        let mut here = |entry: &bundles::index::Entry| {
            let is_absolute = Url::parse(&entry.locator).is_ok();
            let is_captured = self.urls.contains(&entry.url) || entry.url.host() == self.found.host();
            let moved = base.join(&place(&entry.url)).ok().filter(|_| is_absolute && is_captured);
            moved.map_or_else(|| entry.locator.clone(), String::from)
        };
        let read = Index::rewrite(index, &self.found, &Patterns::default(), &Limits::default(), &mut here);
        read.map_or_else(|_| Bytes::copy_from_slice(index), Bytes::from)
    }
}

/// Path and query, as requests name them.
fn place(url: &Url) -> String {
    url[Position::BeforePath..Position::AfterQuery].to_owned()
}

/// Whether whoever asks has it already: by the captured tag, else by the captured date, letter by letter.
fn is_known(exchange: &Exchange, asked: &HeaderMap) -> bool {
    let asked = |name: &str| asked.get(name).and_then(|value| value.to_str().ok());
    match asked("if-none-match") {
        Some(tags) => exchange.header("etag").is_some_and(|etag| tags.split(", ").any(|tag| tag == etag)),
        None => asked("if-modified-since").is_some_and(|since| exchange.header("last-modified") == Some(since)),
    }
}
