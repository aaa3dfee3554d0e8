//! What a backup says of itself.

use std::fs;
use std::io;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use super::{BackupError, at, transfer};

/// Layout of a backup that this build writes and reads.
pub const FORMAT: u32 = 1;
const NAME: &str = "manifest.json";

/// What a backup says of itself: written last, so that a folder with a manifest is
/// whole unless something was lost later.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Layout.
    pub format: u32,
    /// Version of Tributary that made it.
    pub version: String,
    /// When, RFC 3339.
    pub made_at: String,
    /// Deployment that it is of.
    pub deployment: String,
    /// Kind of the store: `sqlite`, which is in it, or `postgresql`, which is not.
    pub store: String,
    /// Encryption keys without which the store's credentials do not open.
    pub key_ids: Vec<String>,
    /// Every other file.
    pub files: Vec<FileEntry>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Path within the backup, with `/`.
    pub path: String,
    /// Bytes.
    pub bytes: u64,
    /// SHA-256 in hex.
    pub sha256: String,
}

impl Manifest {
    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), BackupError> {
        let path = folder.join(NAME);
        let text = serde_json::to_vec_pretty(self).map_err(|error| at(&path)(io::Error::from(error)))?;
        fs::write(&path, text).map_err(at(&path))?;
        transfer::sync_folder(&path)?;
        transfer::sync_folder(folder)
    }

    /// The manifest of a backup, if this build can read it.
    pub(super) fn read(folder: &Path) -> Result<Self, BackupError> {
        let refused = |reason: String| BackupError::NotWhole { path: folder.to_owned(), reason };
        let text = match fs::read(folder.join(NAME)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(refused(format!("it has no {NAME}; was its making cut short?")));
            }
            Err(error) => return Err(at(&folder.join(NAME))(error)),
        };
        let manifest: Self =
            serde_json::from_slice(&text).map_err(|error| refused(format!("{NAME} cannot be read: {error}")))?;
        if manifest.format != FORMAT {
            let reason = format!("its format is {}, and this build reads {FORMAT}", manifest.format);
            return Err(refused(reason));
        }
        match manifest.files.iter().find(|file| !is_plain(&file.path)) {
            Some(file) => Err(refused(format!("`{}` leads out of it", file.path))),
            None => Ok(manifest),
        }
    }
}

/// Only names of folders and a file, none of which leads anywhere else.
fn is_plain(path: &str) -> bool {
    !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_leads_out_of_a_backup_is_refused() {
        for odd in ["", "/etc/passwd", "../x", "index/../../x", "."] {
            assert!(!is_plain(odd), "{odd}");
        }
        assert!(is_plain("index/col_1/meta.json"));
    }
}
