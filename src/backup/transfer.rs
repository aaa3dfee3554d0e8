//! Files from one folder to another, with their digests.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::manifest::FileEntry;
use super::{BackupError, at, parent, private_folder};

const PIECE: usize = 1 << 20;

/// How far a copy is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Bytes that are there.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}

/// Copies every file below a folder, and makes it durable.
pub(super) fn copy_all(from: &Path, to: &Path, mut told: impl FnMut(Moved)) -> Result<Vec<FileEntry>, BackupError> {
    let mut found = Vec::new();
    list(from, Path::new(""), &mut found)?;
    found.sort();
    let mut moved = Moved { done: 0, total: found.iter().map(|(_, bytes)| bytes).sum() };
    told(moved);
    let mut files = Vec::with_capacity(found.len());
    for (relative, _) in found {
        let (bytes, sha256) = copy(&from.join(&relative), &to.join(&relative), &mut moved, &mut told)?;
        let path = relative.to_string_lossy().replace('\\', "/");
        files.push(FileEntry { path, bytes, sha256 });
    }
    Ok(files)
}

/// Copies the files that are listed, and refuses the whole where one is not what
/// the list says.
pub(super) fn copy_listed(
    from: &Path,
    to: &Path,
    files: &[FileEntry],
    mut told: impl FnMut(Moved),
) -> Result<(), BackupError> {
    let mut moved = Moved { done: 0, total: files.iter().map(|file| file.bytes).sum() };
    told(moved);
    for file in files {
        let refused =
            |reason: &str| BackupError::NotWhole { path: from.to_owned(), reason: format!("`{}` {reason}", file.path) };
        let source = from.join(&file.path);
        if !source.is_file() {
            return Err(refused("is missing"));
        }
        let (bytes, sha256) = copy(&source, &to.join(&file.path), &mut moved, &mut told)?;
        if (bytes, &sha256) != (file.bytes, &file.sha256) {
            return Err(refused("is not what it was when the backup was made"));
        }
    }
    Ok(())
}

fn list(root: &Path, below: &Path, found: &mut Vec<(PathBuf, u64)>) -> Result<(), BackupError> {
    let folder = root.join(below);
    for entry in fs::read_dir(&folder).map_err(at(&folder))? {
        let entry = entry.map_err(at(&folder))?;
        let relative = below.join(entry.file_name());
        let metadata = entry.metadata().map_err(at(&entry.path()))?;
        if metadata.is_dir() {
            list(root, &relative, found)?;
        } else {
            found.push((relative, metadata.len()));
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path, moved: &mut Moved, told: &mut impl FnMut(Moved)) -> Result<(u64, String), BackupError> {
    private_folder(parent(to))?;
    let mut source = File::open(from).map_err(at(from))?;
    let mut target = create(to).map_err(at(to))?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE];
    let mut bytes = 0;
    loop {
        let length = source.read(&mut piece).map_err(at(from))?;
        if length == 0 {
            break;
        }
        hasher.update(&piece[..length]);
        target.write_all(&piece[..length]).map_err(at(to))?;
        bytes += length as u64;
        moved.done += length as u64;
        told(*moved);
    }
    target.sync_all().map_err(at(to))?;
    let hex = hasher.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    Ok((bytes, hex))
}

/// A new file for its owner only.
fn create(path: &Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes a file, or the names in a folder, durable.
pub(super) fn sync_folder(path: &Path) -> Result<(), BackupError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(at(path))
}
