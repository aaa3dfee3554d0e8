//! Walks a folder: in the order of names, without following links, and honest
//! about what could not be listed.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use crate::connectors::documents::selection::{DEEPEST, ROOT, Selection};
use crate::connectors::paths::{self, ConfinementError};

/// Something in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Path relative to the folder of the connection, with `/`.
    pub(super) path: String,
    pub(super) is_folder: bool,
    /// False when the name is no text, so that it cannot be a key.
    pub(super) is_text: bool,
}

/// What lies directly in a folder, ordered by path.
pub(super) fn list(root: &Path, relative: &str) -> Result<Vec<Entry>, ConfinementError> {
    let folder = match relative {
        "" | ROOT => root.to_owned(),
        relative => paths::confined(&[root.to_owned()], relative)?,
    };
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ConfinementError::NotFound,
        _ => ConfinementError::Unreadable(error),
    };
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        let kind = match entry.file_type() {
            Ok(kind) => kind,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(unreadable(error)),
        };
        if text.starts_with('.') || !(kind.is_dir() || kind.is_file()) {
            continue;
        }
        let path = match relative {
            "" | ROOT => text.into_owned(),
            relative => format!("{relative}/{text}"),
        };
        entries.push(Entry { path, is_folder: kind.is_dir(), is_text: name.to_str().is_some() });
    }
    entries.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(entries)
}

/// The files of one object, folder by folder.
pub(super) struct Walk<'a> {
    root: PathBuf,
    selection: &'a Selection<'a>,
    deep: bool,
    folders: Vec<String>,
    files: VecDeque<Entry>,
    /// Folders that could not be listed: what is in them is not proved gone.
    pub(super) unlisted: usize,
    vanished: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn of(root: &Path, object: &str, selection: &'a Selection<'a>) -> Self {
        Self {
            root: root.to_owned(),
            selection,
            deep: object != ROOT,
            folders: vec![object.to_owned()],
            files: VecDeque::new(),
            unlisted: 0,
            vanished: false,
        }
    }

    /// True when the whole is still there, as far as anything in it was found to
    /// have gone since it was listed: a folder that is no longer mounted looks
    /// like one that was emptied.
    pub(super) fn is_whole(&self, object: &str) -> bool {
        !self.vanished || list(&self.root, object).is_ok()
    }

    /// Something was listed and is gone.
    pub(super) fn note_vanished(&mut self) {
        self.vanished = true;
    }

    fn enter(&mut self, folder: &str) {
        let entries = match list(&self.root, folder) {
            Ok(entries) => entries,
            // Gone since its parent was listed.
            Err(ConfinementError::NotFound) => {
                self.vanished = true;
                return;
            }
            Err(_) => {
                self.unlisted += 1;
                return;
            }
        };
        let mut below = Vec::new();
        for entry in entries {
            if !entry.is_folder {
                if self.selection.takes_file(&entry.path) {
                    self.files.push_back(entry);
                }
            } else if self.deep && self.selection.enters(&entry.path) {
                if entry.is_text && entry.path.split('/').count() <= DEEPEST {
                    below.push(entry.path);
                } else {
                    self.unlisted += 1;
                }
            }
        }
        self.folders.extend(below.into_iter().rev());
    }
}

impl Iterator for Walk<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            if let Some(file) = self.files.pop_front() {
                return Some(file);
            }
            let folder = self.folders.pop()?;
            self.enter(&folder);
        }
    }
}
