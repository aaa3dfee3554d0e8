//! A delta: pieces of its base, and bytes of its own.

use super::PackError;

const ENDS_EARLY: PackError = PackError::Corrupt("a delta ends early");

/// Length of what a delta makes; its first bytes are enough.
pub(super) fn result_size(delta: &[u8]) -> Option<u64> {
    let mut rest = delta;
    number(&mut rest).ok()?;
    number(&mut rest).ok()
}

/// What a delta makes of its base.
pub(super) fn apply(base: &[u8], delta: &[u8], limit: u64) -> Result<Vec<u8>, PackError> {
    let mut rest = delta;
    if number(&mut rest)? != base.len() as u64 {
        return Err(PackError::Corrupt("a delta against another base"));
    }
    let size = number(&mut rest)?;
    if size > limit {
        return Err(PackError::TooLarge("bytes of an object"));
    }
    let size = usize::try_from(size).map_err(|_| PackError::TooLarge("bytes of an object"))?;
    let mut result = Vec::with_capacity(size);
    while let Some((operation, after)) = rest.split_first() {
        rest = after;
        let piece = match operation {
            0 => return Err(PackError::Corrupt("a delta with an unknown operation")),
            operation if operation & 0x80 == 0 => take(&mut rest, usize::from(*operation))?,
            operation => {
                let from = little_endian(&mut rest, operation & 0x0f, 4)?;
                let length = match little_endian(&mut rest, (operation >> 4) & 0x07, 3)? {
                    0 => 0x10000,
                    length => length,
                };
                let end = from.checked_add(length).ok_or(ENDS_EARLY)?;
                base.get(from..end).ok_or(PackError::Corrupt("a delta that copies what its base has not"))?
            }
        };
        if piece.len() > size - result.len() {
            return Err(PackError::Corrupt("a delta makes more than it says"));
        }
        result.extend_from_slice(piece);
    }
    if result.len() == size { Ok(result) } else { Err(PackError::Corrupt("a delta makes less than it says")) }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], PackError> {
    let (piece, after) = rest.split_at_checked(length).ok_or(ENDS_EARLY)?;
    *rest = after;
    Ok(piece)
}

/// Seven bits a byte, the lowest first.
fn number(rest: &mut &[u8]) -> Result<u64, PackError> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let byte = take(rest, 1)?[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(PackError::Corrupt("a number without an end"))
}

/// The bytes that the mask says are there.
fn little_endian(rest: &mut &[u8], mask: u8, bytes: u32) -> Result<usize, PackError> {
    let mut number = 0;
    for place in 0..bytes {
        if mask & (1 << place) != 0 {
            number |= usize::from(take(rest, 1)?[0]) << (8 * place);
        }
    }
    Ok(number)
}
