//! A run of a relay that follows another feed-server: look at its signed metadata, fetch what is not here of the release
//! that it calls stable, and take it over as it was signed. `jobs::update` records and publishes.

mod error;
mod metadata;

use std::collections::BTreeMap;
use std::sync::Arc;

use bundles::report::Failure;
use bundles::signed::{self, Metadata};
use bundles::{Digest, Limits, Manifest, Serial};
use jiff::Timestamp;

pub(super) use error::RelayError;
pub(super) use metadata::{Found, Offer, look as look_at_metadata};

use super::sources::Look;
use super::update::Taken;
use crate::app::{App, internal};
use crate::release::relay::{self, Received, Took};
use crate::store::holding::Holding;
use crate::store::{Held, Repository, Store, StoreError};
use crate::sync::checked::Staging;
use crate::sync::{self, Known, Progress};
use crate::upstream::mirror::Mirror;
use crate::upstream::{Vendor, trusted_root};

/// What is trusted, and what was taken before.
#[derive(Clone)]
pub(super) struct Standing {
    /// `[upstream] root`
    pub(super) root: Vec<u8>,
    /// Of each repository, what was taken last.
    pub(super) held: BTreeMap<Repository, Held>,
    /// The highest number that a release had.
    pub(super) highest: Option<Serial>,
    /// When the newest release was made.
    pub(super) signed_time: Option<Timestamp>,
    /// Whether every file of what is held is here.
    pub(super) is_whole: bool,
    /// What is here.
    pub(super) known: Known,
    /// The sentence about a new release, while somebody holds them.
    pub(super) held_back: Option<String>,
}

impl Standing {
    /// Nothing was taken before.
    pub(super) fn nothing(root: Vec<u8>) -> Self {
        let held = BTreeMap::new();
        Self { root, held, highest: None, signed_time: None, is_whole: false, known: Known::nothing(), held_back: None }
    }

    fn of(store: &Store, root: Vec<u8>) -> Result<Self, StoreError> {
        let mut held = BTreeMap::new();
        for repository in Repository::ALL {
            if let Some(of_it) = store.held(repository)? {
                held.insert(repository, of_it);
            }
        }
        let mut is_whole = true;
        for Held { serial, .. } in held.values() {
            is_whole &= match store.release(*serial)? {
                Some(release) => is_here(store, &release.manifest, release.signed)?,
                None => false,
            };
        }
        let blobs = Arc::clone(&store.blobs);
        // What cannot be known to be here is fetched again.
        let blobs = Arc::new(move |digest: &Digest| blobs.contains(digest).unwrap_or(false));
        let known = Known { blobs, ..Known::nothing() };
        let (highest, signed_time) = (store.highest_serial()?, store.signed_time()?);
        let sentence = held_sentence(&store.holding()?);
        Ok(Self { root, held, highest, signed_time, is_whole, known, held_back: sentence })
    }

    /// What is held of a repository.
    fn held(&self, repository: Repository) -> Option<&Metadata> {
        self.held.get(&repository).map(|held| &held.metadata)
    }

    /// The repository that the trusted root is of, where that shows in what is held.
    fn repository(&self) -> Option<Repository> {
        let leads_to = |held: &Held| signed::authenticate(&self.root, &held.metadata, None).is_ok();
        self.held.iter().find(|(_, held)| leads_to(held)).map(|(repository, _)| *repository)
    }

    /// Whether both repositories are held, and call the same release stable.
    fn agree(&self) -> bool {
        self.held.len() == Repository::ALL.len()
            && self.held.values().zip(self.held.values().skip(1)).all(|(one, other)| one.serial == other.serial)
    }
}

fn held_sentence(holding: &Holding) -> Option<String> {
    holding.hold.as_ref().map(|hold| hold.sentence("a new release is held back"))
}

