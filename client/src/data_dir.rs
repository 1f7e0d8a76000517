//! The directory in which a client keeps its identity and its history, for its user alone.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use common::identity::Identity;

/// First line of a key file, so that nobody takes another file for one.
const KEY_FILE_HEADER: &str = "hobnob-identity-1";
/// Longest key file that is read: far more than one has.
const MAX_KEY_FILE_LEN: u64 = 4096;

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The system does not say where the user's data belongs.
    #[error("there is no home directory; say with --data-dir where to keep the data")]
    NoHome,
    /// Another client uses the directory.
    #[error("another client{} uses {path}; end it, or use another --data-dir", by(*pid))]
    Locked {
        /// The directory.
        path: PathBuf,
        /// Its process id, if it wrote one.
        pid: Option<u32>,
    },
    /// The key file is there but holds no key.
    #[error("the key file {0} is damaged; restore a copy, or move it away to become somebody new")]
    DamagedIdentity(PathBuf),
    /// The key file can be read by others.
    #[error("others can read the key file {0}; if nobody has, run `chmod 600` on it")]
    ExposedIdentity(PathBuf),
    /// There is no key file.
    #[error("there is no identity in {0}")]
    NoIdentity(PathBuf),
    /// A file or the directory cannot be used.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

fn by(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.to_owned();
    move |error| DataDirError::Io { path, error }
}

/// A data directory that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDir {
    path: PathBuf,
}

/// Keeps other clients away from a data directory until it is dropped or the process ends.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

impl DataDir {
    /// Where the data belongs if the user does not say.
    ///
    /// # Errors
    /// [`DataDirError::NoHome`] if the system does not say either.
    pub fn default_path() -> Result<PathBuf, DataDirError> {
        let dirs = directories::ProjectDirs::from("", "", "hobnob").ok_or(DataDirError::NoHome)?;
        Ok(dirs.data_dir().to_owned())
    }

    /// Opens the directory, or makes it for this user alone.
    ///
    /// # Errors
    /// [`DataDirError::Io`] if that cannot be done.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path).map_err(io_error(path))?;
        Ok(Self { path: path.to_owned() })
    }

    /// Names a directory that is only read; it may not exist.
    #[must_use]
    pub fn existing(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.path.join("hobnob.db")
    }

    /// The key file.
    #[must_use]
    pub fn identity_path(&self) -> PathBuf {
        self.path.join("identity")
    }

    /// The socket on which the client that uses the directory takes requests of the command line.
    #[must_use]
    pub fn socket_path(&self) -> PathBuf {
        self.path.join("socket")
    }

    /// Claims the directory for this process.
    ///
    /// # Errors
    /// [`DataDirError::Locked`] if another client has it, [`DataDirError::NoIdentity`] if there is no such directory.
    pub fn lock(&self) -> Result<DirLock, DataDirError> {
        let path = self.path.join("lock");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = private(&mut options).open(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => DataDirError::NoIdentity(self.path.clone()),
            _ => io_error(&path)(error),
        })?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // The process id is a courtesy; without it the message is still true.
                let _ = (&mut file).take(32).read_to_string(&mut text);
                return Err(DataDirError::Locked { path: self.path.clone(), pid: text.trim().parse().ok() });
            }
            Err(TryLockError::Error(error)) => return Err(io_error(&path)(error)),
        }
        let pid = format!("{}\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(pid.as_bytes()))
            .map_err(io_error(&path))?;
        Ok(DirLock { _file: file })
    }

    /// Reads the identity.
    ///
    /// # Errors
    /// [`DataDirError::NoIdentity`] if there is none, and what [`DataDirError`] says otherwise. The file is never
    /// touched.
    pub fn identity(&self) -> Result<Identity, DataDirError> {
        let path = self.identity_path();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(DataDirError::NoIdentity(self.path.clone()));
            }
            Err(error) => return Err(io_error(&path)(error)),
        };
        #[cfg(unix)]
        if std::os::unix::fs::MetadataExt::mode(&file.metadata().map_err(io_error(&path))?) & 0o077 != 0 {
            return Err(DataDirError::ExposedIdentity(path));
        }
        let mut bytes = Vec::new();
        file.take(MAX_KEY_FILE_LEN).read_to_end(&mut bytes).map_err(io_error(&path))?;
        parse_key_file(&bytes).ok_or(DataDirError::DamagedIdentity(path))
    }

    /// Reads the identity, or makes one from `seed`, which must be random, if there is none.
    ///
    /// # Errors
    /// See [`DataDir::identity`]. An existing file is never replaced.
    pub fn identity_or_make(&self, seed: [u8; 32]) -> Result<Identity, DataDirError> {
        match self.identity() {
            Err(DataDirError::NoIdentity(_)) => self.make_identity(seed),
            found => found,
        }
    }

    fn make_identity(&self, seed: [u8; 32]) -> Result<Identity, DataDirError> {
        let identity = Identity::from_seed(seed);
        let path = self.identity_path();
        let unfinished = self.path.join("identity.new");
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(io_error(&unfinished)(error)),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        let mut file = private(&mut options).open(&unfinished).map_err(io_error(&unfinished))?;
        file.write_all(key_file(&identity).as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(io_error(&unfinished))?;
        // A link, unlike a rename, fails if somebody made an identity meanwhile.
        fs::hard_link(&unfinished, &path).map_err(io_error(&path))?;
        fs::remove_file(&unfinished).map_err(io_error(&unfinished))?;
        #[cfg(unix)]
        File::open(&self.path).and_then(|dir| dir.sync_all()).map_err(io_error(&self.path))?;
        Ok(identity)
    }
}

