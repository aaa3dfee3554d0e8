//! The bytes of a pack from beginning to end, hashed on the way.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};

use flate2::{Decompress, FlushDecompress, Status};
use gix_hash::ObjectId;
use gix_hash::{Hasher, Kind, hasher};

use super::PackError;

const CHUNK: usize = 64 * 1024;
const ENDS_EARLY: PackError = PackError::Corrupt("it ends early");

/// A pack that is being scanned.
pub(super) struct Input {
    file: BufReader<File>,
    pub(super) position: u64,
    hasher: Hasher,
    inflated: Vec<u8>,
}

impl Input {
    pub(super) fn new(file: &File) -> Result<Self, PackError> {
        let mut file = file.try_clone()?;
        file.seek(SeekFrom::Start(0))?;
        let file = BufReader::with_capacity(CHUNK, file);
        Ok(Self { file, position: 0, hasher: hasher(Kind::Sha1), inflated: vec![0; CHUNK] })
    }

    fn consume(&mut self, length: usize) {
        self.hasher.update(&self.file.buffer()[..length]);
        self.file.consume(length);
        self.position += length as u64;
    }

    pub(super) fn byte(&mut self) -> Result<u8, PackError> {
        let byte = *self.file.fill_buf()?.first().ok_or(ENDS_EARLY)?;
        self.consume(1);
        Ok(byte)
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> Result<[u8; N], PackError> {
        let mut bytes = [0; N];
        for byte in &mut bytes {
            *byte = self.byte()?;
        }
        Ok(bytes)
    }

    /// Inflates what is next and gives it away piece by piece; answers its length,
    /// which is at most the limit.
    pub(super) fn inflate(
        &mut self,
        limit: u64,
        mut each: impl FnMut(&[u8]) -> Result<(), PackError>,
    ) -> Result<u64, PackError> {
        let mut inflater = Decompress::new(true);
        loop {
            let input = self.file.fill_buf()?;
            let is_over = input.is_empty();
            let (before_in, before_out) = (inflater.total_in(), inflater.total_out());
            let status = inflater.decompress(input, &mut self.inflated, FlushDecompress::None);
            let status = status.map_err(|_| PackError::Corrupt("deflated data"))?;
            let taken = (inflater.total_in() - before_in) as usize;
            let made = (inflater.total_out() - before_out) as usize;
            self.consume(taken);
            if inflater.total_out() > limit {
                return Err(PackError::Corrupt("an object is longer than it says"));
            }
            each(&self.inflated[..made])?;
            match status {
                Status::StreamEnd => return Ok(inflater.total_out()),
                Status::Ok | Status::BufError if is_over && made == 0 => return Err(ENDS_EARLY),
                Status::Ok | Status::BufError => {}
            }
        }
    }

    /// The end: the hash of all before, and nothing after.
    pub(super) fn finish(mut self) -> Result<(), PackError> {
        let hash = std::mem::replace(&mut self.hasher, hasher(Kind::Sha1));
        let hash = hash.try_finalize().map_err(|_| PackError::Corrupt("a hash that was made to collide"))?;
        if ObjectId::Sha1(self.bytes()?) != hash {
            return Err(PackError::Corrupt("its hash is another"));
        }
        if self.file.fill_buf()?.is_empty() { Ok(()) } else { Err(PackError::Corrupt("it has more than it says")) }
    }
}
