//! Zip archives, which many documents are, under hard limits.

use std::io::{self, Cursor, Read};

use zip::ZipArchive;
use zip::result::ZipError;

use super::budget::{Budget, read_whole, refusal};
use super::{encrypted, plain, too_large, unparsable};
use crate::connectors::RecordError;

const MOST_ENTRIES: usize = 50_000;
/// Entries of a document; an archive may have more, of which the first are read.
const MOST_PARTS: usize = 5_000;
/// What one part of a document may be.
const PART_BYTES: u64 = 64 * 1024 * 1024;

/// An archive that is open.
pub(super) struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    budget: &'a Budget,
}

impl<'a> Archive<'a> {
    pub(super) fn open(bytes: &'a [u8], budget: &'a Budget) -> Result<Self, RecordError> {
        let zip = ZipArchive::new(Cursor::new(bytes)).map_err(|_| unparsable())?;
        if zip.len() > MOST_ENTRIES {
            return Err(too_large());
        }
        Ok(Self { zip, budget })
    }

    /// Makes sure that it has no more parts than a document may have.
    pub(super) fn into_document(self) -> Result<Self, RecordError> {
        if self.zip.len() > MOST_PARTS { Err(too_large()) } else { Ok(self) }
    }

    pub(super) fn len(&self) -> usize {
        self.zip.len()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.zip.index_for_name(name).is_some()
    }

    /// The name of an entry; what is no text in it is replaced.
    pub(super) fn name(&self, index: usize) -> String {
        self.zip.name_for_index(index).and_then(Result::ok).map(|name| name.into_owned()).unwrap_or_default()
    }

    /// Names of the parts that begin and end so, in the order of their numbers.
    pub(super) fn names_like(&self, begin: &str, end: &str) -> Vec<String> {
        let like =
            |name: &String| name.starts_with(begin) && name.ends_with(end) && name.len() >= begin.len() + end.len();
        let mut names: Vec<_> = (0..self.zip.len()).map(|index| self.name(index)).filter(like).collect();
        names.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        names
    }

    /// The text of a part; none when there is no such part.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, RecordError> {
        let Some(index) = self.zip.index_for_name(name) else { return Ok(None) };
        let bytes = self.bytes(index, PART_BYTES)?;
        plain::marked_up(&bytes).map(Some).ok_or_else(unparsable)
    }

    /// What an entry holds.
    pub(super) fn bytes(&mut self, index: usize, most: u64) -> Result<Vec<u8>, RecordError> {
        read_whole(self.expanding(index)?, most)
    }

    /// Expands everything into nothing, to know that another reader may.
    pub(super) fn measure(&mut self) -> Result<(), RecordError> {
        for index in 0..self.zip.len() {
            io::copy(&mut self.expanding(index)?, &mut io::sink()).map_err(|error| refusal(&error))?;
        }
        Ok(())
    }

    fn expanding(&mut self, index: usize) -> Result<impl Read, RecordError> {
        let entry = self.zip.by_index(index).map_err(|error| match error {
            ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) | ZipError::InvalidPassword => encrypted(),
            _ => unparsable(),
        })?;
        let packed = entry.compressed_size();
        Ok(self.budget.counted(entry, packed))
    }
}
