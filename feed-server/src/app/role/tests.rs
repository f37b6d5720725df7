use super::*;

fn store(directory: &Path) -> Store {
    Store::open(directory).unwrap()
}

#[test]
fn a_data_directory_keeps_its_role_for_ever() {
    for (role, other) in [(Role::Origin, Role::Relay), (Role::Relay, Role::Origin)] {
        let directory = tempfile::tempdir().unwrap();
        assert!(!is_mirror(directory.path()).unwrap());
        hold(&store(directory.path()), role).unwrap();
        assert!(is_mirror(directory.path()).unwrap());
        hold(&store(directory.path()), role).unwrap();
        // Either place is enough to know it by: a catalog alone is what a backup brings back.
        for file_is_lost in [false, true] {
            if file_is_lost {
                fs::remove_file(directory.path().join(FILE)).unwrap();
            }
            let error = hold(&store(directory.path()), other).unwrap_err();
            assert_eq!(error.reason(), Reason::BadRequest);
            assert!(matches!(error, RoleError::Other { found, .. } if found == role));
        }
        hold(&store(directory.path()), role).unwrap();
        let catalog = store(directory.path());
        let mut batch = crate::store::Batch::new();
        batch.remove(crate::store::Table::State, STATE);
        catalog.commit(batch).unwrap();
        assert!(matches!(hold(&catalog, other), Err(RoleError::Other { found, .. }) if found == role));
    }
}

#[test]
fn a_directory_with_keys_is_an_origins_whatever_else_it_says() {
    let directory = tempfile::tempdir().unwrap();
    let opened = store(directory.path());
    fs::create_dir(directory.path().join(KEYS)).unwrap();
    assert!(is_mirror(directory.path()).unwrap());
    assert!(matches!(hold(&opened, Role::Relay), Err(RoleError::Other { found: Role::Origin, .. })));
    assert!(!directory.path().join(FILE).exists());
    hold(&opened, Role::Origin).unwrap();
}

#[test]
fn a_role_that_is_none_is_not_guessed_at() {
    let directory = tempfile::tempdir().unwrap();
    let opened = store(directory.path());
    fs::write(directory.path().join(FILE), "relic\n").unwrap();
    let error = hold(&opened, Role::Origin).unwrap_err();
    assert_eq!(error.reason(), Reason::Storage);
    assert!(error.to_string().contains("does not say origin or relay"), "{error}");
}
