//! Gets the key-encryption keys from where the operator keeps them, or makes the
//! key file of an embedded server at its first start.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use secrecy::ExposeSecret;
use tracing::warn;
use zeroize::Zeroizing;

use super::key_ring::{KeyRing, KeyRingError};
use crate::config::KeySource;

/// A key file is a few lines; more is another file.
const LARGEST_FILE: u64 = 64 << 10;
const COMMAND_TIME: Duration = Duration::from_secs(30);

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file cannot be read or made.
    #[error("the encryption key file `{path}` cannot be used")]
    File {
        /// File.
        path: PathBuf,
        /// Cause.
        #[source]
        cause: io::Error,
    },
    /// The command did not give keys.
    #[error("the encryption key command failed")]
    Command(#[source] io::Error),
    /// What is needed to ask a keeper cannot be read.
    #[error("the root certificate `{path}` for the keeper of the encryption key cannot be used")]
    Root {
        /// File.
        path: PathBuf,
        /// Cause.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What was read are no keys.
    #[error("{place} holds no usable encryption key")]
    Keys {
        /// Where it was read.
        place: String,
        /// Cause.
        #[source]
        cause: KeyRingError,
    },
}

/// The keys. The embedded file is made, and said so, where there is none.
pub fn load(source: &KeySource) -> Result<KeyRing, SourceError> {
    let (place, text) = match source {
        KeySource::Given(text) => {
            ("TRIBUTARY_ENCRYPTION_KEY".to_owned(), Zeroizing::new(text.expose_secret().to_owned()))
        }
        KeySource::File(path) => read_named(path)?,
        KeySource::Command(command) => {
            ("the encryption key command".to_owned(), run(command).map_err(SourceError::Command)?)
        }
        KeySource::Embedded(path) => {
            if !path.exists() {
                make(path).map_err(|cause| SourceError::File { path: path.clone(), cause })?;
            }
            read_named(path)?
        }
    };
    KeyRing::from_text(&text).map_err(|cause| SourceError::Keys { place, cause })
}

/// The keys, read where a file or a command may take its time.
pub async fn load_aside(source: &KeySource) -> Result<KeyRing, SourceError> {
    let source = source.clone();
    let reading = tokio::task::spawn_blocking(move || load(&source)).await;
    reading.unwrap_or_else(|panicked| Err(SourceError::Command(io::Error::other(panicked))))
}

/// Puts a new key before those of a key file, and answers its id. The file is
/// replaced as a whole, with its mode and owner.
pub fn prepend(path: &Path) -> Result<String, SourceError> {
    let failed = |cause| SourceError::File { path: path.to_owned(), cause };
    let old = read(path).map_err(failed)?;
    KeyRing::from_text(&old).map_err(|cause| SourceError::Keys { place: format!("`{}`", path.display()), cause })?;
    let (keys, new) = KeyRing::generate();
    let text = Zeroizing::new(format!("{}{}", new.expose_secret(), *old));
    replace(path, &text).map_err(failed)?;
    Ok(keys.ids().concat())
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    // Behind a link, what it leads to is replaced.
    let path = path.canonicalize()?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let draft = folder.join(format!(".encryption.key.{}", ulid::Ulid::new()));
    let replaced =
        write_private(&draft, text).and_then(|()| owned_alike(&draft, &path)).and_then(|()| fs::rename(&draft, &path));
    if replaced.is_err() {
        // It may not even be there.
        let _ = fs::remove_file(&draft);
    }
    replaced?;
    File::open(folder)?.sync_all()
}

/// Gives a file the owner and mode of another, so that who reads the one can read
/// the other.
fn owned_alike(path: &Path, other: &Path) -> io::Result<()> {
    let like = fs::metadata(other)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let draft = fs::metadata(path)?;
        if (draft.uid(), draft.gid()) != (like.uid(), like.gid()) {
            std::os::unix::fs::chown(path, Some(like.uid()), Some(like.gid()))?;
        }
    }
    fs::set_permissions(path, like.permissions())
}