fn private(options: &mut OpenOptions) -> &OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// Header, secret seed and public key in hexadecimal, a line each: the public key shows damage to the seed.
fn key_file(identity: &Identity) -> String {
    let hex = |bytes: &[u8; 32]| blake3::Hash::from_bytes(*bytes).to_hex();
    format!("{KEY_FILE_HEADER}\n{}\n{}\n", hex(identity.seed()), identity.peer_id())
}

fn parse_key_file(bytes: &[u8]) -> Option<Identity> {
    let mut lines = std::str::from_utf8(bytes).ok()?.lines();
    let (header, seed, public) = (lines.next()?, lines.next()?, lines.next()?);
    let identity = Identity::from_seed(blake3::Hash::from_hex(seed).ok()?.into());
    (header == KEY_FILE_HEADER && identity.peer_id().to_string() == public).then_some(identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> (tempfile::TempDir, DataDir) {
        let temp = tempfile::tempdir().unwrap();
        let dir = DataDir::open(&temp.path().join("a/b")).unwrap();
        (temp, dir)
    }

    #[test]
    fn an_identity_is_made_once_and_stays() {
        let (_temp, dir) = scratch();
        assert!(matches!(dir.identity(), Err(DataDirError::NoIdentity(_))));
        let made = dir.identity_or_make([1; 32]).unwrap();
        assert_eq!(dir.identity_or_make([2; 32]).unwrap().peer_id(), made.peer_id());
        assert!(!dir.path().join("identity.new").exists());
        assert!(dir.make_identity([3; 32]).is_err(), "an existing identity must not be replaced");
        assert_eq!(dir.identity().unwrap().peer_id(), made.peer_id());
    }

    #[test]
    fn what_a_crash_left_behind_is_no_obstacle() {
        let (_temp, dir) = scratch();
        fs::write(dir.path().join("identity.new"), "half").unwrap();
        dir.identity_or_make([1; 32]).unwrap();
    }

    #[test]
    fn a_damaged_identity_is_refused_and_left_alone() {
        let (_temp, dir) = scratch();
        dir.identity_or_make([1; 32]).unwrap();
        let whole = fs::read_to_string(dir.identity_path()).unwrap();
        let swapped = whole.replacen("0101", "0110", 1);
        for damaged in ["", "x", &whole[..whole.len() / 2], &swapped] {
            fs::write(dir.identity_path(), damaged).unwrap();
            assert!(matches!(dir.identity_or_make([2; 32]), Err(DataDirError::DamagedIdentity(_))));
            assert_eq!(fs::read_to_string(dir.identity_path()).unwrap(), damaged);
        }
    }

    #[cfg(unix)]
    #[test]
    fn everything_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let (_temp, dir) = scratch();
        dir.identity_or_make([1; 32]).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(dir.path()), 0o700);
        assert_eq!(mode(&dir.identity_path()), 0o600);
        fs::set_permissions(dir.identity_path(), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(dir.identity(), Err(DataDirError::ExposedIdentity(_))));
    }

    #[test]
    fn one_client_a_directory() {
        let (_temp, dir) = scratch();
        let lock = dir.lock().unwrap();
        let error = dir.lock().unwrap_err();
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        drop(lock);
        dir.lock().unwrap();
    }
}
