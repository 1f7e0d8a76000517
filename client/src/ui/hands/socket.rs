//! The way from the command line to the client that runs: a Unix socket in the data directory, for its user alone.
//!
//! Everything that depends on the system is here. Windows would have a named pipe in its place
//! (`tokio::net::windows::named_pipe`) with the same two types; until then a client there is not reached, and the command line
//! says so.

use std::io;
use std::path::Path;

#[cfg(unix)]
pub(super) use unix::{Listener, connect};

/// One connection.
#[cfg(unix)]
pub(super) type Stream = tokio::net::UnixStream;
/// One connection: there are none.
#[cfg(not(unix))]
pub(super) type Stream = tokio::io::DuplexStream;

#[cfg(unix)]
mod unix {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use tokio::net::UnixListener;

    use super::{Path, Stream, io};

    /// Takes connections; the file goes with it.
    #[derive(Debug)]
    pub(in super::super) struct Listener {
        socket: UnixListener,
        path: PathBuf,
    }

    impl Listener {
        /// Listens at `path`, in place of what an earlier client left there: the caller holds the directory's lock.
        pub(in super::super) fn bind(path: &Path) -> io::Result<Self> {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let socket = UnixListener::bind(path)?;
            fs::set_permissions(path, Permissions::from_mode(0o600))?;
            Ok(Self { socket, path: path.to_owned() })
        }

        /// The next connection.
        pub(in super::super) async fn accept(&self) -> io::Result<Stream> {
            Ok(self.socket.accept().await?.0)
        }
    }

    impl Drop for Listener {
        fn drop(&mut self) {
            // A file that stays behind is replaced by the next client.
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Connects to the client that listens at `path`.
    pub(in super::super) async fn connect(path: &Path) -> io::Result<Stream> {
        Stream::connect(path).await
    }
}

/// Takes no connections.
#[cfg(not(unix))]
#[derive(Debug)]
pub(super) struct Listener;

#[cfg(not(unix))]
impl Listener {
    /// Always an error.
    pub(super) fn bind(_: &Path) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Never returns.
    pub(super) async fn accept(&self) -> io::Result<Stream> {
        std::future::pending().await
    }
}

/// Always an error.
#[cfg(not(unix))]
#[expect(clippy::unused_async, reason = "as on systems that have it")]
pub(super) async fn connect(_: &Path) -> io::Result<Stream> {
    Err(io::ErrorKind::Unsupported.into())
}
