//! The files of one object, page by page, from a listing that may lie: it can name
//! what is elsewhere, repeat itself, or never end.

use std::collections::HashSet;

use xxhash_rust::xxh3::xxh3_64;

use super::{Depth, Entry, ListError, Page, Stamp, Store};
use crate::connectors::documents::selection::{DEEPEST, ROOT, Selection};

/// Pages in a row that may have nothing in them.
const MOST_EMPTY: usize = 1_000;
/// Folders that wait to be listed.
const MOST_FOLDERS: usize = 100_000;
/// Longest path. Buckets have at most 1,024 bytes, file systems 4,096.
const LONGEST_PATH: usize = 4_096;

/// The files of one object.
pub(super) struct Walk<'a, S> {
    store: &'a S,
    selection: &'a Selection<'a>,
    /// The object's files alone, or all below it.
    is_deep: bool,
    folders: Vec<String>,
    /// The folder that is being listed, and where its next page begins.
    current: Option<(String, Option<String>)>,
    /// Hashes of the paths and of the pages that were met.
    met: HashSet<u64>,
    pages: HashSet<u64>,
    empty: usize,
    /// Folders that could not be listed: what is in them is not proved gone.
    pub(super) unlisted: usize,
}

impl<'a, S: Store> Walk<'a, S> {
    pub(super) fn of(store: &'a S, object: &str, selection: &'a Selection<'a>) -> Self {
        Self {
            store,
            selection,
            is_deep: object != ROOT,
            folders: vec![if object == ROOT { String::new() } else { object.to_owned() }],
            current: None,
            met: HashSet::new(),
            pages: HashSet::new(),
            empty: 0,
            unlisted: 0,
        }
    }

    /// The files of the next page that are selected; none at the end. After an error
    /// of the source the same page can be asked for again.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<(String, Stamp)>>, ListError> {
        let (folder, token) = match &self.current {
            Some(current) => current.clone(),
            None => match self.folders.pop() {
                Some(folder) => self.current.insert((folder, None)).clone(),
                None => return Ok(None),
            },
        };
        let is_below = self.is_deep && self.store.lists_below();
        let depth = if is_below { Depth::Below } else { Depth::Folder };
        let page = match self.store.list(&folder, depth, token.as_deref()).await {
            Ok(page) => page,
            // The object itself has no slash: nothing of it could be read.
            Err(ListError::Forbidden | ListError::NotFound) if folder.contains('/') => {
                self.unlisted += 1;
                self.current = None;
                return Ok(Some(Vec::new()));
            }
            Err(error) => return Err(error),
        };
        self.turn(&folder, &page)?;
        self.take(&folder, depth, page.entries).map(Some)
    }

    /// True when there is no other page.
    pub(super) fn is_at_the_end(&self) -> bool {
        self.current.is_none() && self.folders.is_empty()
    }

    /// Goes on to the next page. One that was there before, or very many that are
    /// empty, are a listing without end.
    fn turn(&mut self, folder: &str, page: &Page) -> Result<(), ListError> {
        self.empty = if page.entries.is_empty() { self.empty + 1 } else { 0 };
        if self.empty > MOST_EMPTY {
            return Err(ListError::Contradiction);
        }
        self.current = match &page.next {
            None => {
                self.pages.clear();
                None
            }
            Some(next) if self.pages.insert(xxh3_64(next.as_bytes())) => Some((folder.to_owned(), Some(next.clone()))),
            Some(_) => return Err(ListError::Contradiction),
        };
        Ok(())
    }

    fn take(&mut self, folder: &str, depth: Depth, entries: Vec<Entry>) -> Result<Vec<(String, Stamp)>, ListError> {
        let mut files = Vec::with_capacity(entries.len());
        let mut below = Vec::new();
        for entry in entries {
            let (Entry::Folder(path) | Entry::File(path, _)) = &entry;
            let name = within(folder, depth, path).ok_or(ListError::Contradiction)?;
            if is_hidden(name) {
                continue;
            }
            if !self.met.insert(xxh3_64(path.as_bytes())) {
                return Err(ListError::Contradiction);
            }
            match entry {
                Entry::File(path, stamp) if self.selection.takes_file(&path) => files.push((path, stamp)),
                Entry::File(..) => {}
                Entry::Folder(path) if self.is_deep && self.selection.enters(&path) => below.push(path),
                Entry::Folder(_) => {}
            }
        }
        for path in below.into_iter().rev() {
            if path.len() > LONGEST_PATH || path.split('/').count() > DEEPEST {
                self.unlisted += 1;
            } else if self.folders.len() >= MOST_FOLDERS {
                return Err(ListError::TooMany);
            } else {
                self.folders.push(path);
            }
        }
        Ok(files)
    }
}

/// What a path is within a folder; none where it cannot be in it.
pub(super) fn within<'p>(folder: &str, depth: Depth, path: &'p str) -> Option<&'p str> {
    let name = match folder {
        "" => path,
        folder => path.strip_prefix(folder)?.strip_prefix('/')?,
    };
    let is_within = !name.is_empty() && path.len() <= LONGEST_PATH && (depth == Depth::Below || !name.contains('/'));
    is_within.then_some(name)
}

/// True when a name on the way begins with a dot.
pub(super) fn is_hidden(path: &str) -> bool {
    path.split('/').any(|name| name.starts_with('.'))
}
