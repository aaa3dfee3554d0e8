//! Confinement: what file-like sources may read. Only below the folders that
//! the operator names, never through a link that leads out of them, and only
//! regular files are opened.

use std::fs::{File, Metadata};
use std::io;
use std::path::{Component, Path, PathBuf};

/// Why a path may not be read. Says nothing about what lies outside the roots,
/// not even whether it exists.
#[derive(Debug, thiserror::Error)]
pub enum ConfinementError {
    /// The operator names no folders.
    #[error("cannot be read, since this server allows no folders; the operator names them with --file-roots")]
    NoRoots,
    /// Empty, with a NUL, or with a `..` in it.
    #[error("must be a path without `..` and NUL characters")]
    Malformed,
    /// Not below any root.
    #[error("is not below a folder that this server may read; the operator names them with --file-roots")]
    Outside,
    /// Below a root, but not there.
    #[error("does not exist")]
    NotFound,
    /// A device, a pipe or the like.
    #[error("is not a regular file")]
    NotRegular,
    /// There, but the system refuses to give it.
    #[error("cannot be read")]
    Unreadable(#[source] io::Error),
}

impl ConfinementError {
    /// The cause as one word, for reports.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoRoots | Self::Outside => "outside_roots",
            Self::Malformed => "invalid_path",
            Self::NotFound => "not_found",
            Self::NotRegular => "not_a_file",
            Self::Unreadable(_) => "unreadable",
        }
    }

    fn of(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::NotFound,
            _ => Self::Unreadable(error),
        }
    }
}

/// The canonical path of what is wanted, which is absolute or relative to one of
/// the roots, provided that it lies below a root after all links are resolved.
pub fn confined(roots: &[PathBuf], wanted: &str) -> Result<PathBuf, ConfinementError> {
    if roots.is_empty() {
        return Err(ConfinementError::NoRoots);
    }
    let path = Path::new(wanted);
    if wanted.is_empty() || wanted.contains('\0') || path.components().any(|part| part == Component::ParentDir) {
        return Err(ConfinementError::Malformed);
    }
    let mut refusal = None;
    for root in roots {
        // A root that is away at the moment allows nothing.
        let Ok(canonical_root) = root.canonicalize() else { continue };
        let candidate = if path.is_relative() {
            canonical_root.join(path)
        } else if path.starts_with(root) || path.starts_with(&canonical_root) {
            path.to_owned()
        } else {
            continue;
        };
        match below(&canonical_root, &candidate) {
            Ok(found) => return Ok(found),
            Err(error) => refusal = Some(error),
        }
    }
    Err(refusal.unwrap_or(ConfinementError::Outside))
}

/// The canonical path of a candidate, if it is the root itself or lies below it.
/// The root must be canonical.
pub fn below(root: &Path, candidate: &Path) -> Result<PathBuf, ConfinementError> {
    let found = candidate.canonicalize().map_err(ConfinementError::of)?;
    if found.starts_with(root) { Ok(found) } else { Err(ConfinementError::Outside) }
}

/// What the system knows of a regular file, by its canonical path.
pub fn regular(path: &Path) -> Result<Metadata, ConfinementError> {
    let metadata = path.symlink_metadata().map_err(ConfinementError::of)?;
    if metadata.is_file() { Ok(metadata) } else { Err(ConfinementError::NotRegular) }
}

/// Opens a regular file by its canonical path. Pipes and devices are refused
/// before they are opened, since opening them can wait for ever.
pub fn open_regular(path: &Path) -> Result<File, ConfinementError> {
    regular(path)?;
    let file = File::open(path).map_err(ConfinementError::of)?;
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(file),
        Ok(_) => Err(ConfinementError::NotRegular),
        Err(error) => Err(ConfinementError::of(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Places {
        _folder: tempfile::TempDir,
        root: PathBuf,
        outside: PathBuf,
    }

    fn places() -> Places {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        let (root, outside) = (base.join("root"), base.join("outside"));
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::write(root.join("sub/file.txt"), "in").unwrap();
        std::fs::write(outside.join("secret.txt"), "out").unwrap();
        Places { _folder: folder, root, outside }
    }

    #[test]
    fn absolute_and_relative_paths_below_a_root_are_found() {
        let places = places();
        let roots = [places.root.clone()];
        let file = places.root.join("sub/file.txt");
        assert_eq!(confined(&roots, file.to_str().unwrap()).unwrap(), file);
        assert_eq!(confined(&roots, "sub/file.txt").unwrap(), file);
        assert_eq!(confined(&roots, places.root.to_str().unwrap()).unwrap(), places.root);
    }

    #[test]
    fn what_lies_outside_is_refused_alike_whether_it_exists_or_not() {
        let places = places();
        let roots = [places.root.clone()];
        for name in ["secret.txt", "nothing.txt"] {
            let wanted = places.outside.join(name);
            assert!(matches!(confined(&roots, wanted.to_str().unwrap()), Err(ConfinementError::Outside)));
        }
        // A sibling whose name begins with the root's name is not below it.
        let sibling = format!("{}-2", places.root.display());
        std::fs::create_dir(&sibling).unwrap();
        assert!(matches!(confined(&roots, &sibling), Err(ConfinementError::Outside)));
    }

    #[test]
    fn parent_segments_nul_and_empty_paths_are_refused() {
        let places = places();
        let roots = [places.root.clone()];
        for wanted in ["", "../outside/secret.txt", "sub/../sub/file.txt", "sub/file.txt\0.png"] {
            assert!(matches!(confined(&roots, wanted), Err(ConfinementError::Malformed)), "{wanted:?}");
        }
        assert!(matches!(confined(&[], "sub/file.txt"), Err(ConfinementError::NoRoots)));
    }

    #[cfg(unix)]
    #[test]
    fn links_out_of_the_root_are_refused_and_links_within_are_resolved() {
        let places = places();
        let roots = [places.root.clone()];
        std::os::unix::fs::symlink(&places.outside, places.root.join("out")).unwrap();
        std::os::unix::fs::symlink(places.root.join("sub"), places.root.join("in")).unwrap();
        assert!(matches!(confined(&roots, "out/secret.txt"), Err(ConfinementError::Outside)));
        assert_eq!(confined(&roots, "in/file.txt").unwrap(), places.root.join("sub/file.txt"));
    }

    #[test]
    fn only_regular_files_are_opened() {
        let places = places();
        assert!(open_regular(&places.root.join("sub/file.txt")).is_ok());
        assert!(matches!(open_regular(&places.root.join("sub")), Err(ConfinementError::NotRegular)));
        assert!(matches!(open_regular(&places.root.join("none")), Err(ConfinementError::NotFound)));
    }
}
