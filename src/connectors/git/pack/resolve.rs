//! The one scan over a pack, and the names of its objects.

use std::fs::File;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use gix_hash::ObjectId;
use gix_hash::{Kind as HashKind, hasher};
use gix_object::{Kind, compute_hash};

use super::cache::Cache;
use super::input::Input;
use super::{Entry, Limits, MOST_OBJECTS, NONE, Pack, PackError, delta, go_on, spend};

/// Passes over deltas whose base is told by name and was not known yet.
const MOST_ROUNDS: usize = 64;
/// Bytes of a delta that tell how long its result is.
const DELTA_HEAD: usize = 20;

/// A delta that has no name yet.
struct Pending {
    index: u32,
    /// Where its base is told by name.
    base: Option<ObjectId>,
}

pub(super) fn index(file: File, limits: Limits, stop: &AtomicBool) -> Result<Pack, PackError> {
    let mut work = limits.work;
    let mut scan = Scan { entries: Vec::new(), offsets: Vec::new(), names: Vec::new(), pending: Vec::new() };
    let too_large = scan.read(Input::new(&file)?, limits, &mut work, stop)?;
    let Scan { entries, names, pending, offsets: _ } = scan;
    let mut pack =
        Pack { file, entries, names, limits, cache: Mutex::new(Cache::default()), has_nameless: !too_large.is_empty() };
    pack.names.sort_unstable();
    name_deltas(&mut pack, pending, too_large, &mut work, stop)?;
    pack.names.sort_unstable();
    Ok(pack)
}

struct Scan {
    entries: Vec<Entry>,
    /// Where each entry begins.
    offsets: Vec<u64>,
    names: Vec<(ObjectId, u32)>,
    pending: Vec<Pending>,
}

impl Scan {
    /// Reads every entry; answers the deltas that make something too large.
    fn read(
        &mut self,
        mut input: Input,
        limits: Limits,
        work: &mut u64,
        stop: &AtomicBool,
    ) -> Result<Vec<u32>, PackError> {
        if input.bytes::<4>()? != *b"PACK" || u32::from_be_bytes(input.bytes()?) != 2 {
            return Err(PackError::Corrupt("it does not begin as a pack"));
        }
        let count = u32::from_be_bytes(input.bytes()?);
        if count > MOST_OBJECTS {
            return Err(PackError::TooLarge("objects"));
        }
        let mut too_large = Vec::new();
        for index in 0..count {
            go_on(stop)?;
            if self.entry(index, &mut input, limits, work, stop)? {
                too_large.push(index);
            }
        }
        input.finish()?;
        Ok(too_large)
    }

    /// One entry; true when it makes something too large.
    fn entry(
        &mut self,
        index: u32,
        input: &mut Input,
        limits: Limits,
        work: &mut u64,
        stop: &AtomicBool,
    ) -> Result<bool, PackError> {
        let begin = input.position;
        let (code, size) = header(input)?;
        let (mut kind, mut base, mut base_name) = (None, NONE, None);
        match code {
            1 => kind = Some(Kind::Commit),
            2 => kind = Some(Kind::Tree),
            3 => kind = Some(Kind::Blob),
            4 => kind = Some(Kind::Tag),
            6 => base = self.base_at(begin, distance(input)?)?,
            7 => base_name = Some(ObjectId::Sha1(input.bytes()?)),
            _ => return Err(PackError::Corrupt("an object of an unknown kind")),
        }
        spend(work, size)?;
        let entry = Entry { body: input.position, size, base, kind };
        let mut hasher = hasher(HashKind::Sha1);
        if let Some(kind) = kind {
            hasher.update(&gix_object::encode::loose_header(kind, size));
        }
        let mut head = Vec::new();
        let inflated = input.inflate(size, |piece| {
            go_on(stop)?;
            if kind.is_some() {
                hasher.update(piece);
            } else {
                head.extend_from_slice(&piece[..piece.len().min(DELTA_HEAD.saturating_sub(head.len()))]);
            }
            Ok(())
        })?;
        if inflated != size {
            return Err(PackError::Corrupt("an object is shorter than it says"));
        }
        self.offsets.push(begin);
        self.entries.push(entry);
        if kind.is_some() {
            let name = hasher.try_finalize().map_err(|_| PackError::Corrupt("a hash that was made to collide"))?;
            self.names.push((name, index));
            return Ok(false);
        }
        let makes = delta::result_size(&head).ok_or(PackError::Corrupt("a delta ends early"))?;
        if size > limits.object || makes > limits.object {
            return Ok(true);
        }
        self.pending.push(Pending { index, base: base_name });
        Ok(false)
    }

