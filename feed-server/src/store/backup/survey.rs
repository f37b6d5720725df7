//! What a backup says, looked through without putting anything anywhere.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Read};

use bundles::{Digest, Serial};
use serde::de::DeserializeOwned;

use super::lines::Line;
use super::read::Checked;
use super::{BackupError, Contents, Member, MemberName};
use crate::config::Role;
use crate::store::open::SCHEMA_STATE;
use crate::store::records::ReleaseRecord;
use crate::store::typed::HIGHEST_SERIAL;
use crate::store::{StoreError, Table};

/// Takes a backup's parts and keeps what decides whether, and how, it can be restored.
#[derive(Debug, Default)]
pub struct Survey {
    newest: Option<ReleaseRecord>,
    named: HashSet<Digest>,
    here: HashSet<Digest>,
    state: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Survey {
    /// The release with the highest number.
    #[must_use]
    pub fn newest(&self) -> Option<&ReleaseRecord> {
        self.newest.as_ref()
    }

    /// A single value of the catalog by name.
    ///
    /// # Errors
    /// It is of another type.
    pub fn state<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, BackupError> {
        let value = self.state.get(name.as_bytes()).map(|value| serde_json::from_slice(value)).transpose();
        value.map_err(|source| StoreError::Record { table: Table::State.name(), source }.into())
    }

    /// Whether catalog, content and contents fit each other. To be asked when all was read.
    ///
    /// # Errors
    /// They do not.
    pub fn check(&self, contents: &Contents) -> Result<(), BackupError> {
        if let Some(digest) = self.named.iter().find(|digest| !self.here.contains(*digest)) {
            return Err(BackupError::misses(&MemberName::Blob(*digest)));
        }
        let role = self.state::<Role>("role")?;
        let same = self.state(SCHEMA_STATE)? == Some(contents.schema)
            && self.state::<Serial>(HIGHEST_SERIAL)? == contents.highest_serial
            && role.is_none_or(|role| role == contents.role);
        if same { Ok(()) } else { Err(BackupError::not_a_backup("its catalog is not what its contents say")) }
    }
}

impl Checked for Survey {
    fn line(&mut self, (table, key, value): Line) -> Result<(), BackupError> {
        match table {
            Table::Releases => {
                let release: ReleaseRecord = serde_json::from_slice(&value)
                    .map_err(|source| StoreError::Record { table: table.name(), source })?;
                self.named.extend(release.signed);
                self.named.extend(release.manifest.files().iter().map(|file| file.sha256));
                if self.newest.as_ref().is_none_or(|newest| newest.manifest.serial < release.manifest.serial) {
                    self.newest = Some(release);
                }
            }
            Table::State => drop(self.state.insert(key, value)),
            Table::Runs
            | Table::Imports
            | Table::Headends
            | Table::Reports
            | Table::Tokens
            | Table::Audit
            | Table::Refusals
            | Table::Samples
            | Table::PastReleases
            | Table::Ise
            | Table::IseSeen
            | Table::Validators
            | Table::Variants => {}
        }
        Ok(())
    }

    fn file(&mut self, file: &Member, bytes: &mut dyn Read) -> Result<(), BackupError> {
        if let MemberName::Blob(digest) = file.name {
            self.here.insert(digest);
        }
        io::copy(bytes, &mut io::sink()).map(drop).map_err(BackupError::Unreadable)
    }
}
