//! The mailboxes of an account: one complete list, and the tree in it.

use std::collections::BTreeMap;

use async_imap::imap_proto::{MailboxDatum, MailboxListData, NameAttribute, Response};

use super::failure::Failure;
use super::guard::SMALL_LITERAL;
use super::names;
use super::settings::Config;
use super::wire::Wire;
use crate::connectors::{ConnectorError, ObjectKind, SourceObject};

/// Most mailboxes of an account.
const MOST_MAILBOXES: usize = 20_000;
/// Levels of the tree; what is deeper hangs on the last.
const DEEPEST: usize = 64;
/// Longest name, in bytes.
const LONGEST_NAME: usize = 4_096;

/// One mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mailbox {
    /// The name as people read it; unique.
    pub(super) path: String,
    /// The name as the server wrote it.
    pub(super) name: String,
    /// What separates the levels of the name.
    delimiter: Option<char>,
    /// It holds messages, and not only other mailboxes.
    pub(super) is_selectable: bool,
    /// A view of the messages of others: all of them, or the important ones.
    is_view: bool,
}

impl Mailbox {
    fn of(listed: &MailboxListData<'_>) -> Self {
        let name = names::unescaped(&listed.name);
        let is_one_of = |words: &[&str]| {
            let matches = |attribute: &NameAttribute<'_>| match attribute {
                NameAttribute::Extension(word) => words.iter().any(|known| word.eq_ignore_ascii_case(known)),
                _ => false,
            };
            listed.name_attributes.iter().any(matches)
        };
        let has = |attribute: &NameAttribute<'_>| listed.name_attributes.contains(attribute);
        Self {
            path: names::decoded(&name),
            delimiter: listed.delimiter.as_deref().map(names::unescaped).and_then(|text| text.chars().next()),
            is_selectable: !has(&NameAttribute::NoSelect) && !is_one_of(&["\\NonExistent"]),
            is_view: has(&NameAttribute::All) || has(&NameAttribute::Flagged) || is_one_of(&["\\Important"]),
            name,
        }
    }

    /// True when its messages are read. A view is only where its name is asked for:
    /// it would bring everything twice.
    pub(super) fn is_selected(&self, config: &Config) -> bool {
        self.is_selectable && config.selects(&self.path) && (!self.is_view || !config.folders.is_empty())
    }
}

/// All mailboxes, ordered by path.
pub(super) async fn list(wire: &mut Wire) -> Result<Vec<Mailbox>, ConnectorError> {
    let mut listed = BTreeMap::new();
    let mut add = |said: &Response<'_>| {
        if let Response::MailboxData(MailboxDatum::List(found)) = said {
            let mut mailbox = Mailbox::of(found);
            if mailbox.name.len() > LONGEST_NAME {
                return Err(Failure::Protocol("the name of a mailbox is too long"));
            }
            // Two spellings of one name are two mailboxes.
            if listed.contains_key(&mailbox.path) {
                mailbox.path.clone_from(&mailbox.name);
            }
            listed.insert(mailbox.path.clone(), mailbox);
        }
        Ok(())
    };
    let lines = MOST_MAILBOXES as u64 + 100;
    let outcome = wire.run_within("LIST \"\" \"*\"", lines, SMALL_LITERAL, &mut add).await;
    outcome.map_err(Failure::into_error)?;
    Ok(listed.into_values().collect())
}

/// One level of the tree; none when nothing has that path.
pub(super) fn level(mailboxes: &[Mailbox], config: &Config, parent: Option<&str>) -> Option<Vec<SourceObject>> {
    let mut objects: BTreeMap<String, SourceObject> = BTreeMap::new();
    let mut is_known = parent.is_none();
    for mailbox in mailboxes {
        is_known |= parent == Some(mailbox.path.as_str());
        let Some((path, is_itself)) = step_below(mailbox, parent) else { continue };
        is_known = true;
        let object = objects.entry(path.to_owned()).or_insert_with(|| SourceObject {
            path: path.to_owned(),
            kind: ObjectKind::Folder,
            has_children: false,
            selected: false,
            estimated_items: None,
        });
        object.has_children |= !is_itself;
        object.selected |= is_itself && mailbox.is_selected(config);
    }
    is_known.then(|| objects.into_values().collect())
}

/// The path of the mailbox, or of its ancestor, that is directly below a parent; and
/// whether it is the mailbox itself.
fn step_below<'a>(mailbox: &'a Mailbox, parent: Option<&str>) -> Option<(&'a str, bool)> {
    let path = mailbox.path.as_str();
    let Some(delimiter) = mailbox.delimiter else { return parent.is_none().then_some((path, true)) };
    let begin = match parent {
        None => 0,
        Some(parent) => {
            let rest = path.strip_prefix(parent)?.strip_prefix(delimiter)?;
            path.len() - rest.len()
        }
    };
    let depth = path[..begin].matches(delimiter).count();
    let end = path[begin..].find(delimiter).filter(|_| depth < DEEPEST).map_or(path.len(), |end| begin + end);
    // Nothing has an empty name; a name that ends in its delimiter is itself.
    let end = if end == begin || end + delimiter.len_utf8() == path.len() { path.len() } else { end };
    (end > begin).then_some((&path[..end], end == path.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox(path: &str, is_selectable: bool) -> Mailbox {
        Mailbox { path: path.to_owned(), name: path.to_owned(), delimiter: Some('/'), is_selectable, is_view: false }
    }

    fn paths(mailboxes: &[Mailbox], parent: Option<&str>) -> Vec<(String, bool, bool)> {
        let objects = level(mailboxes, &Config::default(), parent).unwrap();
        objects.into_iter().map(|object| (object.path, object.has_children, object.selected)).collect()
    }

    #[test]
    fn the_tree_has_also_the_levels_that_are_no_mailboxes() {
        let mailboxes = [
            mailbox("Archive/2023/May", true),
            mailbox("Archive/2024", true),
            mailbox("INBOX", true),
            mailbox("Lists", false),
        ];
        let own = |path: &str, children, selected| (path.to_owned(), children, selected);
        assert_eq!(
            paths(&mailboxes, None),
            [own("Archive", true, false), own("INBOX", false, true), own("Lists", false, false)]
        );
        assert_eq!(
            paths(&mailboxes, Some("Archive")),
            [own("Archive/2023", true, false), own("Archive/2024", false, true)]
        );
        assert_eq!(paths(&mailboxes, Some("Archive/2023")), [own("Archive/2023/May", false, true)]);
        assert_eq!(paths(&mailboxes, Some("INBOX")), []);
        assert_eq!(level(&mailboxes, &Config::default(), Some("Arch")), None);
    }

    #[test]
    fn odd_names_end_the_tree() {
        let mailboxes = [mailbox("/", true), mailbox("a//b", true), mailbox("c/", true), mailbox("//", true)];
        let mut parents = vec![None];
        let mut seen = 0;
        while let Some(parent) = parents.pop() {
            for (path, has_children, _) in paths(&mailboxes, parent.as_deref()) {
                seen += 1;
                assert!(seen < 50, "the tree has an end");
                if has_children {
                    parents.push(Some(path));
                }
            }
        }
    }
}
