//! Compound files: what Office wrote before 2007, and what it puts a protected
//! document into. Their chains of sectors may be made to lead in circles, so they
//! are followed here before another reader does.

use super::{Content, encrypted, kinds, unparsable, xls};
use crate::connectors::RecordError;

const MAGIC: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";
/// A sector number from here on is none.
const NO_SECTOR: u32 = 0xffff_fffa;
const MINI_SECTOR: usize = 64;
/// Streams smaller than this lie in the stream of small sectors.
const MINI_CUTOFF: usize = 4096;

pub(super) fn content(extension: &str, bytes: &[u8]) -> Result<Content, RecordError> {
    // A document that would be a zip archive is one only with its password.
    let is_package = kinds::is_package(extension);
    let otherwise = || if is_package { encrypted() } else { unparsable() };
    let file = Compound::open(bytes).ok_or_else(otherwise)?;
    if file.entry("EncryptedPackage").is_some() {
        return Err(encrypted());
    }
    if let Some(workbook) = file.stream("Workbook").or_else(|| file.stream("Book")) {
        return xls::content(bytes, &workbook);
    }
    if is_package {
        return Err(encrypted());
    }
    // Other programs' files; of the old Word and PowerPoint the text is not taken.
    let media_type = if file.entry("WordDocument").is_some() {
        "application/msword"
    } else if file.entry("PowerPoint Document").is_some() {
        "application/vnd.ms-powerpoint"
    } else {
        "application/x-ole-storage"
    };
    Ok(Content { media_type: media_type.into(), ..Content::name_only() })
}

struct Entry {
    name: String,
    start: u32,
    length: usize,
}

struct Compound<'a> {
    bytes: &'a [u8],
    sector: usize,
    next: Vec<u32>,
    mini_next: Vec<u32>,
    mini: Vec<u8>,
    entries: Vec<Entry>,
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*bytes))
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.chunks_exact(4).filter_map(|bytes| number(bytes, 0))
}

impl<'a> Compound<'a> {
    fn open(bytes: &'a [u8]) -> Option<Self> {
        if !bytes.starts_with(MAGIC) {
            return None;
        }
        let sector = match bytes.get(30)? {
            9 => 512,
            12 => 4096,
            _ => return None,
        };
        let mut file =
            Self { bytes, sector, next: Vec::new(), mini_next: Vec::new(), mini: Vec::new(), entries: Vec::new() };
        for table in file.tables()? {
            let sector = file.sector(table)?;
            file.next.extend(numbers(sector));
        }
        let directory = file.chain(number(bytes, 48)?, usize::MAX)?;
        file.entries = directory.chunks_exact(128).filter_map(|entry| file.read_entry(entry)).collect();
        let root = file.entries.first()?;
        if number(bytes, 64)? > 0 {
            file.mini = file.chain(root.start, root.length)?;
            let mini_next = file.chain(number(bytes, 60)?, usize::MAX)?;
            file.mini_next = numbers(&mini_next).collect();
        }
        Some(file)
    }

    /// The sectors with the table of what follows what.
    fn tables(&self) -> Option<Vec<u32>> {
        let mut tables: Vec<u32> = numbers(self.bytes.get(76..512)?).collect();
        let mut at = number(self.bytes, 68)?;
        let most = self.bytes.len() / self.sector;
        for _ in 0..=most {
            if at >= NO_SECTOR {
                tables.retain(|table| *table < NO_SECTOR);
                return (tables.len() <= most).then_some(tables);
            }
            let (last, more) = self.sector(at)?.split_last_chunk::<4>().map(|(more, last)| (last, more))?;
            tables.extend(numbers(more));
            at = u32::from_le_bytes(*last);
        }
        None
    }