fn read_named(path: &Path) -> Result<(String, Zeroizing<String>), SourceError> {
    let text = read(path).map_err(|cause| SourceError::File { path: path.to_owned(), cause })?;
    Ok((format!("`{}`", path.display()), text))
}

fn read(path: &Path) -> io::Result<Zeroizing<String>> {
    let file = File::open(path)?;
    if is_open_to_others(&file)? {
        warn!(path = %path.display(), "other users can read the encryption key file; chmod 600 it");
    }
    let mut text = Zeroizing::new(String::new());
    file.take(LARGEST_FILE).read_to_string(&mut text)?;
    Ok(text)
}

/// True when somebody but the owner may read the file.
pub fn is_open_to_others(file: &File) -> io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        Ok(file.metadata()?.permissions().mode() & 0o077 != 0)
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        Ok(false)
    }
}

/// Writes a new key beside the place and links it there, so that a file with that
/// name is always whole and never replaced, also when two servers start at once.
fn make(path: &Path) -> io::Result<()> {
    let (keys, text) = KeyRing::generate();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let draft = folder.join(format!(".encryption.key.{}", ulid::Ulid::new()));
    let written = write_private(&draft, text.expose_secret()).and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft).or_else(|error| if written.is_err() { Ok(()) } else { Err(error) })?;
    match written {
        Ok(()) => {
            let key_id = keys.ids().concat();
            warn!(
                path = %path.display(),
                key_id,
                "made an encryption key; keep a copy: without it no stored credential opens"
            );
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes a new file that only its owner may read.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// What the command prints. Its complaints go to our own standard error.
fn run(command: &str) -> io::Result<Zeroizing<String>> {
    let mut child =
        Command::new("/bin/sh").arg("-c").arg(command).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().ok_or_else(|| io::Error::other("it has no output"))?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = Zeroizing::new(String::new());
        let read = output.take(LARGEST_FILE).read_to_string(&mut text).map(|_| text);
        // The other end is gone when the time was over.
        let _ = sender.send(read);
    });
    let Ok(read) = receiver.recv_timeout(COMMAND_TIME) else {
        child.kill()?;
        child.wait()?;
        return Err(io::Error::new(io::ErrorKind::TimedOut, "it took longer than 30 seconds"));
    };
    let status = child.wait()?;
    if status.success() { read } else { Err(io::Error::other(format!("it ended with {status}"))) }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    #[test]
    fn the_embedded_key_is_made_once_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/encryption.key");
        let source = KeySource::Embedded(path.clone());
        let first = load(&source).map_err(|error| error.to_string()).map(|ring| ring.ids());
        let second = load(&source).map_err(|error| error.to_string()).map(|ring| ring.ids());
        assert_eq!(first, second);
        assert!(!is_open_to_others(&File::open(&path).unwrap()).unwrap());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_new_key_goes_before_the_others_and_the_file_stays_whose_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("encryption.key");
        let source = KeySource::Embedded(path.clone());
        let old = load(&source).map(|ring| ring.ids()).unwrap();
        let new = prepend(&path).unwrap();
        assert_eq!(load(&source).map(|ring| ring.ids()).unwrap(), [new, old.concat()]);
        assert!(!is_open_to_others(&File::open(&path).unwrap()).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::write(&path, "no key").unwrap();
        assert!(prepend(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "no key");
    }

    #[test]
    fn keys_come_from_the_environment_a_file_or_a_command() {
        let (ring, text) = KeyRing::generate();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it's a key");
        write_private(&path, text.expose_secret()).unwrap();
        let command = format!("cat \"{}\"", path.display());
        let sources = [
            KeySource::Given(SecretString::from(text.expose_secret())),
            KeySource::File(path.clone()),
            KeySource::Command(command),
        ];
        for source in &sources {
            assert_eq!(load(source).map(|ring| ring.ids()).unwrap(), ring.ids());
        }
        assert!(load(&KeySource::Command("exit 3".to_owned())).is_err());
        assert!(load(&KeySource::File(folder.path().join("absent"))).is_err());
    }
}
