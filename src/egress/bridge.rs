//! A way to a connected stream for drivers that open their sockets themselves: they
//! are given a Unix socket, behind which waits a stream of the [`Dialer`]. So such a
//! driver cannot reach any host by itself.
//!
//! The socket lies in a new folder that nobody else may enter, has a name that nobody
//! knows, and is removed when the bridge is dropped, which is as soon as the driver
//! has come over it. Only this very process is let over.
//!
//! [`Dialer`]: crate::egress::Dialer

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// Where a driver is let over. Gone when dropped.
#[derive(Debug)]
pub struct Bridge {
    folder: PathBuf,
    socket: PathBuf,
    listener: UnixListener,
}

impl Bridge {
    /// Opens one in the folder for temporary files.
    pub fn open() -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("tributary-{:032x}", rand::random::<u128>()));
        std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
        let socket = folder.join("socket");
        match UnixListener::bind(&socket) {
            Ok(listener) => Ok(Self { folder, socket, listener }),
            Err(error) => {
                drop(std::fs::remove_dir(&folder));
                Err(error)
            }
        }
    }

    /// The socket that the driver connects to.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Waits for the driver. Whoever else comes is sent away.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            if is_own(&stream) {
                return Ok(stream);
            }
        }
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // What cannot be removed leads nowhere, since nobody listens any more.
        drop(std::fs::remove_file(&self.socket));
        drop(std::fs::remove_dir(&self.folder));
    }
}

/// True when the other end is this process. Some systems tell only the user.
fn is_own(stream: &UnixStream) -> bool {
    let own = i32::try_from(std::process::id()).ok();
    stream.peer_cred().is_ok_and(|peer| {
        peer.uid() == rustix::process::geteuid().as_raw() && peer.pid().is_none_or(|process| Some(process) == own)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "it stands for a driver")]
    async fn a_driver_of_this_process_comes_over_and_nothing_stays_behind() {
        let bridge = Bridge::open().unwrap();
        let (folder, socket) = (bridge.folder.clone(), bridge.socket().to_owned());
        assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        let (accepted, connected) = tokio::join!(bridge.accept(), UnixStream::connect(&socket));
        drop(bridge);
        assert!(!socket.exists() && !folder.exists());
        let (mut here, mut there) = (accepted.unwrap(), connected.unwrap());
        here.write_all(b"hello").await.unwrap();
        let mut heard = [0; 5];
        there.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
        assert!(UnixStream::connect(&socket).await.is_err(), "nobody comes after it");
    }

    #[tokio::test]
    async fn another_process_is_sent_away() {
        let bridge = Bridge::open().unwrap();
        let script = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.recv(1)";
        let mut other = tokio::process::Command::new("python3");
        other.args(["-c", script]).arg(bridge.socket());
        let mut other = other.spawn().expect("python3 is there");
        tokio::select! {
            accepted = bridge.accept() => panic!("it was let over: {accepted:?}"),
            ended = other.wait() => assert!(ended.unwrap().success(), "it reads the end"),
        }
    }
}
