//! One level of the tree, page by page.

use std::collections::BTreeMap;

use super::walk::{is_hidden, within};
use super::{Depth, Entry, ListError, Page, Store};
use crate::connectors::documents::choice::Choice;
use crate::connectors::{ConnectorError, ObjectKind, ObjectPage, SourceObject};

/// What lies directly in a folder, ordered by path. Stores have orders of their own,
/// so all of the folder is looked through; what is kept is never more than the page.
pub(in crate::connectors) async fn discover<S: Store>(
    store: &S,
    choice: &Choice,
    parent: Option<&str>,
    page: ObjectPage<'_>,
) -> Result<Vec<SourceObject>, ConnectorError> {
    let folder = parent.unwrap_or_default().trim_matches('/');
    // True for a folder, which wins where a file has the same path.
    let mut kept: BTreeMap<String, bool> = BTreeMap::new();
    let mut token: Option<String> = None;
    loop {
        let Page { entries, next } = match store.list(folder, Depth::Folder, token.as_deref()).await {
            Ok(page) => page,
            Err(error) => return Err(refused(folder, error)),
        };
        for entry in entries {
            let (is_folder, path) = match entry {
                Entry::Folder(path) => (true, path),
                Entry::File(path, _) => (false, path),
            };
            let name = within(folder, Depth::Folder, &path);
            if name.is_none_or(is_hidden) || page.after.is_some_and(|after| *path <= *after) {
                continue;
            }
            *kept.entry(path).or_default() |= is_folder;
            if kept.len() > page.limit {
                kept.pop_last();
            }
        }
        if next.is_none() || next == token {
            break;
        }
        token = next;
    }
    let selection = choice.selection();
    let object = |(path, is_folder): (String, bool)| SourceObject {
        kind: if is_folder { ObjectKind::Folder } else { ObjectKind::File },
        has_children: is_folder,
        selected: if is_folder { selection.enters(&path) } else { selection.takes_file(&path) },
        estimated_items: None,
        path,
    };
    Ok(kept.into_iter().map(object).collect())
}

fn refused(folder: &str, error: ListError) -> ConnectorError {
    match error {
        ListError::Source(error) => error,
        ListError::NotFound => {
            ConnectorError::Invalid { field: "parent".to_owned(), reason: "names no folder of this source".to_owned() }
        }
        ListError::Forbidden => ConnectorError::Forbidden { object: folder.to_owned() },
        other @ (ListError::Contradiction | ListError::TooMany) => ConnectorError::Unexpected(Box::new(other)),
    }
}
