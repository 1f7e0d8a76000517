use common::identity::Identity;

use super::*;

const NEXT: &str = "CREATE TABLE later (a INTEGER NOT NULL) STRICT";

fn me() -> PeerId {
    Identity::from_seed([1; 32]).peer_id()
}

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hobnob.db");
    (dir, path)
}

fn made() -> (tempfile::TempDir, PathBuf) {
    let (dir, path) = scratch();
    open(&path, me(), MIGRATIONS).unwrap().close().unwrap();
    (dir, path)
}

/// Opening must fail and leave the file as it is.
fn refused(path: &Path, who: PeerId, migrations: &[&str]) -> StoreError {
    let before = std::fs::read(path).unwrap();
    let error = open(path, who, migrations).unwrap_err();
    assert_eq!(std::fs::read(path).unwrap(), before, "{error}");
    assert!(open_read_only(path, migrations).is_err() || matches!(error, StoreError::WrongIdentity { .. }));
    error
}

#[test]
fn what_is_no_database_is_refused_and_left_alone() {
    let (_dir, path) = scratch();
    for content in [b"not a database at all".repeat(100), b"short".to_vec()] {
        std::fs::write(&path, content).unwrap();
        assert!(matches!(refused(&path, me(), MIGRATIONS), StoreError::Foreign { .. }));
    }
    std::fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
    assert!(matches!(refused(&path, me(), MIGRATIONS), StoreError::Foreign { .. }));
}

#[test]
fn a_damaged_database_is_refused_and_left_alone() {
    let (_dir, path) = made();
    let whole = std::fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    damaged[4096..8192].fill(0x55);
    let mut no_schema = whole.clone();
    no_schema[100..4096].fill(0xaa);
    for bytes in [damaged, no_schema, whole[..whole.len() / 2].to_vec()] {
        std::fs::write(&path, bytes).unwrap();
        let error = refused(&path, me(), MIGRATIONS);
        assert!(matches!(error, StoreError::Damaged(_)), "{error:?}");
    }
}

#[test]
fn another_owner_is_refused() {
    let (_dir, path) = made();
    let other = Identity::from_seed([2; 32]).peer_id();
    assert!(matches!(refused(&path, other, MIGRATIONS), StoreError::WrongIdentity { .. }));
}

#[test]
fn a_migration_keeps_a_copy_of_what_was() {
    let (_dir, path) = made();
    let newer = [MIGRATIONS, &[NEXT]].concat();
    assert!(matches!(open_read_only(&path, &newer), Err(StoreError::Older { found: 1 })));
    open(&path, me(), &newer).unwrap().close().unwrap();
    let copy = snapshot_path(&path, 1);
    assert_eq!(open_read_only(&copy, MIGRATIONS).unwrap().1, me());
    assert_eq!(refused(&path, me(), MIGRATIONS), StoreError::Newer { found: 2, known: 1 });
}

#[test]
fn a_migration_that_fails_changes_nothing() {
    let (_dir, path) = made();
    let broken = [MIGRATIONS, &["CREATE TABLE later (a INTEGER) STRICT; CREATE TABLE later (b)"]].concat();
    assert!(open(&path, me(), &broken).is_err());
    open(&path, me(), MIGRATIONS).unwrap();
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let (_dir, path) = made();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_directory_that_is_not_there_is_an_error() {
    let (dir, _) = scratch();
    assert!(matches!(open(&dir.path().join("a/b"), me(), MIGRATIONS), Err(StoreError::Io(_))));
}
