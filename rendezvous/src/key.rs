//! The server's key on disk: the only thing it stores.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use common::identity::Identity;
use zeroize::Zeroizing;

/// Name of the key's file in the data directory.
pub const FILE_NAME: &str = "rendezvous.key";
/// The seed, and the public key as a check that the seed is whole.
const FILE_LEN: usize = 64;

/// Why there is no key. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The data directory is something else.
    #[error("{0} is not a directory; choose another one with --data-dir")]
    NotADirectory(PathBuf),
    /// The data directory cannot be made.
    #[error("cannot make the data directory {path}: {source}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The key cannot be read or written.
    #[error("cannot {action} the key {path}: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can read the key.
    #[error("other users can read the key {path} (mode {mode:o}); make it yours alone: chmod 600 {path}")]
    Permissions {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file holds something else.
    #[error(
        "the key {0} is damaged; restore it from a copy, or remove it to get a new key, which every client that \
         knows this server will refuse until its user accepts it"
    )]
    Damaged(PathBuf),
}

/// Reads the key in `dir`, or makes one if there is none yet. `seed` is what a new key is made of.
///
/// # Errors
/// [`KeyError`], a sentence for the person at the terminal.
pub fn load_or_create(dir: &Path, seed: [u8; 32]) -> Result<Identity, KeyError> {
    let path = dir.join(FILE_NAME);
    if dir.exists() && !dir.is_dir() {
        return Err(KeyError::NotADirectory(dir.to_owned()));
    }
    make_dir(dir).map_err(|source| KeyError::Directory { path: dir.to_owned(), source })?;
    if let Some(identity) = load(&path)? {
        return Ok(identity);
    }
    create(dir, &path, &Identity::from_seed(seed)).map_err(|source| KeyError::File {
        action: "write",
        path: path.clone(),
        source,
    })?;
    // Read back, since another server may have been faster; then its key counts.
    load(&path)?.ok_or(KeyError::Damaged(path))
}

fn load(path: &Path) -> Result<Option<Identity>, KeyError> {
    let error = |source| KeyError::File { action: "read", path: path.to_owned(), source };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(error(e)),
    };
    let mode = mode(&file.metadata().map_err(error)?);
    if mode & 0o077 != 0 {
        return Err(KeyError::Permissions { path: path.to_owned(), mode: mode & 0o777 });
    }
    // One byte more than there should be, so that a longer file shows.
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_LEN + 1));
    (&mut file).take(FILE_LEN as u64 + 1).read_to_end(&mut bytes).map_err(error)?;
    let identity = bytes
        .split_first_chunk::<32>()
        .map(|(seed, public)| (Identity::from_seed(*seed), public))
        .filter(|(identity, public)| identity.peer_id().as_bytes() == *public);
    match identity {
        Some((identity, _)) => Ok(Some(identity)),
        None => Err(KeyError::Damaged(path.to_owned())),
    }
}

/// Writes the key under another name first, so that a crash leaves a whole key or none.
fn create(dir: &Path, path: &Path, identity: &Identity) -> io::Result<()> {
    let draft = dir.join(format!("{FILE_NAME}.{}.new", std::process::id()));
    let mut file = private(OpenOptions::new().write(true).create(true).truncate(true)).open(&draft)?;
    let written = file
        .write_all(identity.seed())
        .and_then(|()| file.write_all(identity.peer_id().as_bytes()))
        .and_then(|()| file.sync_all())
        .and_then(|()| match fs::hard_link(&draft, path) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => fs::rename(&draft, path),
            _ => Ok(()),
        });
    // Already gone if it was renamed.
    let _ = fs::remove_file(&draft);
    written?;
    sync_dir(dir)
}

#[cfg(unix)]
fn mode(metadata: &fs::Metadata) -> u32 {
    std::os::unix::fs::MetadataExt::mode(metadata)
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600)
}

#[cfg(unix)]
fn make_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

#[cfg(unix)]
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(not(unix))]
fn mode(_: &fs::Metadata) -> u32 {
    0o600
}

#[cfg(not(unix))]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

#[cfg(not(unix))]
fn make_dir(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)
}

#[cfg(not(unix))]
fn sync_dir(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("a/b");
        let first = load_or_create(&data, [1; 32]).unwrap();
        let again = load_or_create(&data, [2; 32]).unwrap();
        assert_eq!(first.peer_id(), again.peer_id());
        let mode = fs::metadata(data.join(FILE_NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&data).unwrap().count(), 1, "no draft stays behind");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        load_or_create(dir.path(), [1; 32]).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = load_or_create(dir.path(), [2; 32]).unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for damage in [Vec::new(), vec![0; 64], vec![0; 65], fs::read(&path).unwrap()[..63].to_vec()] {
            fs::write(&path, damage).unwrap();
            assert!(matches!(load_or_create(dir.path(), [2; 32]), Err(KeyError::Damaged(_))));
        }
        assert!(matches!(load_or_create(&path, [2; 32]), Err(KeyError::NotADirectory(_))));
    }
}
