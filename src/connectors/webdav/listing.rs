//! The answer to a question for what is in a folder (`PROPFIND` with depth 1).

use crate::connectors::remote::xml::{self, Malformed, Step};
use crate::connectors::remote::{Entry, Page, Stamp};
use crate::egress::http::{Address, http_date};

/// What is asked for.
pub(super) const QUESTION: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
    <propfind xmlns=\"DAV:\"><prop><resourcetype/><getcontentlength/><getlastmodified/><getetag/></prop></propfind>";

/// Reads what is in a folder, which itself is named too. Paths are within `root`.
pub(super) fn page(answer: &[u8], root: &Address, folder: &Address) -> Result<Page, Malformed> {
    let mut listing = Listing::default();
    xml::each(answer, &mut |step| listing.take(step))?;
    if !listing.is_listing {
        return Err(Malformed);
    }
    let mut page = Page::default();
    for found in listing.found {
        let address = folder.join(&found.href).filter(|address| address.origin() == root.origin()).ok_or(Malformed)?;
        let bare = |address: &Address| decoded(address.path().trim_end_matches('/'));
        if bare(&address) == bare(folder) {
            continue;
        }
        let path = bare(&address).strip_prefix(&decoded(root.path())).ok_or(Malformed)?.to_owned();
        // Whatever it is of which nothing is told: as a folder it is asked for itself.
        page.entries.push(if found.is_folder || !found.is_told {
            Entry::Folder(path)
        } else {
            let Found { size, modified_at, etag, .. } = found;
            Entry::File(path, Stamp { size, modified_at, version: etag })
        });
    }
    Ok(page)
}

#[derive(Default)]
struct Listing {
    found: Vec<Found>,
    is_listing: bool,
    current: Option<Found>,
    /// What a `propstat` says before it says whether that is so.
    told: Found,
    is_told_well: bool,
}

#[derive(Default)]
struct Found {
    href: String,
    is_told: bool,
    is_folder: bool,
    size: u64,
    modified_at: Option<i64>,
    etag: String,
}

impl Listing {
    fn take(&mut self, step: Step<'_>) {
        let Some(current) = &mut self.current else {
            match step {
                Step::Begin("multistatus") => self.is_listing = true,
                Step::Begin("response") => self.current = Some(Found::default()),
                Step::Begin(_) | Step::End(..) => {}
            }
            return;
        };
        match step {
            Step::End("href", text) if current.href.is_empty() => current.href = text.trim().to_owned(),
            Step::Begin("propstat") => (self.told, self.is_told_well) = (Found::default(), true),
            Step::End("status", text) => self.is_told_well = text.split_whitespace().nth(1) == Some("200"),
            Step::Begin("collection") => self.told.is_folder = true,
            Step::End("getcontentlength", text) => self.told.size = text.trim().parse().unwrap_or_default(),
            Step::End("getlastmodified", text) => {
                self.told.modified_at = http_date(text).map(|time| time.timestamp_micros());
            }
            // An ETag becomes strong when its file has rested for a second.
            Step::End("getetag", text) => self.told.etag = text.trim().trim_start_matches("W/").to_owned(),
            Step::End("propstat", _) if self.is_told_well => {
                let Found { href: _, is_told: _, is_folder, size, modified_at, etag } = std::mem::take(&mut self.told);
                current.is_told = true;
                current.is_folder |= is_folder;
                current.size = current.size.max(size);
                current.modified_at = current.modified_at.or(modified_at);
                if current.etag.is_empty() {
                    current.etag = etag;
                }
            }
            Step::End("response", _) => self.found.extend(self.current.take()),
            Step::Begin(_) | Step::End(..) => {}
        }
    }
}

/// A path with its escapes resolved.
fn decoded(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let escape = after.get(..2).filter(|_| *byte == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(escaped) => {
                bytes.push(escaped);
                rest = &after[2..];
            }
            None => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests;