    /// The last one may be short.
    fn sector(&self, index: u32) -> Option<&'a [u8]> {
        let begin = (index as usize).checked_add(1)?.checked_mul(self.sector)?;
        let end = begin.saturating_add(self.sector).min(self.bytes.len());
        self.bytes.get(begin..end).filter(|sector| !sector.is_empty())
    }

    /// Sectors that follow each other; none where they never end.
    fn chain(&self, start: u32, length: usize) -> Option<Vec<u8>> {
        let mut chain = Vec::new();
        let mut at = start;
        while at < NO_SECTOR && chain.len() < length {
            chain.extend_from_slice(self.sector(at)?);
            // More than there is was read twice.
            if chain.len() > self.bytes.len() {
                return None;
            }
            at = *self.next.get(at as usize)?;
        }
        chain.truncate(length);
        Some(chain)
    }

    fn mini_chain(&self, start: u32, length: usize) -> Option<Vec<u8>> {
        let mut chain = Vec::new();
        let mut at = start;
        while at < NO_SECTOR && chain.len() < length {
            let begin = (at as usize).checked_mul(MINI_SECTOR)?;
            chain.extend_from_slice(self.mini.get(begin..begin + MINI_SECTOR)?);
            if chain.len() > self.mini.len() {
                return None;
            }
            at = *self.mini_next.get(at as usize)?;
        }
        chain.truncate(length);
        Some(chain)
    }

    fn read_entry(&self, entry: &[u8]) -> Option<Entry> {
        let units = entry[..64].chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
        let name: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
        // The upper half of a length is noise in small sectors.
        let upper = if self.sector == 512 { 0 } else { u64::from(number(entry, 124)?) << 32 };
        let length = usize::try_from(u64::from(number(entry, 120)?) | upper).ok()?;
        Some(Entry { name: String::from_utf16_lossy(&name), start: number(entry, 116)?, length })
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name.eq_ignore_ascii_case(name))
    }

    fn stream(&self, name: &str) -> Option<Vec<u8>> {
        let entry = self.entry(name)?;
        if entry.length < MINI_CUTOFF {
            self.mini_chain(entry.start, entry.length)
        } else {
            self.chain(entry.start, entry.length)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One table, a directory with two entries, and their stream.
    fn file(follows: [u32; 4]) -> Vec<u8> {
        let mut file = vec![0; 512 * 4 + 4096];
        file[..8].copy_from_slice(MAGIC);
        file[30] = 9;
        file[48..52].copy_from_slice(&1_u32.to_le_bytes());
        file[68..72].copy_from_slice(&u32::MAX.to_le_bytes());
        file[76..512].fill(0xff);
        file[76..80].copy_from_slice(&0_u32.to_le_bytes());
        file[512..1024].fill(0xff);
        for (index, next) in follows.into_iter().enumerate() {
            file[512 + index * 4..516 + index * 4].copy_from_slice(&next.to_le_bytes());
        }
        for (index, name) in ["Root Entry", "Data"].into_iter().enumerate() {
            let entry = &mut file[1024 + index * 128..1152 + index * 128];
            for (place, unit) in name.encode_utf16().enumerate() {
                entry[place * 2..place * 2 + 2].copy_from_slice(&unit.to_le_bytes());
            }
            entry[116] = 2;
            entry[120..124].copy_from_slice(&5000_u32.to_le_bytes());
        }
        file
    }

    #[test]
    fn chains_are_followed_to_their_end_and_circles_are_seen() {
        let bytes = file([0xffff_fffd, 0xffff_fffe, 3, 0xffff_fffe]);
        assert_eq!(Compound::open(&bytes).unwrap().stream("DATA").unwrap().len(), 1024);
        assert_eq!(content("doc", &bytes).unwrap().media_type, "application/x-ole-storage");
        assert!(Compound::open(&file([0xffff_fffd, 1, 0, 0])).is_none(), "the directory in a circle");
        assert!(Compound::open(&bytes[..1000]).is_none());
        let bytes = file([0xffff_fffd, 0xffff_fffe, 2, 0]);
        assert!(Compound::open(&bytes).unwrap().stream("Data").is_some(), "its length ends it");
    }
}
