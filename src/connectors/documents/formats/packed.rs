//! Archives and compressed files. An archive is one document: the name of each
//! member and the text that it has. Names are words and never places: nothing is
//! written anywhere.

use std::io::Read;

use flate2::read::MultiGzDecoder;

use super::archive::Archive;
use super::budget::{Budget, Counted, read_whole, refusal};
use super::{Content, TEXT_BYTES, encrypted, kinds, unparsable};
use crate::connectors::RecordError;

/// Archives within archives.
const DEEPEST: usize = 2;
/// What one member may be.
const MEMBER_BYTES: u64 = 50 * 1024 * 1024;
const NAME_CHARACTERS: usize = 500;

/// The members of a zip archive.
pub(super) fn zip(mut archive: Archive<'_>, budget: &Budget) -> Result<Content, RecordError> {
    let mut listing = Listing::of(budget);
    for index in 0..archive.len() {
        let name = archive.name(index);
        if name.ends_with('/') {
            continue;
        }
        if !listing.has_room() {
            break;
        }
        let bytes = archive.bytes(index, MEMBER_BYTES);
        listing.member(&name, bytes);
    }
    listing.into_content("application/zip")
}

/// The members of a tape archive.
pub(super) fn tar(reader: impl Read, budget: &Budget) -> Result<Content, RecordError> {
    let mut archive = ::tar::Archive::new(reader);
    let mut listing = Listing::of(budget);
    let entries = archive.entries().map_err(|error| refusal(&error))?;
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                listing.broken(refusal(&error));
                break;
            }
        };
        // Links lead anywhere, and devices are none of ours.
        if !entry.header().entry_type().is_file() {
            continue;
        }
        if !listing.has_room() {
            break;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let bytes = read_whole(entry, MEMBER_BYTES);
        listing.member(&name, bytes);
    }
    listing.into_content("application/x-tar")
}

/// What gzip made smaller.
pub(super) fn gzip(path: &str, bytes: &[u8], budget: &Budget) -> Result<Content, RecordError> {
    let expanding = budget.counted(MultiGzDecoder::new(bytes), bytes.len() as u64);
    compressed("application/gzip", path, expanding, budget)
}

/// What Zstandard made smaller.
pub(super) fn zstandard(path: &str, bytes: &[u8], budget: &Budget) -> Result<Content, RecordError> {
    let decoder = zstd::Decoder::with_buffer(bytes).map_err(|_| unparsable())?;
    compressed("application/zstd", path, budget.counted(decoder, bytes.len() as u64), budget)
}

/// A file in one piece, which is most often an archive or a text.
fn compressed(
    media_type: &'static str,
    path: &str,
    mut expanding: Counted<'_, impl Read>,
    budget: &Budget,
) -> Result<Content, RecordError> {
    let mut head = Vec::new();
    expanding.by_ref().take(kinds::TAR_HEAD).read_to_end(&mut head).map_err(|error| refusal(&error))?;
    let is_tar = kinds::is_tar(&head);
    let whole = head.as_slice().chain(expanding);
    let content = if is_tar {
        tar(whole, budget)?
    } else {
        let work = || super::within(inner_name(path), &read_whole(whole, MEMBER_BYTES)?, budget);
        budget.deeper(DEEPEST, work).unwrap_or_else(|| Ok(Content::name_only()))?
    };
    Ok(Content { media_type: media_type.into(), ..content })
}

/// The name without the ending of the compression.
fn inner_name(path: &str) -> &str {
    path.rsplit_once('.').map_or(path, |(name, _)| name)
}

/// The text of an archive while it grows.
struct Listing<'a> {
    budget: &'a Budget,
    body: String,
    taken: usize,
    failure: Option<RecordError>,
    truncated: bool,
}

impl<'a> Listing<'a> {
    fn of(budget: &'a Budget) -> Self {
        Self { budget, body: String::new(), taken: 0, failure: None, truncated: false }
    }

    /// False when there were too many members, or there is text enough.
    fn has_room(&mut self) -> bool {
        if self.body.len() <= TEXT_BYTES && self.budget.member() {
            return true;
        }
        self.truncated = true;
        false
    }

    fn member(&mut self, name: &str, bytes: Result<Vec<u8>, RecordError>) {
        let shown: String = name.chars().filter(|character| !character.is_control()).take(NAME_CHARACTERS).collect();
        let content = bytes.and_then(|bytes| {
            let work = || super::within(&shown, &bytes, self.budget);
            self.budget.deeper(DEEPEST, work).unwrap_or_else(|| Ok(Content::name_only()))
        });
        self.body.push_str(&shown);
        match content {
            Ok(content) => {
                self.taken += 1;
                self.truncated |= content.truncated;
                self.body.push('\n');
                let title = content.title.filter(|title| !content.body.contains(title.as_str()));
                for text in title.iter().chain([&content.body]) {
                    if !text.trim().is_empty() {
                        self.body.push_str(text.trim_end());
                        self.body.push('\n');
                    }
                }
                self.body.push('\n');
            }
            Err(error) => {
                self.body.push_str(&format!(" ({})\n\n", error.code));
                self.broken(error);
            }
        }
    }

    /// Something could not be read.
    fn broken(&mut self, error: RecordError) {
        // That there is a password says more than what else is wrong.
        if self.failure.is_none() || error.code == encrypted().code {
            self.failure = Some(error);
        }
    }

    /// An archive of which nothing can be read is refused.
    fn into_content(self, media_type: &'static str) -> Result<Content, RecordError> {
        if let Some(failure) = self.failure
            && self.taken == 0
        {
            return Err(failure);
        }
        let mut content = Content::text(media_type, None, self.body);
        content.truncated |= self.truncated;
        Ok(content)
    }
}
