//! Takes gzip and deflate off an answer, a piece at a time: a bomb gives a little,
//! is counted by whoever takes it, and goes no further.

use std::io::Write as _;

use ::http::{HeaderMap, header};
use bytes::{Buf as _, Bytes};
use flate2::write::{DeflateDecoder, GzDecoder, ZlibDecoder};

use super::HttpError;

/// About as much as is decoded at once.
const PIECE: usize = 32 * 1024;

/// Encoded bytes go in, decoded ones come out.
pub(super) struct Decoder {
    coding: Coding,
    waiting: Bytes,
}

enum Coding {
    Identity,
    Gzip(Box<GzDecoder<Vec<u8>>>),
    /// `deflate`, before its first byte has told which of two things is meant.
    Undecided,
    Zlib(Box<ZlibDecoder<Vec<u8>>>),
    Raw(Box<DeflateDecoder<Vec<u8>>>),
}

impl Decoder {
    /// What the headers say; an encoding that nobody asked for is an error.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, HttpError> {
        let mut coding = Coding::Identity;
        for value in headers.get_all(header::CONTENT_ENCODING) {
            for name in value.to_str().map_err(|_| HttpError::Encoding)?.split(',') {
                let name = name.trim();
                if name.is_empty() || name.eq_ignore_ascii_case("identity") {
                    continue;
                }
                // One encoding within another is how bombs are multiplied.
                if !matches!(coding, Coding::Identity) {
                    return Err(HttpError::Encoding);
                }
                coding = match name.to_ascii_lowercase().as_str() {
                    "gzip" | "x-gzip" => Coding::Gzip(Box::new(GzDecoder::new(Vec::new()))),
                    "deflate" => Coding::Undecided,
                    _ => return Err(HttpError::Encoding),
                };
            }
        }
        Ok(Self { coding, waiting: Bytes::new() })
    }

    /// Takes what came; all before it must have been pulled.
    pub(super) fn push(&mut self, encoded: Bytes) {
        if let (Coding::Undecided, Some(first)) = (&self.coding, encoded.first()) {
            // A zlib header begins so; raw deflate, which some servers send, never.
            self.coding = if first & 0x8f == 0x08 {
                Coding::Zlib(Box::new(ZlibDecoder::new(Vec::new())))
            } else {
                Coding::Raw(Box::new(DeflateDecoder::new(Vec::new())))
            };
        }
        self.waiting = encoded;
    }

    /// The next piece; none when more must come first.
    pub(super) fn pull(&mut self) -> Result<Option<Bytes>, HttpError> {
        if matches!(self.coding, Coding::Identity | Coding::Undecided) {
            let piece = std::mem::take(&mut self.waiting);
            return Ok((!piece.is_empty()).then_some(piece));
        }
        while !self.waiting.is_empty() && self.decoded().len() < PIECE {
            let taken = match &mut self.coding {
                Coding::Gzip(decoder) => decoder.write(&self.waiting),
                Coding::Zlib(decoder) => decoder.write(&self.waiting),
                Coding::Raw(decoder) => decoder.write(&self.waiting),
                Coding::Identity | Coding::Undecided => Ok(0),
            };
            match taken.map_err(|_| HttpError::Encoding)? {
                // What follows the end is of no use.
                0 => self.waiting.clear(),
                taken => self.waiting.advance(taken),
            }
        }
        Ok(self.take())
    }

    /// The last piece; an error where something is missing.
    pub(super) fn finish(&mut self) -> Result<Option<Bytes>, HttpError> {
        let finished = match &mut self.coding {
            // An answer without a body has no end of it either.
            Coding::Gzip(decoder) if decoder.header().is_some() || !decoder.get_ref().is_empty() => {
                decoder.try_finish()
            }
            Coding::Zlib(decoder) => decoder.try_finish(),
            Coding::Raw(decoder) => decoder.try_finish(),
            Coding::Gzip(_) | Coding::Identity | Coding::Undecided => Ok(()),
        };
        finished.map_err(|_| HttpError::Encoding)?;
        Ok(self.take())
    }

    fn decoded(&mut self) -> &mut Vec<u8> {
        match &mut self.coding {
            Coding::Gzip(decoder) => decoder.get_mut(),
            Coding::Zlib(decoder) => decoder.get_mut(),
            Coding::Raw(decoder) => decoder.get_mut(),
            Coding::Identity | Coding::Undecided => unreachable!("they decode nothing"),
        }
    }

    fn take(&mut self) -> Option<Bytes> {
        if matches!(self.coding, Coding::Identity | Coding::Undecided) {
            return None;
        }
        let piece = std::mem::take(self.decoded());
        (!piece.is_empty()).then(|| piece.into())
    }
}
