//! A catalog that is opened by the first act that finds room for it.
//!
//! sled writes when it is opened, and a full disk has no room for that. What was published needs no catalog to be
//! served, so a server starts all the same; until there is room, every act on the catalog fails and says why.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::open::open_catalog;
use super::schema;
use super::sled_catalog::SledCatalog;
use super::{Batch, Catalog, Pair, StoreError, Table, TablePair};

#[derive(Debug)]
pub(super) struct LateCatalog {
    data_dir: PathBuf,
    opened: Mutex<Option<Arc<SledCatalog>>>,
}

impl LateCatalog {
    pub(super) fn new(data_dir: PathBuf) -> Self {
        Self { data_dir, opened: Mutex::default() }
    }

    fn opened(&self) -> Result<Arc<SledCatalog>, StoreError> {
        // A panic elsewhere leaves the `Option` as whole as it was.
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(catalog) = &*opened {
            return Ok(Arc::clone(catalog));
        }
        let catalog = Arc::new(open_catalog(&self.data_dir, &schema::KNOWN)?);
        tracing::warn!(directory = %self.data_dir.display(), "there is room again: the catalog is open");
        *opened = Some(Arc::clone(&catalog));
        Ok(catalog)
    }
}

impl Catalog for LateCatalog {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.opened()?.get(table, key)
    }

    fn scan(&self, table: Table, newest_first: bool, limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.opened()?.scan(table, newest_first, limit)
    }

    fn scan_after(&self, table: Table, key: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.opened()?.scan_after(table, key, limit)
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.opened()?.commit(batch)
    }

    fn snapshot(&self, tables: &[Table]) -> Result<Vec<TablePair>, StoreError> {
        self.opened()?.snapshot(tables)
    }
}
