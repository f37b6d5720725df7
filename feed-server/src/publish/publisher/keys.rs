//! What a publisher knows of keys, and how they change.

use bundles::Reasoned as _;
use jiff::Timestamp;
use tough::schema::Root;

use super::{Inner, Publisher};
use crate::publish::change::{Change, ChangeError};
use crate::publish::key::fingerprint;
use crate::publish::keys::KeyFact;
use crate::publish::pending::Waiting;
use crate::publish::request::Request;
use crate::publish::roots::Roots;
use crate::publish::rotation::{self, Rotated, Rotation};
use crate::publish::signing::role_type;
use crate::publish::terms::Term;
use crate::publish::{PublishError, Repository, Role};

impl Publisher {
    /// Makes the next root of these repositories, which says differently what `change` says, and publishes it where enough
    /// of the keys that have to sign it are here; else it waits for signatures.
    ///
    /// # Errors
    /// There can be no such root, one waits already, or this is a relay; then nothing changed. What is there is published by
    /// the next run where that alone failed, as [`Self::failure`] says.
    pub async fn change_keys(
        &self,
        repositories: Vec<Repository>,
        change: Change,
        now: Timestamp,
    ) -> Result<Vec<Rotated>, PublishError> {
        self.rotating(now, move |inner| inner.change_keys(&repositories, &change, now)).await
    }

    /// What waits for signatures, to be carried to where root keys are.
    ///
    /// # Errors
    /// Nothing does; or the catalog cannot be read.
    pub async fn signing_request(&self, now: Timestamp) -> Result<Request, PublishError> {
        self.alone(move |inner| inner.rotation(now)?.request(&inner.kept_roots(now)?)).await
    }

    /// Takes signatures that were made elsewhere.
    ///
    /// # Errors
    /// As [`Self::change_keys`]; or one of them is not right.
    pub async fn import_signatures(&self, signed: Request, now: Timestamp) -> Result<Vec<Rotated>, PublishError> {
        self.rotating(now, move |inner| inner.rotation(now)?.import(&inner.kept_roots(now)?, &signed)).await
    }

    /// Gives up what waits for signatures.
    ///
    /// # Errors
    /// Nothing does; or the catalog cannot be written.
    pub async fn cancel_keys(&self, now: Timestamp) -> Result<Vec<Waiting>, PublishError> {
        self.alone(move |inner| inner.rotation(now)?.cancel(&inner.kept_roots(now)?)).await
    }

    async fn rotating(
        &self,
        now: Timestamp,
        change: impl FnOnce(&Inner) -> Result<Vec<Rotated>, PublishError> + Send + 'static,
    ) -> Result<Vec<Rotated>, PublishError> {
        let work = move |inner: &Inner| {
            let rotated = change(inner)?;
            let published = match rotated.iter().any(|one| one.lacking.is_empty()) {
                true => inner.publish(now).map(drop),
                false => Ok(()),
            };
            Ok((rotated, published))
        };
        let (rotated, published) = self.alone(work).await?;
        if let Err(error) = &published {
            let (reason, message) = (error.reason().as_str(), error.whole_message());
            tracing::error!(
                reason,
                error = message,
                "the new root cannot be published yet; the next try is in a minute"
            );
            self.note(Some(error));
        }
        Ok(rotated)
    }

    /// Every key that the newest roots name; none on a relay.
    #[must_use]
    pub fn keys(&self) -> Vec<KeyFact> {
        self.inner.key_facts()
    }

    /// What waits for signatures.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub fn waiting_roots(&self) -> Result<Vec<Waiting>, PublishError> {
        let roots: Vec<_> = self.inner.published_roots().collect();
        rotation::waiting(&self.inner.store, &roots)
    }

    /// Since when roles lack keys here to sign them with, and which; other than root, whose keys may well be elsewhere.
    #[must_use]
    pub fn lacking_keys(&self) -> Vec<(Repository, Role, Timestamp)> {
        let facts = self.inner.key_facts().into_iter();
        let lacking = facts.filter(|key| key.role != Role::Root && key.path.is_none());
        lacking.map(|key| (key.repository, key.role, self.inner.opened)).collect()
    }
}

impl Inner {
    pub(super) fn rotation(&self, now: Timestamp) -> Result<Rotation<'_>, PublishError> {
        let keys = self.keys.as_ref().ok_or(ChangeError::Relay)?;
        keys.reload()?;
        Ok(Rotation { store: &self.store, keys, now })
    }

    /// An origin's roots.
    fn kept_roots(&self, now: Timestamp) -> Result<Vec<(Repository, Roots)>, PublishError> {
        let signers = Repository::ALL.into_iter().filter_map(|repository| self.signer(repository, now));
        signers.map(|signer| Ok((signer.repository, signer.roots()?))).collect()
    }

    fn change_keys(
        &self,
        repositories: &[Repository],
        change: &Change,
        now: Timestamp,
    ) -> Result<Vec<Rotated>, PublishError> {
        let rotation = self.rotation(now)?;
        let all = self.kept_roots(now)?;
        let changed = all.iter().filter(|(repository, _)| repositories.contains(repository));
        let term = |repository| Term::of(repository, Role::Root, self.valid_for);
        let changed: Vec<_> =
            changed.map(|(repository, roots)| (*repository, roots.clone(), term(*repository))).collect();
        rotation.change(&changed, &all, change)
    }

    /// The newest roots that are served.
    fn published_roots(&self) -> impl Iterator<Item = (Repository, Root)> {
        let published = self.published.load_full();
        Repository::ALL
            .into_iter()
            .filter_map(move |repository| Some((repository, published.root(repository)?.signed.clone())))
    }

    fn key_facts(&self) -> Vec<KeyFact> {
        let Some(keys) = &self.keys else { return Vec::new() };
        let mut facts = Vec::new();
        for (repository, root) in self.published_roots() {
            for role in Role::ALL {
                let Some(named) = root.roles.get(&role_type(role)) else { continue };
                let public = named.keyids.iter().filter_map(|id| Some((id, root.keys.get(id)?)));
                facts.extend(public.map(|(id, public)| KeyFact {
                    repository,
                    role,
                    key_id: hex::encode(&**id),
                    fingerprint: fingerprint(public),
                    path: keys.files_of(id).into_iter().next(),
                }));
            }
        }
        facts
    }
}