    fn base_at(&self, begin: u64, distance: u64) -> Result<u32, PackError> {
        let offset = begin.checked_sub(distance).ok_or(PackError::Corrupt("a delta without a base"))?;
        let place = self.offsets.binary_search(&offset).map_err(|_| PackError::Corrupt("a delta without a base"))?;
        u32::try_from(place).map_err(|_| PackError::TooLarge("objects"))
    }
}

/// Kind and size of an entry.
fn header(input: &mut Input) -> Result<(u8, u64), PackError> {
    let first = input.byte()?;
    let kind = (first >> 4) & 0x07;
    let mut size = u64::from(first & 0x0f);
    let (mut byte, mut shift) = (first, 4);
    while byte & 0x80 != 0 {
        if shift > 56 {
            return Err(PackError::Corrupt("a number without an end"));
        }
        byte = input.byte()?;
        size |= u64::from(byte & 0x7f) << shift;
        shift += 7;
    }
    Ok((kind, size))
}

/// How far before its delta a base begins.
fn distance(input: &mut Input) -> Result<u64, PackError> {
    let mut byte = input.byte()?;
    let mut distance = u64::from(byte & 0x7f);
    while byte & 0x80 != 0 {
        byte = input.byte()?;
        distance = distance
            .checked_add(1)
            .filter(|distance| *distance < 1 << 56)
            .map(|distance| (distance << 7) | u64::from(byte & 0x7f))
            .ok_or(PackError::Corrupt("a number without an end"))?;
    }
    Ok(distance)
}

/// Names the deltas. One whose base has no name yet waits for the next round.
fn name_deltas(
    pack: &mut Pack,
    mut pending: Vec<Pending>,
    too_large: Vec<u32>,
    work: &mut u64,
    stop: &AtomicBool,
) -> Result<(), PackError> {
    // Whether an entry, or what it is against, was too large.
    let mut nameless = vec![false; pack.entries.len()];
    for index in too_large {
        nameless[index as usize] = true;
    }
    for _ in 0..MOST_ROUNDS {
        let before = pending.len();
        let mut named = Vec::new();
        let mut later = Vec::new();
        for Pending { index, base } in pending {
            go_on(stop)?;
            if let Some(name) = base {
                match pack.find(&name) {
                    Some(found) => pack.entries[index as usize].base = found,
                    None => {
                        later.push(Pending { index, base });
                        continue;
                    }
                }
            }
            let base_index = pack.entries[index as usize].base as usize;
            if nameless[base_index] {
                nameless[index as usize] = true;
                pack.has_nameless = true;
                continue;
            }
            if pack.entries[base_index].kind.is_none() {
                later.push(Pending { index, base: None });
                continue;
            }
            match pack.decode(index, work) {
                Ok((kind, bytes)) => {
                    pack.entries[index as usize].kind = Some(kind);
                    let name = compute_hash(HashKind::Sha1, kind, &bytes);
                    let name = name.map_err(|_| PackError::Corrupt("a hash that was made to collide"))?;
                    named.push((name, index));
                }
                Err(PackError::TooLarge("bytes of an object")) => {
                    nameless[index as usize] = true;
                    pack.has_nameless = true;
                }
                Err(error) => return Err(error),
            }
        }
        pack.names.append(&mut named);
        pack.names.sort_unstable();
        if later.is_empty() {
            return Ok(());
        }
        if later.len() == before {
            break;
        }
        pending = later;
    }
    Err(PackError::Corrupt("a delta without a base"))
}
