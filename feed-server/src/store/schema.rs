//! The arrangement of records, and the way from an older one to ours: one step after the other, each in one batch, and a backup
//! before the first.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use jiff::Timestamp;

use super::backup::failed;
use super::backup::{BackupError, KEYS};
use super::directory;
use super::open::SCHEMA_STATE;
use super::{Batch, Catalog, Store, StoreError};
use crate::config::Role;
use crate::crash;

/// The arrangement of the data directory and of the catalog's records that this program writes.
pub const SCHEMA: u64 = 1;

/// Where backups from before an upgrade are, in the data directory. They are nobody's to remove but the operator's.
const BACKUPS: &str = "backups";

/// What makes records of one schema those of the next.
type Change = fn(&dyn Catalog) -> Result<Batch, StoreError>;

/// The newest schema, and how it is come to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schemas {
    pub(super) newest: u64,
    /// The first makes schema 2 of schema 1; there is one less than there are schemas.
    pub(super) steps: &'static [Change],
}

/// Those that this program knows.
pub(super) const KNOWN: Schemas = Schemas { newest: SCHEMA, steps: &[] };

impl Schemas {
    /// Refuses what a newer program wrote.
    pub(super) fn refuse_newer(&self, data_dir: &std::path::Path, found: Option<u64>) -> Result<(), StoreError> {
        match found {
            Some(found) if found > self.newest => {
                Err(StoreError::Newer { path: data_dir.to_owned(), found, known: self.newest })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Brings an open data directory to the newest schema. Killed anywhere, it has the one or the other, and the next start
    /// goes on.
    pub(super) fn upgrade(&self, store: &Store, now: Timestamp) -> Result<(), StoreError> {
        let found = store.schema()?;
        if found >= self.newest {
            return Ok(());
        }
        let unsaved = |source| StoreError::Unsaved { known: self.newest, found, source: Box::new(source) };
        let backup = save(store, self.newest, now).map_err(unsaved)?;
        tracing::warn!(
            from = found,
            to = self.newest,
            backup = %backup.display(),
            "the records of an older program are brought to this one's form; the backup is what the older one can be given again"
        );
        for (from, change) in (1..).zip(self.steps).filter(|(from, _)| *from >= found) {
            let mut batch = change(&*store.catalog)?;
            batch.put_state(SCHEMA_STATE, &(from + 1))?;
            store.commit(batch)?;
            crash::point("schema.changed");
        }
        Ok(())
    }
}

/// A backup of all there is.
fn save(store: &Store, newest: u64, now: Timestamp) -> Result<PathBuf, BackupError> {
    let folder = store.directory().join(BACKUPS);
    directory::make(&folder, 0o700)?;
    let keys = store.directory().join(KEYS);
    let role = match store.state::<Role>("role")? {
        Some(role) => role,
        None if keys.exists() => Role::Origin,
        None => Role::Relay,
    };
    let snapshot = store.snapshot(role, Some(&keys), now)?;
    snapshot.check()?;
    let path = folder.join(format!("before-schema-{newest}-{}.tar", now.strftime("%Y%m%dT%H%M%SZ")));
    // Mode 0600 from the first byte on: there are keys in it.
    let file = tempfile::NamedTempFile::new_in(&folder).map_err(failed("write", &path))?;
    snapshot.write(io::BufWriter::new(file.as_file()))?;
    file.as_file().sync_all().map_err(failed("write", &path))?;
    crash::point("schema.saved");
    file.persist(&path).map_err(|error| failed("rename to", &path)(error.error))?;
    File::open(&folder).and_then(|folder| folder.sync_all()).map_err(failed("sync the directory", &folder))?;
    remove_unfinished(&folder);
    Ok(path)
}

/// What a process that died was writing fills the disk, and has no name that anybody would look for.
fn remove_unfinished(folder: &std::path::Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(".tmp")) {
        // It is in nobody's way where it stays.
        let _ = fs::remove_file(entry.path());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::restore::{Wanted, restore};
    use crate::store::Table;
    use crate::testing::{World, hours, serial};

    /// Words get another name, and then another form.
    const LATER: Schemas = Schemas { newest: 3, steps: &[rename, enlarge] };

    fn rename(catalog: &dyn Catalog) -> Result<Batch, StoreError> {
        let mut batch = Batch::new();
        let word = super::super::typed::state::<String>(catalog, "old_word")?;
        batch.remove(Table::State, "old_word");
        batch.put_state("word", &word)?;
        Ok(batch)
    }

    fn enlarge(catalog: &dyn Catalog) -> Result<Batch, StoreError> {
        let mut batch = Batch::new();
        let word = super::super::typed::state::<Option<String>>(catalog, "word")?;
        batch.put_state("word", &[word.flatten()])?;
        Ok(batch)
    }

    /// An older program's data directory, with two releases.
    async fn older() -> (World, PathBuf) {
        let mut world = World::new();
        world.publish_next().await;
        world.publish_next().await;
        world.store.put_state("old_word", "quokka").unwrap();
        let path = world.config.data.directory.clone();
        (world, path)
    }

    fn close(world: World) -> tempfile::TempDir {
        let World { directory, store, publisher, .. } = world;
        drop((store, publisher));
        directory
    }

    fn backups(data_dir: &std::path::Path) -> Vec<PathBuf> {
        fs::read_dir(data_dir.join(BACKUPS)).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    #[tokio::test]
    async fn an_upgrade_writes_a_backup_that_the_older_program_goes_on_from() {
        let (world, path) = older().await;
        let now = world.now + hours(1);
        let directory = close(world);
        let store = Store::open_as(&path, &LATER, now).unwrap();
        assert_eq!(store.state::<Vec<String>>("word").unwrap(), Some(vec!["quokka".to_owned()]));
        assert_eq!(store.state::<String>("old_word").unwrap(), None);
        assert_eq!((store.schema().unwrap(), fs::read_to_string(path.join("schema")).unwrap().as_str()), (3, "3\n"));
        drop(store);
        assert!(matches!(Store::open(&path), Err(StoreError::Newer { found: 3, known: SCHEMA, .. })));
        // Once is enough.
        drop(Store::open_as(&path, &LATER, now + hours(1)).unwrap());
        let [file] = &backups(&path)[..] else { panic!("one backup: {:?}", backups(&path)) };
        assert!(file.file_name().unwrap().to_str().unwrap().starts_with("before-schema-3-2026"), "{file:?}");
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(file).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);

        let back = directory.path().join("back");
        restore(&back, &Wanted { file: file.clone(), ..Wanted::default() }, now).unwrap();
        let store = Store::open(&back).unwrap();
        assert_eq!(store.state::<String>("old_word").unwrap().as_deref(), Some("quokka"));
        assert_eq!(store.newest_release().unwrap().unwrap().content_of, Some(serial(2)));
        assert_eq!(fs::read_dir(back.join(KEYS)).unwrap().count(), 8);
    }

    #[tokio::test]
    async fn nothing_is_changed_where_no_backup_can_be_written() {
        let (world, path) = older().await;
        let now = world.now;
        let _directory = close(world);
        fs::write(path.join(BACKUPS), b"in the way").unwrap();
        let error = Store::open_as(&path, &LATER, now).unwrap_err();
        assert!(matches!(error, StoreError::Unsaved { found: 1, known: 3, .. }), "{error}");
        let store = Store::open(&path).unwrap();
        assert_eq!(store.state::<String>("old_word").unwrap().as_deref(), Some("quokka"));
    }

    #[tokio::test]
    async fn an_upgrade_that_was_cut_off_goes_on_where_it_was() {
        let (world, path) = older().await;
        let now = world.now;
        let _directory = close(world);
        const HALF: Schemas = Schemas { newest: 2, steps: &[rename] };
        drop(Store::open_as(&path, &HALF, now).unwrap());
        let store = Store::open_as(&path, &LATER, now + hours(1)).unwrap();
        assert_eq!(store.state::<Vec<String>>("word").unwrap(), Some(vec!["quokka".to_owned()]));
    }
}
