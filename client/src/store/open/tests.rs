use common::identity::Identity;

use super::*;
use crate::log::{Content, ConversationId, Message, SignedMessage};
use crate::store::{Search, Store, Term};

/// A script that a later version might add.
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

/// A conversation with a message that is still to be sent, as the first schema has it.
fn fill(conn: &Connection, message: &SignedMessage) {
    let (me, other) = (me(), PeerId::from_bytes([7; 32]));
    let content = message.message();
    conn.execute("INSERT INTO settings VALUES (?1, ?2)", params![OWNER, me.to_string()]).unwrap();
    conn.execute("INSERT INTO contacts VALUES (?1, 'Ada', '', 1, 2, '')", params![other.as_bytes()]).unwrap();
    let id = content.conversation.as_bytes();
    conn.execute("INSERT INTO conversations (row, id, kind) VALUES (1, ?1, 1)", params![id]).unwrap();
    for member in [me, other] {
        conn.execute("INSERT INTO members VALUES (1, ?1)", params![member.as_bytes()]).unwrap();
    }
    conn.execute(
        "INSERT INTO messages (row, id, conversation, author, depth, label_ms, received_ms, kind, signed)
         VALUES (1, ?1, 1, ?2, 1, 1000, 1000, 1, ?3)",
        params![message.id().as_bytes(), me.as_bytes(), message.bytes().as_ref()],
    )
    .unwrap();
    conn.execute_batch("INSERT INTO heads VALUES (1, 1)").unwrap();
    conn.execute("INSERT INTO tips VALUES (1, ?1, 1)", params![me.as_bytes()]).unwrap();
    conn.execute(
        "INSERT INTO outbox (message, recipient, state) VALUES (1, ?1, 0)",
        params![other.as_bytes()],
    )
    .unwrap();
}

#[tokio::test]
async fn every_older_schema_is_migrated_with_its_data_after_a_copy_was_made() {
    let identity = Identity::from_seed([1; 32]);
    let other = PeerId::from_bytes([7; 32]);
    let conversation = ConversationId::direct(me(), other);
    let text = Content::text("from before");
    let message = Message::compose(&identity, conversation, &[], text, 1000, 1).unwrap();
    for version in 1..MIGRATIONS.len() {
        let (_dir, path) = scratch();
        let old = Connection::open(&path).unwrap();
        set_up(&old).unwrap();
        migrate(&old, &path, 0, &MIGRATIONS[..1]).unwrap();
        fill(&old, &message);
        migrate(&old, &path, 1, &MIGRATIONS[..version]).unwrap();
        old.close().unwrap();
        assert!(matches!(open_read_only(&path, MIGRATIONS), Err(StoreError::Older { .. })));

        let store = Store::open(&path, me()).await.unwrap();
        let outbox = store.outbox(other, 0, 10).await.unwrap();
        assert_eq!(outbox.iter().map(|row| row.id).collect::<Vec<_>>(), [message.id()]);
        assert_eq!(store.heads(conversation).await.unwrap(), [message.id()]);
        assert_eq!(store.contacts().await.unwrap()[0].given_name, "Ada");
        let words = vec![Term { words: "before".to_owned(), is_prefix: false }];
        let search = Search { terms: words, limit: 9, ..Search::default() };
        assert_eq!(store.search(search).await.unwrap().len(), 1, "older messages are found as well");
        store.close().await;

        let known = i64::try_from(version).unwrap();
        let copy = snapshot_path(&path, known);
        assert_eq!(open_read_only(&copy, &MIGRATIONS[..version]).unwrap().1, me());
        let newest = i64::try_from(MIGRATIONS.len()).unwrap();
        assert_eq!(refused(&path, me(), &MIGRATIONS[..version]), StoreError::Newer { found: newest, known });
    }
}

#[test]
fn a_migration_keeps_a_copy_of_what_was() {
    let (_dir, path) = made();
    let newer = [MIGRATIONS, &[NEXT]].concat();
    assert!(
        matches!(open_read_only(&path, &newer), Err(StoreError::Older { found }) if found == known(MIGRATIONS))
    );
    open(&path, me(), &newer).unwrap().close().unwrap();
    let copy = snapshot_path(&path, known(MIGRATIONS));
    assert_eq!(open_read_only(&copy, MIGRATIONS).unwrap().1, me());
    assert_eq!(
        refused(&path, me(), MIGRATIONS),
        StoreError::Newer { found: known(&newer), known: known(MIGRATIONS) }
    );
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
