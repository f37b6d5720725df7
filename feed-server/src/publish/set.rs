//! One repository of those that are published, and how its metadata is come by: an origin signs it, a relay has received it.

use super::metadata::Chain;
use super::roots::Roots;
use super::signer::Signer;
use super::targets::Wants;
use super::{PublishError, Repository};
use crate::store::Store;

/// One repository.
pub(super) struct Set<'a> {
    pub(super) repository: Repository,
    pub(super) roots: Roots,
    way: Way<'a>,
}

enum Way<'a> {
    Signed(Signer<'a>),
    Received(Box<Chain>),
}

impl<'a> Set<'a> {
    /// An origin's.
    pub(super) fn signed(signer: Signer<'a>) -> Result<Self, PublishError> {
        Ok(Self { repository: signer.repository, roots: signer.roots()?, way: Way::Signed(signer) })
    }

    /// A relay's; `None` where it has not received any.
    pub(super) fn received(store: &Store, repository: Repository) -> Result<Option<Self>, PublishError> {
        let Some(held) = store.held(repository)? else { return Ok(None) };
        let Some(roots) = Roots::received(repository, &held.metadata.roots)? else { return Ok(None) };
        let chain = Chain::received(&held.metadata, &roots.latest().signed);
        let chain = chain.ok_or(PublishError::Received { repository })?;
        Ok(Some(Self { repository, roots, way: Way::Received(Box::new(chain)) }))
    }

    /// Its roots.
    pub(super) fn roots(&self) -> (Repository, &Roots) {
        (self.repository, &self.roots)
    }

    /// The chain to put in place. Signed, it names what is wanted; received, it names what its origin wanted, of which
    /// this server may have less.
    pub(super) fn chain(&self, wants: &Wants) -> Result<Option<Chain>, PublishError> {
        match &self.way {
            Way::Signed(signer) => {
                let chain = signer.chain(&self.roots.latest().signed, Some(wants.signed(self.repository)))?;
                Ok(chain.map(|(chain, _)| chain))
            }
            Way::Received(chain) => Ok(Some(Chain::clone(chain))),
        }
    }
}
