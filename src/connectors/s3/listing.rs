//! The answer to a listing (`ListObjectsV2`).

use chrono::DateTime;

use crate::connectors::remote::xml::{self, Malformed, Step};
use crate::connectors::remote::{Entry, Page, Stamp};

/// Reads a listing. Keys are taken as they are within the prefix; a key that is a
/// folder's own marker is left out.
pub(super) fn page(answer: &[u8], prefix: &str) -> Result<Page, Malformed> {
    let mut listing = Listing { prefix, ..Listing::default() };
    xml::each(answer, &mut |step| listing.take(step))?;
    let Listing { entries, is_truncated, token, is_listing, .. } = listing;
    if !is_listing || (is_truncated && token.is_empty()) {
        return Err(Malformed);
    }
    Ok(Page { entries, next: is_truncated.then_some(token) })
}

#[derive(Default)]
struct Listing<'p> {
    prefix: &'p str,
    entries: Vec<Entry>,
    is_listing: bool,
    is_truncated: bool,
    token: String,
    /// The file that is being read of.
    file: Option<File>,
    is_folder: bool,
}

#[derive(Default)]
struct File {
    key: String,
    size: Option<u64>,
    modified_at: Option<i64>,
    etag: String,
}

impl Listing<'_> {
    fn take(&mut self, step: Step<'_>) {
        match (step, &mut self.file) {
            (Step::Begin("ListBucketResult"), _) => self.is_listing = true,
            (Step::Begin("Contents"), _) => self.file = Some(File::default()),
            (Step::Begin("CommonPrefixes"), _) => self.is_folder = true,
            (Step::End("Contents", _), _) => self.end_file(),
            (Step::End("CommonPrefixes", _), _) => self.is_folder = false,
            (Step::End("Key", text), Some(file)) => file.key = text.to_owned(),
            (Step::End("Size", text), Some(file)) => file.size = text.trim().parse().ok(),
            (Step::End("ETag", text), Some(file)) => file.etag = text.trim().to_owned(),
            (Step::End("LastModified", text), Some(file)) => {
                file.modified_at = DateTime::parse_from_rfc3339(text.trim()).ok().map(|time| time.timestamp_micros());
            }
            (Step::End("Prefix", text), None) if self.is_folder => self.end_folder(text),
            (Step::End("IsTruncated", text), None) => self.is_truncated = text.trim() == "true",
            (Step::End("NextContinuationToken", text), None) => self.token = text.to_owned(),
            (Step::Begin(_) | Step::End(..), _) => {}
        }
    }

    fn end_file(&mut self) {
        let Some(File { key, size: Some(size), modified_at, etag }) = self.file.take() else { return };
        // What is not below the prefix was not asked for; whoever walks says so.
        let path = key.strip_prefix(self.prefix).unwrap_or(&key);
        if !path.is_empty() && !path.ends_with('/') {
            self.entries.push(Entry::File(path.to_owned(), Stamp { size, modified_at, version: etag }));
        }
    }

    fn end_folder(&mut self, prefix: &str) {
        let path = prefix.strip_prefix(self.prefix).unwrap_or(prefix).trim_end_matches('/');
        // Keys with an empty name in their path cannot be shown as a tree.
        if !path.is_empty() && !path.ends_with('/') {
            self.entries.push(Entry::Folder(path.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests;
