//! The proxy that answered 407, and to what (design, promise 8): accounts get locked by those who try again and again, so
//! that the same user name and password go to the same proxy once, until an operator asks or the proxy takes them.
//!
//! What was refused is kept in a file of its own, by a salted mark. The state would be the wrong place: it is held in
//! memory during an attempt, everybody may read it, and commands that make no attempt ask the proxy too.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bundles::{Reason, Reasoned};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::Edge;
use crate::data::Paths;
use crate::durable::{self, Readers, StorageError};
use crate::proxy::Proxy;

/// So many refusals are remembered. Two environments, the service's and an operator's shell, can have a password each and
/// change it a few times; beyond that the oldest one is a password that nobody has configured any more.
const MAX_REFUSALS: usize = 16;

/// For whom the proxy is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// A person: what was refused is tried once more.
    Operator,
    /// `feed-client run`, and every command that can do without the network: what was refused is not sent.
    Timer,
}

/// What the proxy refused, as it may be kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The proxy's host and port.
    pub proxy: String,
    /// The salted mark of proxy, user name and password.
    pub mark: String,
    /// Whether there were any: a proxy may want them where none are configured.
    pub had_credentials: bool,
    /// When the proxy refused.
    pub at: Timestamp,
}

/// The file's content.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Book {
    /// Drawn anew with each file, so that marks cannot be compared with those of other machines. One for all refusals, so
    /// that one mark tells whether any of them is meant.
    salt: String,
    refused: Vec<Refusal>,
}

/// What was refused here: asked before each request through a proxy, and told how it went.
#[derive(Debug, Clone)]
pub struct Refusals(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    asker: Asker,
    path: PathBuf,
    edge: Edge,
    /// For a file that is not there yet: then the mark is made before the password is sent, and written at once after.
    salt: String,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    /// The last mark that was made, since each takes a fraction of a second.
    mark: Option<(Proxy, String, String)>,
    /// Refused in this process, and not heeded by the file: because an operator asks, or since it could not be written.
    refused: Vec<(Proxy, Refusal)>,
}

impl Refusals {
    /// Those of this data directory.
    #[must_use]
    pub fn new(asker: Asker, paths: &Paths, edge: Edge) -> Self {
        let (path, salt) = (paths.proxy_refusals(), hex::encode(rand::random::<[u8; 16]>()));
        Self(Arc::new(Inner { asker, path, edge, salt, memory: Mutex::default() }))
    }

    /// What this proxy refused of what it would be sent now, if it must not be asked.
    ///
    /// # Errors
    /// What is kept cannot be read, and no operator asks: then nobody knows.
    pub fn refusal(&self, proxy: &Proxy) -> Result<Option<Refusal>, RefusalsError> {
        let here =
            self.memory().refused.iter().find(|(refused, _)| refused == proxy).map(|(_, refusal)| refusal.clone());
        if let Some(refusal) = here {
            // The disk may have room again; until then, this process remembers.
            if self.0.asker == Asker::Timer && self.keep(proxy, &refusal).is_ok() {
                self.memory().refused.retain(|(refused, _)| refused != proxy);
            }
            return Ok(Some(refusal));
        }
        match self.0.asker {
            Asker::Operator => {
                let book = self.load_to_replace();
                self.mark(proxy, &book.salt);
                Ok(None)
            }
            Asker::Timer => {
                let book = self.load()?;
                let mark = self.mark(proxy, &book.salt);
                Ok(book.refused.into_iter().find(|refusal| refusal.mark == mark))
            }
        }
    }