fn is_here(store: &Store, manifest: &Manifest, signed: Option<Digest>) -> Result<bool, StoreError> {
    let files = manifest.files().into_iter().map(|file| file.sha256);
    for digest in files.chain(signed) {
        if !store.blobs.contains(&digest)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What a look at the followed server brought.
pub(super) enum Brought {
    /// It has what is held.
    Nothing {
        /// The server's `Date` less the local clock, seconds.
        clock_offset: Option<i64>,
    },
    /// It has a release that is not here, which is held back.
    Held {
        /// The sentence about it.
        message: String,
        /// As above.
        clock_offset: Option<i64>,
    },
    /// A release, whole; or newer metadata of one.
    Release {
        /// What came.
        received: Box<Received>,
        /// As above.
        clock_offset: Option<i64>,
    },
}

impl Brought {
    /// The server's `Date` less the local clock, seconds.
    pub(super) fn clock_offset(&self) -> Option<i64> {
        match self {
            Self::Nothing { clock_offset } | Self::Held { clock_offset, .. } | Self::Release { clock_offset, .. } => {
                *clock_offset
            }
        }
    }
}

/// A look at each of the URLs under which the followed server can be reached.
pub(super) struct Following<'a> {
    pub(super) standing: &'a Standing,
    pub(super) staging: &'a Staging,
    pub(super) limits: &'a Limits,
    pub(super) progress: &'a dyn Progress,
    pub(super) now: Timestamp,
}

impl<'a> Following<'a> {
    pub(super) fn new(app: &'a App, standing: &'a Standing, progress: &'a dyn Progress) -> Self {
        let (staging, limits) = (&app.store.staging, &app.config.limits);
        Self { standing, staging, limits, progress, now: app.now() }
    }

    /// Fetches what of an offered release is not here.
    async fn bring(&self, mirror: &Mirror, offer: Offer) -> Result<Received, RelayError> {
        let Offer { manifest, repository, verified, metadata, .. } = offer;
        let (standing, folder) = (self.standing, repository.folder());
        let release = sync::Signed { mirror, folder, verified: &verified, manifest: &manifest };
        let files = sync::follow(&release, &standing.known, self.staging, self.limits, self.progress).await?;
        Ok(Received { manifest, files, metadata, now: self.now })
    }
}

impl Look for Following<'_> {
    type Found = Brought;
    type Error = RelayError;

    async fn look(&self, vendor: &Vendor) -> Result<Brought, RelayError> {
        let mirror = Mirror::new(vendor);
        let found = look_at_metadata(&mirror, self.standing, self.now).await;
        self.progress.received(mirror.received());
        match found? {
            Found::Unchanged { clock_offset } => {
                tracing::info!("the server has what is here");
                Ok(Brought::Nothing { clock_offset })
            }
            Found::Offer(offer) => {
                let clock_offset = offer.clock_offset;
                let is_new = self.standing.highest.is_none_or(|highest| offer.manifest.manifest().serial > highest);
                if let (true, Some(message)) = (is_new, self.standing.held_back.clone()) {
                    return Ok(Brought::Held { message, clock_offset });
                }
                let received = Box::new(self.bring(&mirror, *offer).await?);
                Ok(Brought::Release { received, clock_offset })
            }
        }
    }
}

/// What is trusted and was taken, for a run.
///
/// # Errors
/// The root file cannot be used, or the store not be read.
pub(super) async fn standing(app: &Arc<App>) -> Result<Standing, Failure> {
    let app = Arc::clone(app);
    let standing = move || -> Result<Standing, Failure> {
        let root = trusted_root(&app.config.upstream).map_err(|error| Failure::of(&error))?;
        // A mirror without one is no configuration.
        let root = root.unwrap_or_default();
        Standing::of(&app.store, root).map_err(|error| Failure::of(&error))
    };
    tokio::task::spawn_blocking(standing).await.map_err(|error| internal(&error))?
}

/// Takes over what came, where releases are not held.
///
/// # Errors
/// It cannot be taken, and nothing was changed.
pub(super) async fn take(app: &Arc<App>, brought: Brought) -> Result<Taken, Failure> {
    let received = match brought {
        Brought::Nothing { .. } => return Ok(Taken::Nothing),
        Brought::Held { message, .. } => return Ok(Taken::Held(message)),
        Brought::Release { received, .. } => received,
    };
    let app = Arc::clone(app);
    let take = move || -> Result<Taken, Failure> {
        let of = |error: StoreError| Failure::of(&error);
        let serial = received.manifest.manifest().serial;
        // Nobody begins to hold releases before it is taken.
        let settled = app.settled().map_err(of)?;
        if let Some(message) = held_sentence(settled.holding())
            && app.store.release(serial).map_err(of)?.is_none()
        {
            return Ok(Taken::Held(message));
        }
        let took = relay::take(&app.store, *received).map_err(|error| Failure::of(&error))?;
        Ok(match took {
            Took::New => Taken::Released(serial),
            Took::Refreshed | Took::UpToDate => Taken::Nothing,
        })
    };
    tokio::task::spawn_blocking(take).await.map_err(|error| internal(&error))?
}
