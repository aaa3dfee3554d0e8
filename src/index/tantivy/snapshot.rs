//! A consistent picture of every index while others write: what the last commit
//! of each consists of, linked into another folder.
//!
//! Tantivy never changes a file that a commit names, and removes one only under
//! its meta lock. That is held while the files get a second name, which takes no
//! time; what is done with them then may take as long as it likes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tantivy::directory::{Directory as _, META_LOCK, MmapDirectory};
use tantivy::{Index, TantivyError};

use crate::ids::CollectionId;
use crate::index::IndexError;
use crate::index::tantivy::failure::{from_io, from_opening, from_tantivy};

const META: &str = "meta.json";
const MANAGED: &str = ".managed.json";

/// Links the indexes of a data directory into a folder on the same file system,
/// `<folder>/<collection id>/`. Answers the collections whose index is damaged and
/// was left out.
pub fn link(data_dir: &Path, folder: &Path) -> Result<Vec<CollectionId>, IndexError> {
    let mut damaged = Vec::new();
    for entry in fs::read_dir(data_dir.join("index")).map_err(from_io)? {
        let path = entry.map_err(from_io)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // Others were set aside, or are to go.
        let Ok(id) = name.parse::<CollectionId>() else { continue };
        if !path.join(META).exists() {
            continue;
        }
        match link_one(&id, &path, &folder.join(name)) {
            Err(IndexError::Damaged { .. }) => damaged.push(id),
            outcome => outcome?,
        }
    }
    Ok(damaged)
}

fn link_one(id: &CollectionId, source: &Path, target: &Path) -> Result<(), IndexError> {
    fs::create_dir_all(target).map_err(from_io)?;
    let directory = MmapDirectory::open(source).map_err(|cause| from_opening(id, cause.into()))?;
    let lock = directory.acquire_lock(&META_LOCK);
    let _lock = lock.map_err(|cause| from_opening(id, TantivyError::LockFailure(cause, None)))?;
    let (meta, files) = last_commit(directory).map_err(|cause| from_opening(id, cause))?;
    let mut managed = vec![PathBuf::from(META)];
    for file in files {
        match link_or_copy(&source.join(&file), &target.join(&file)) {
            Ok(()) => managed.push(file),
            // Segments name files that they need not have.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(from_io(error)),
        }
    }
    let managed = serde_json::to_vec(&managed).map_err(|cause| from_tantivy(id, io::Error::from(cause).into()))?;
    fs::write(target.join(MANAGED), managed).map_err(from_io)?;
    fs::write(target.join(META), meta).map_err(from_io)
}

/// What a commit consists of: the file that describes it, and those it names.
fn last_commit(directory: MmapDirectory) -> tantivy::Result<(Vec<u8>, Vec<PathBuf>)> {
    let index = Index::open(directory.clone())?;
    loop {
        let before = directory.atomic_read(Path::new(META))?;
        let files = index.load_metas()?.list_segment_files();
        // Commits do not wait for the lock; one that came in between is taken.
        if directory.atomic_read(Path::new(META))? == before {
            return Ok((before, files.into_iter().collect()));
        }
    }
}

fn link_or_copy(source: &Path, target: &Path) -> io::Result<()> {
    match fs::hard_link(source, target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => fs::copy(source, target).map(drop),
        linked => linked,
    }
}
