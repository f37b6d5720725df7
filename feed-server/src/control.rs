//! The control socket: the local way in, at `<data>/control.sock`, mode 0600.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use socket2::{Domain, SockAddr, Socket, Type};

/// Its name in the data directory.
pub const SOCKET: &str = "control.sock";

/// Connections that wait to be accepted: the standard library's own number.
const BACKLOG: i32 = 128;

/// Unix holds a socket's path in 108 bytes with a zero at its end (`sockaddr_un`, unix(7)).
const MAX_SOCKET_PATH: usize = 107;

/// A path that fits a socket address, good for as long as this lives.
#[derive(Debug)]
pub struct SocketPath {
    path: PathBuf,
    _directory: Option<File>,
}

impl SocketPath {
    /// The socket of a data directory. Where its path is too long for a socket address, the kernel's name for the open
    /// directory stands in for it.
    ///
    /// # Errors
    /// The path is too long and the directory cannot be opened.
    pub fn of(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join(SOCKET);
        if path.as_os_str().len() <= MAX_SOCKET_PATH {
            return Ok(Self { path, _directory: None });
        }
        let directory = File::open(data_dir)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd()));
        Ok(Self { path, _directory: Some(directory) })
    }

    /// The path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.path
    }

    /// Whether a server answers.
    ///
    /// # Errors
    /// It cannot be known: the socket is another user's.
    pub fn answers(&self) -> io::Result<bool> {
        match UnixStream::connect(&self.path) {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// The socket, open; its file goes when this is dropped.
#[derive(Debug)]
pub struct ControlSocket {
    path: SocketPath,
}

impl ControlSocket {
    /// Opens the socket. The caller holds the data directory's lock, so a socket that is there is of a process that
    /// died, and is replaced.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(data_dir: &Path) -> io::Result<(Self, UnixListener)> {
        let path = SocketPath::of(data_dir)?;
        match std::fs::remove_file(path.as_path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        // Made under another name first, so that whoever finds the socket finds it listening.
        let making = path.as_path().with_extension("new");
        match std::fs::remove_file(&making) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let listener = bind(&making)?;
        std::fs::rename(&making, path.as_path())?;
        Ok((Self { path }, listener))
    }
}

/// A listening socket whose file is its owner's alone from the first moment: whoever connects may do everything, and the
/// data directory may be open to others. On Linux the file takes the mode that the socket has when it is bound.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(self.path.as_path()) {
            tracing::debug!(%error, "the control socket's file stays; the next start replaces it");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn nobody_else_can_connect_not_even_at_first() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("socket");
        let _listener = bind(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_socket_that_a_dead_process_left_is_replaced() {
        let data = tempfile::tempdir().unwrap();
        drop(UnixListener::bind(data.path().join(SOCKET)).unwrap());
        assert!(!SocketPath::of(data.path()).unwrap().answers().unwrap());
        let (socket, _listener) = ControlSocket::open(data.path()).unwrap();
        assert!(SocketPath::of(data.path()).unwrap().answers().unwrap());
        let mode = data.path().join(SOCKET).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(socket);
        assert!(!data.path().join(SOCKET).exists());
    }

    #[test]
    fn a_long_path_has_a_socket_too() {
        let data = tempfile::tempdir().unwrap();
        let deep = data.path().join("d".repeat(200));
        std::fs::create_dir(&deep).unwrap();
        let (_socket, _listener) = ControlSocket::open(&deep).unwrap();
        assert!(SocketPath::of(&deep).unwrap().answers().unwrap());
    }
}
