//! Packs made by hand, good ones and others.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use gix_hash::{Kind as HashKind, hasher};
use gix_object::compute_hash;
use proptest::prelude::*;

use super::*;
use crate::tests::{fuzz, tampered};

const LIMITS: Limits = Limits { object: 64 * 1024, work: 4 * 1024 * 1024 };

/// An entry to be packed.
enum Packed<'a> {
    Blob(&'a [u8]),
    Object(Kind, &'a [u8]),
    /// Entries back to the base, then the delta.
    Near(usize, Vec<u8>),
    Named(ObjectId, Vec<u8>),
    /// Claims this size.
    Claiming(u64, &'a [u8]),
}

fn head(kind: u8, mut size: u64) -> Vec<u8> {
    let mut bytes = vec![(kind << 4) | (size & 0x0f) as u8];
    size >>= 4;
    while size > 0 {
        *bytes.last_mut().unwrap() |= 0x80;
        bytes.push((size & 0x7f) as u8);
        size >>= 7;
    }
    bytes
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn far(distance: u64) -> Vec<u8> {
    let mut bytes = vec![(distance & 0x7f) as u8];
    let mut rest = distance >> 7;
    while rest > 0 {
        rest -= 1;
        bytes.insert(0, 0x80 | (rest & 0x7f) as u8);
        rest >>= 7;
    }
    bytes
}

fn pack(entries: &[Packed<'_>]) -> Vec<u8> {
    let mut bytes = b"PACK\0\0\0\x02".to_vec();
    bytes.extend((entries.len() as u32).to_be_bytes());
    let mut offsets = Vec::new();
    for entry in entries {
        let begin = bytes.len();
        offsets.push(begin);
        let content = match entry {
            Packed::Blob(content) => {
                bytes.extend(head(3, content.len() as u64));
                content
            }
            Packed::Object(kind, content) => {
                let code = match kind {
                    Kind::Commit => 1,
                    Kind::Tree => 2,
                    Kind::Blob => 3,
                    Kind::Tag => 4,
                };
                bytes.extend(head(code, content.len() as u64));
                content
            }
            Packed::Near(back, delta) => {
                bytes.extend(head(6, delta.len() as u64));
                bytes.extend(far((begin - offsets[offsets.len() - 1 - back]) as u64));
                delta.as_slice()
            }
            Packed::Named(base, delta) => {
                bytes.extend(head(7, delta.len() as u64));
                bytes.extend(base.as_slice());
                delta.as_slice()
            }
            Packed::Claiming(size, content) => {
                bytes.extend(head(3, *size));
                content
            }
        };
        bytes.extend(deflated(content));
    }
    sealed(bytes)
}

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut hash = hasher(HashKind::Sha1);
    hash.update(&bytes);
    bytes.extend(hash.try_finalize().unwrap().as_slice());
    bytes
}

fn number(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push(0x80 | (number & 0x7f) as u8);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// A delta that copies the first bytes of its base and puts text behind.
fn delta(base: usize, copied: u8, text: &[u8]) -> Vec<u8> {
    let mut bytes = number(base as u64);
    bytes.extend(number(u64::from(copied) + text.len() as u64));
    bytes.extend([0x90, copied, text.len() as u8]);
    bytes.extend(text);
    bytes
}

/// A pack of whole objects.
pub(in crate::connectors::git) fn packed(objects: &[(Kind, &[u8])]) -> Pack {
    let entries: Vec<_> = objects.iter().map(|(kind, content)| Packed::Object(*kind, content)).collect();
    opened(&pack(&entries)).unwrap()
}

/// The name of an object.
pub(in crate::connectors::git) fn object_id(kind: Kind, content: &[u8]) -> ObjectId {
    compute_hash(HashKind::Sha1, kind, content).unwrap()
}

fn opened(bytes: &[u8]) -> Result<Pack, PackError> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Pack::of(file, LIMITS, &AtomicBool::new(false))
}

fn blob(content: &[u8]) -> ObjectId {
    object_id(Kind::Blob, content)
}

#[test]
fn objects_and_deltas_of_both_kinds_are_found_by_name() {
    let base = blob(b"hello world");
    let bytes = pack(&[
        Packed::Named(blob(b"hello there"), delta(11, 5, b"!")),
        Packed::Blob(b"hello world"),
        Packed::Near(1, delta(11, 6, b"there")),
        Packed::Blob(b""),
    ]);
    let pack = opened(&bytes).unwrap();
    assert_eq!((pack.len(), pack.has_nameless), (4, false));
    for content in [&b"hello world"[..], b"hello there", b"hello!", b""] {
        let (kind, found) = pack.object(&blob(content)).unwrap().unwrap();
        assert_eq!((kind, found.as_slice()), (Kind::Blob, content));
    }
    assert_eq!(pack.plain_size(&base), Some(11));
    assert_eq!(pack.plain_size(&blob(b"hello there")), None);
    assert!(pack.object(&blob(b"something else")).unwrap().is_none());
}

#[test]
fn what_is_too_large_costs_itself_and_what_is_made_of_it() {
    let large = vec![b'x'; 100 * 1024];
    let mut growing = number(5);
    growing.extend(number(100 * 1024));
    growing.extend(std::iter::repeat_n([0x90, 5], 20_480).flatten());
    let bytes = pack(&[
        Packed::Blob(b"small"),
        Packed::Blob(&large),
        Packed::Near(2, growing),
        Packed::Near(1, delta(100 * 1024, 5, b"")),
        Packed::Near(4, delta(5, 5, b"er")),
    ]);
    let pack = opened(&bytes).unwrap();
    assert!(pack.has_nameless);
    assert_eq!(pack.plain_size(&blob(&large)), Some(100 * 1024));
    assert!(matches!(pack.object(&blob(&large)), Err(PackError::TooLarge(_))));
    assert_eq!(pack.object(&blob(b"smaller")).unwrap().unwrap().1.as_slice(), b"smaller");
}

#[test]
fn damaged_and_lying_packs_are_refused() {
    let mut turned = pack(&[Packed::Blob(b"hello world")]);
    let last = turned.len() - 1;
    turned[last] ^= 1;
    let mut longer = pack(&[Packed::Blob(b"hello world")]);
    longer.push(0);
    for (what, bytes) in [
        ("nothing", Vec::new()),
        ("another hash", turned),
        ("something behind", longer),
        ("no base", pack(&[Packed::Named(blob(b"not there"), delta(9, 5, b"!"))])),
        ("a base that is the delta", pack(&[Packed::Near(0, delta(9, 5, b"!"))])),
        ("longer than said", pack(&[Packed::Claiming(3, b"hello")])),
        ("shorter than said", pack(&[Packed::Claiming(30, b"hello")])),
        ("another base", pack(&[Packed::Blob(b"hello"), Packed::Near(1, delta(6, 5, b"!"))])),
        ("beyond its base", pack(&[Packed::Blob(b"hello"), Packed::Near(1, delta(5, 6, b""))])),
    ] {
        assert!(matches!(opened(&bytes), Err(PackError::Corrupt(_))), "{what}");
    }
    for (what, bytes) in [
        ("a claim", pack(&[Packed::Claiming(u64::MAX >> 8, b"hello")])),
        ("many objects", sealed(b"PACK\0\0\0\x02\xff\xff\xff\xff".to_vec())),
    ] {
        assert!(matches!(opened(&bytes), Err(PackError::TooLarge(_))), "{what}");
    }
}

#[test]
fn a_pack_that_costs_more_work_than_it_may_is_refused() {
    let zeros = vec![0; 60 * 1024];
    let mut copying = number(60 * 1024);
    copying.extend(number(60 * 1024));
    copying.extend([0xf0, 0x00, 0xf0, 0x00]);
    let mut entries = vec![Packed::Blob(&zeros)];
    entries.extend((0..100).map(|_| Packed::Near(1, copying.clone())));
    let bytes = pack(&entries);
    assert!(bytes.len() < 16 * 1024);
    let refused = opened(&bytes);
    assert!(matches!(refused, Err(PackError::TooLarge("work"))), "{refused:?}");
}

#[test]
fn a_scan_stops_when_it_is_told() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&pack(&[Packed::Blob(b"hello")])).unwrap();
    assert!(matches!(Pack::of(file, LIMITS, &AtomicBool::new(true)), Err(PackError::Stopped)));
}

#[test]
fn no_pack_makes_it_panic() {
    let base = blob(b"hello world");
    let known = vec![
        pack(&[Packed::Blob(b"hello world"), Packed::Near(1, delta(11, 6, b"there")), Packed::Blob(&[7; 3000])]),
        pack(&[Packed::Named(base, delta(11, 5, b"!")), Packed::Blob(b"hello world")]),
    ];
    fuzz("git packs", tampered(known), |bytes| {
        // A hash that fits lets more of them through to what comes after.
        let end = bytes.len().saturating_sub(20);
        for bytes in [bytes.clone(), sealed(bytes[..end].to_vec())] {
            if let Ok(pack) = opened(&bytes) {
                for (name, _) in pack.names.clone() {
                    let found = pack.object(&name);
                    prop_assert!(!matches!(found, Ok(None)));
                }
            }
        }
        Ok(())
    });
}

#[test]
fn no_delta_makes_it_panic() {
    let known = vec![delta(11, 6, b"there"), delta(300, 100, b"")];
    fuzz("git deltas", tampered(known), |bytes| {
        let made = delta::apply(b"hello world", &bytes, 4096);
        prop_assert!(made.map_or(0, |made| made.len()) <= 4096);
        Ok(())
    });
}
