//! The switch: `current` is a symbolic link, replaced by one rename, so that a reader is in one release or the other.

use std::os::unix::fs::symlink;
use std::path::Path;

use bundles::Serial;

use crate::crash;
use crate::data::Paths;
use crate::durable::{self, StorageError};

/// Points `current` at a release, or takes it away where nothing ran before.
///
/// # Errors
/// The file system refuses; `current` is as before then.
pub fn switch(paths: &Paths, to: Option<Serial>) -> Result<(), StorageError> {
    let current = paths.current();
    crash::point("client.activate.before_switch");
    match to {
        Some(serial) => {
            let new = paths.apply().join(".current.new");
            durable::remove_file(&new)?;
            // Relative, so that the whole directory can be moved or mounted elsewhere.
            let target = Path::new("releases").join(serial.to_string());
            symlink(&target, &new).map_err(StorageError::at("create the link", &new))?;
            durable::rename(&new, &current)?;
        }
        None => {
            durable::remove_file(&current)?;
            durable::sync_directory(paths.apply())?;
        }
    }
    crash::point("client.activate.switched");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::current;

    #[test]
    fn it_points_where_told_even_over_a_leftover_and_can_be_taken_away() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::new(directory.path(), None);
        let (one, two) = (Serial::FIRST, Serial::FIRST.next().unwrap());
        std::fs::create_dir_all(paths.release(one)).unwrap();
        std::fs::create_dir_all(paths.release(two)).unwrap();
        assert_eq!(current(&paths).unwrap(), None);

        switch(&paths, Some(one)).unwrap();
        symlink("releases/9", directory.path().join(".current.new")).unwrap();
        switch(&paths, Some(two)).unwrap();
        assert_eq!(current(&paths).unwrap(), Some(two));
        assert_eq!(std::fs::read_link(paths.current()).unwrap(), Path::new("releases/2"));

        std::fs::remove_dir(paths.release(two)).unwrap();
        assert_eq!(current(&paths).unwrap(), None, "a link that leads nowhere runs nothing");
        switch(&paths, None).unwrap();
        switch(&paths, None).unwrap();
        assert!(paths.current().symlink_metadata().is_err());
    }
}
