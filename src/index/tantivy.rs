//! The index on Tantivy.

use std::path::{Path, PathBuf};

use crate::index::IndexError;

/// Keeps one Tantivy index a collection in `<data dir>/index/<collection id>`.
pub struct TantivyIndex {
    root: PathBuf,
}

impl TantivyIndex {
    /// Opens the indexes below a data directory, which is made if it is missing.
    pub fn open(data_dir: &Path) -> Result<Self, IndexError> {
        let root = data_dir.join("index");
        std::fs::create_dir_all(&root).map_err(|error| IndexError::Failed(Box::new(error)))?;
        Ok(Self { root })
    }

    /// Where the indexes are.
    pub fn root(&self) -> &Path {
        &self.root
    }
}