    /// The proxy answered 407. Waits until that is on disk: nothing else may come first.
    pub fn refused(&self, proxy: &Proxy) {
        let refusal = Refusal {
            proxy: proxy.to_string(),
            // The file's salt makes it, in `keep`.
            mark: String::new(),
            had_credentials: proxy.authorization().is_some(),
            at: self.0.edge.now(),
        };
        let kept = self.keep(proxy, &refusal);
        if let Err(error) = &kept {
            let error = error.whole_message();
            tracing::warn!(%proxy, "that the proxy refused is known until this process ends, and no longer: {error}");
        }
        if kept.is_err() || self.0.asker == Asker::Operator {
            self.memory().refused.push((proxy.clone(), refusal));
        }
    }

    /// The proxy let a request through: what it refused before is forgotten.
    pub fn accepted(&self, proxy: &Proxy) {
        match self.0.asker {
            // Who is sent nothing that was refused has nothing to forget.
            Asker::Timer => {}
            Asker::Operator => {
                if let Err(error) = self.forget(proxy) {
                    let error = error.whole_message();
                    tracing::warn!(%proxy, "the proxy took what it refused before, and that was not noted: {error}");
                }
            }
        }
    }

    fn keep(&self, proxy: &Proxy, refusal: &Refusal) -> Result<(), StorageError> {
        let mut book = self.load_to_replace();
        let mark = self.mark(proxy, &book.salt);
        book.refused.retain(|refused| refused.mark != mark);
        book.refused.push(Refusal { mark, ..refusal.clone() });
        let too_many = book.refused.len().saturating_sub(MAX_REFUSALS);
        book.refused.drain(..too_many);
        self.save(&book)
    }

    fn forget(&self, proxy: &Proxy) -> Result<(), StorageError> {
        let mut book = self.load_to_replace();
        if book.refused.is_empty() {
            return durable::remove_file(&self.0.path);
        }
        let mark = self.mark(proxy, &book.salt);
        let before = book.refused.len();
        // Another password, of the service's environment say, stays refused.
        book.refused.retain(|refused| refused.mark != mark);
        match book.refused.len() {
            0 => durable::remove_file(&self.0.path),
            left if left < before => self.save(&book),
            _ => Ok(()),
        }
    }

    fn load(&self) -> Result<Book, RefusalsError> {
        let path = &self.0.path;
        let Some(bytes) = durable::read_if_there(path)? else { return Ok(self.empty()) };
        serde_json::from_slice(&bytes).map_err(|source| RefusalsError::Damaged { path: path.clone(), source })
    }

    /// One that is of no use counts as none to whoever is about to write a better one.
    fn load_to_replace(&self) -> Book {
        self.load().unwrap_or_else(|_| self.empty())
    }

    fn empty(&self) -> Book {
        Book { salt: self.0.salt.clone(), refused: Vec::new() }
    }

    fn save(&self, book: &Book) -> Result<(), StorageError> {
        // Strings and times: serde_json has nothing to refuse here.
        let bytes = serde_json::to_vec_pretty(book).unwrap_or_default();
        // A weak password can be guessed from its mark, at great cost; nobody else need try.
        durable::write(&self.0.path, &bytes, Readers::OwnerOnly)
    }

    fn mark(&self, proxy: &Proxy, salt: &str) -> String {
        let mut memory = self.memory();
        if let Some((of, with, mark)) = &memory.mark
            && of == proxy
            && with == salt
        {
            return mark.clone();
        }
        let mark = proxy.mark(salt.as_bytes());
        memory.mark = Some((proxy.clone(), salt.to_owned(), mark.clone()));
        mark
    }

    // What a panic elsewhere left is whole: nothing in it spans two fields.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why it is not known what was refused.
#[derive(Debug, thiserror::Error)]
pub enum RefusalsError {
    /// The file system's answer.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Not what was written.
    #[error(
        "{} is damaged, so that nobody knows whether the proxy refused its password; `feed-client update` asks the proxy \
         once, and mends the file", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

impl Reasoned for RefusalsError {
    fn reason(&self) -> Reason {
        match self {
            Self::Storage(error) => error.reason(),
            Self::Damaged { .. } => Reason::Storage,
        }
    }
}

#[cfg(test)]
mod tests;
