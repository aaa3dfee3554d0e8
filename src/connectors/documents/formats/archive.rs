//! Zip archives (which DOCX and XLSX are) under hard limits. What an archive says
//! of its own sizes is not believed: every byte that comes out is counted.

use std::io::{Cursor, Read};

use zip::ZipArchive;

use super::{encrypted, too_large, unparsable};
use crate::connectors::RecordError;

const MOST_ENTRIES: usize = 5_000;
const EXPANDED_BYTES: u64 = 256 * 1024 * 1024;
/// Expanded to packed, of an entry that is not small.
const LARGEST_RATIO: u64 = 200;
const SMALL_BYTES: u64 = 4 * 1024 * 1024;

pub(super) struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    left: u64,
}

impl<'a> Archive<'a> {
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, RecordError> {
        // Office programs put a protected document into a compound file.
        if bytes.starts_with(&[0xd0, 0xcf, 0x11, 0xe0]) {
            return Err(encrypted());
        }
        let zip = ZipArchive::new(Cursor::new(bytes)).map_err(|_| unparsable())?;
        if zip.len() > MOST_ENTRIES {
            return Err(too_large());
        }
        Ok(Self { zip, left: EXPANDED_BYTES })
    }

    /// The text of an entry; none when there is no such entry.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, RecordError> {
        let Some(index) = self.zip.index_for_name(name) else { return Ok(None) };
        let mut bytes = Vec::new();
        self.expand(index, &mut |chunk| bytes.extend_from_slice(chunk))?;
        String::from_utf8(bytes).map(Some).map_err(|_| unparsable())
    }

    /// Expands everything into nothing, to know that another reader may.
    pub(super) fn measure(&mut self) -> Result<(), RecordError> {
        (0..self.zip.len()).try_for_each(|index| self.expand(index, &mut |_| {}))
    }

    fn expand(&mut self, index: usize, take: &mut dyn FnMut(&[u8])) -> Result<(), RecordError> {
        let mut entry = self.zip.by_index(index).map_err(|error| match error {
            zip::result::ZipError::UnsupportedArchive(_) => encrypted(),
            _ => unparsable(),
        })?;
        let packed = entry.compressed_size().max(1);
        let most = self.left.min(SMALL_BYTES.max(packed.saturating_mul(LARGEST_RATIO)));
        let mut expanded: u64 = 0;
        let mut buffer = [0; 16 * 1024];
        loop {
            let length = entry.read(&mut buffer).map_err(|_| unparsable())?;
            if length == 0 {
                break;
            }
            expanded += length as u64;
            if expanded > most {
                return Err(too_large());
            }
            take(&buffer[..length]);
        }
        self.left -= expanded;
        Ok(())
    }
}
