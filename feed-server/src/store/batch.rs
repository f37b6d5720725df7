//! Filling a batch with records.

use bundles::Serial;
use serde::Serialize;

use super::records::{HeadendRecord, ReleaseRecord, TokenRecord};
use super::typed::HIGHEST_SERIAL;
use super::{Batch, StoreError, Table};
use crate::sync::checked::Validator;

impl Batch {
    /// Nothing to change yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a record under a key.
    ///
    /// # Errors
    /// The record cannot be written as JSON.
    pub fn put<T: Serialize + ?Sized>(
        &mut self,
        table: Table,
        key: impl AsRef<[u8]>,
        value: &T,
    ) -> Result<(), StoreError> {
        let value = serde_json::to_vec(value).map_err(|source| StoreError::Record { table: table.name(), source })?;
        self.changes.push((table, key.as_ref().to_vec(), Some(value)));
        Ok(())
    }

    /// Removes a key, whether or not it is there.
    pub fn remove(&mut self, table: Table, key: impl AsRef<[u8]>) {
        self.changes.push((table, key.as_ref().to_vec(), None));
    }

    /// Puts a release, and its number as the highest that was ever used.
    ///
    /// # Errors
    /// As [`Batch::put`].
    pub fn put_release(&mut self, record: &ReleaseRecord) -> Result<(), StoreError> {
        let serial = record.manifest.serial;
        self.put(Table::Releases, serial_key(serial), record)?;
        self.put_state(HIGHEST_SERIAL, &serial)
    }

    /// Removes a release. Its number stays used.
    pub fn remove_release(&mut self, serial: Serial) {
        self.remove(Table::Releases, serial_key(serial));
    }

    /// Puts what upstream said of one URL.
    ///
    /// # Errors
    /// As [`Batch::put`].
    pub fn put_validator(&mut self, validator: &Validator) -> Result<(), StoreError> {
        self.put(Table::Validators, &validator.url, validator)
    }

    /// Puts a headend that is new, without a report: one that arrived while an earlier headend of this id was removed is not
    /// this one's.
    ///
    /// # Errors
    /// As [`Batch::put`].
    pub fn add_headend(&mut self, headend: &HeadendRecord) -> Result<(), StoreError> {
        self.remove(Table::Reports, &headend.id);
        self.put_headend(headend)
    }

    /// Puts a headend in place of the one that is here, which keeps its report.
    ///
    /// # Errors
    /// As [`Batch::put`].
    pub fn put_headend(&mut self, headend: &HeadendRecord) -> Result<(), StoreError> {
        self.put(Table::Headends, &headend.id, headend)
    }

    /// Removes a headend with its report.
    pub fn remove_headend(&mut self, id: &str) {
        self.remove(Table::Headends, id);
        self.remove(Table::Reports, id);
    }

    /// Puts a token in place of what was under its name.
    ///
    /// # Errors
    /// As [`Batch::put`].
    pub fn put_token(&mut self, token: &TokenRecord) -> Result<(), StoreError> {
        self.put(Table::Tokens, &token.name, token)
    }

    /// Removes a token.
    pub fn remove_token(&mut self, name: &str) {
        self.remove(Table::Tokens, name);
    }

    /// Puts a single value by name.
    ///
    /// # Errors
    /// As [`Batch::put`].
    pub fn put_state<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), StoreError> {
        self.put(Table::State, name, value)
    }
}

/// Big endian, so that the order of keys is that of numbers.
pub(super) fn serial_key(serial: Serial) -> [u8; 8] {
    serial.get().to_be_bytes()
}
