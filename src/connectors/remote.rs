//! Files behind a listing: buckets, shares, folders of other machines. A store says
//! what is in a folder and opens a file; which files those are, what is new and what
//! is gone is the same for all of them, and is here.
//!
//! Each folder directly below the connection's own is an object, and the files that
//! lie in that itself are the object `.`, as in a folder of documents. Hidden files
//! (a name on the way begins with a dot) are left out. What a listing says of a file
//! is its fingerprint: its content is brought only when that has changed.

mod check;
mod content;
mod discover;
mod read;
mod stamp;
mod walk;
pub(in crate::connectors) mod web;
pub(in crate::connectors) mod xml;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::connectors::ConnectorError;
use crate::connectors::loading::LoadError;
pub(in crate::connectors) use check::check;
pub(in crate::connectors) use content::{content_size, document, load};
pub(in crate::connectors) use discover::discover;
pub(in crate::connectors) use read::read;
pub(in crate::connectors) use stamp::Stamp;

/// Something that a listing names, by its path within the connection: with `/`,
/// without one at either end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::connectors) enum Entry {
    /// What can be listed itself.
    Folder(String),
    /// What can be opened.
    File(String, Stamp),
}

/// Part of a listing.
#[derive(Debug, Default)]
pub(in crate::connectors) struct Page {
    pub(in crate::connectors) entries: Vec<Entry>,
    /// Where the next part begins, in the store's own words; none at the end.
    pub(in crate::connectors) next: Option<String>,
}

/// How much of a folder is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::connectors) enum Depth {
    /// What lies directly in it.
    Folder,
    /// All files below it.
    Below,
}

/// Why a listing has no end.
#[derive(Debug, thiserror::Error)]
pub(in crate::connectors) enum ListError {
    /// The folder is not there.
    #[error("the folder is not there")]
    NotFound,
    /// The folder may not be listed.
    #[error("the folder may not be listed")]
    Forbidden,
    /// The listing repeats itself, or names what cannot be in the folder.
    #[error("the listing contradicts itself")]
    Contradiction,
    /// More than anybody could mean.
    #[error("the listing has too many folders")]
    TooMany,
    /// The store fails as a whole.
    #[error(transparent)]
    Source(#[from] ConnectorError),
}

/// A file that was opened.
pub(in crate::connectors) struct Opened {
    /// Its bytes.
    pub(in crate::connectors) content: BoxStream<'static, Result<Bytes, LoadError>>,
    /// True when they are as many as the listing says; false where the store keeps
    /// them encoded.
    pub(in crate::connectors) is_as_listed: bool,
}

/// A place that has files.
#[async_trait]
pub(in crate::connectors) trait Store: Send + Sync + 'static {
    /// True when it lists [`Depth::Below`].
    fn lists_below(&self) -> bool {
        false
    }

    /// Part of what is in a folder, which is empty for the connection's own. Of that
    /// one an error is always [`ListError::Source`].
    async fn list(&self, folder: &str, depth: Depth, page: Option<&str>) -> Result<Page, ListError>;

    /// Opens a file, which fails as `gone` or `changed` where it is not what was
    /// listed. Its content ends with an error after `most` bytes.
    async fn open(&self, path: &str, stamp: &Stamp, most: u64) -> Result<Opened, LoadError>;
}

#[cfg(test)]
mod tests;
