//! What the fuzz tests of the modules share: how long they run, from which seed, and
//! inputs that are made of known ones.
//!
//! In an ordinary run each draws for a moment. With `TRIBUTARY_FUZZ_SECONDS` it draws
//! for that long, round after round, each from a seed of its own; what failed is
//! printed with its seed, and `TRIBUTARY_FUZZ_SEED` begins there.

use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

/// Cases of one seed.
const ROUND: u32 = 64;
/// Longest input.
const LARGEST: usize = 256 * 1024;

/// Draws inputs until the time is over. A panic is a failure too.
pub(crate) fn fuzz<S: Strategy>(name: &str, inputs: S, check: impl Fn(S::Value) -> Result<(), TestCaseError>)
where
    S::Value: std::fmt::Debug,
{
    let variable = |name: &str| std::env::var(name).ok().map(|text| text.parse::<f64>().expect("a number"));
    let limit = Duration::from_secs_f64(variable("TRIBUTARY_FUZZ_SECONDS").unwrap_or(0.5));
    let first = variable("TRIBUTARY_FUZZ_SEED").unwrap_or(0.0) as u64;
    let began = Instant::now();
    let mut seed = first;
    while seed == first || began.elapsed() < limit {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let config = Config { cases: ROUND, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
        match runner.run(&inputs, &check) {
            Ok(()) => seed += 1,
            Err(TestError::Fail(reason, input)) => panic!("{name}, seed {seed}: {reason}\n{input:?}"),
            Err(TestError::Abort(reason)) => panic!("{name}, seed {seed}: {reason}"),
        }
    }
    let rounds = seed - first;
    println!("fuzz {name}: {} inputs, seeds {first} to {}", rounds * u64::from(ROUND), seed - 1);
}

/// The files of a folder below the project, in order.
pub(crate) fn corpus(folder: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.is_file());
    paths.sort();
    assert!(!paths.is_empty(), "the corpus has files");
    paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Bytes of a known input that were tampered with, and now and then any bytes.
pub(crate) fn tampered(known: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<u8>(), any::<u32>(), any::<u32>(), prop::collection::vec(any::<u8>(), 0..9));
    let changes = prop::collection::vec(change, 0..12);
    let choice = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), changes);
    let from_known = choice.prop_map(move |(one, other, changes)| {
        let mut bytes = one.get::<Vec<u8>>(&known).clone();
        for (kind, at, amount, fresh) in changes {
            change_once(&mut bytes, other.get::<Vec<u8>>(&known), kind, at as usize, amount as usize, &fresh);
        }
        bytes.truncate(LARGEST);
        bytes
    });
    prop_oneof![9 => from_known, 1 => prop::collection::vec(any::<u8>(), 0..2048)]
}

fn change_once(bytes: &mut Vec<u8>, other: &[u8], kind: u8, at: usize, amount: usize, fresh: &[u8]) {
    let at = at % (bytes.len() + 1);
    let end = (at + amount % 64).min(bytes.len());
    match kind % 7 {
        0 if at < bytes.len() => bytes[at] ^= 1 << (amount % 8),
        1 => drop(bytes.splice(at..at, fresh.iter().copied())),
        2 => drop(bytes.drain(at..end)),
        3 => {
            let part = bytes[at..end].to_vec().repeat(1 + amount % 50);
            drop(bytes.splice(at..at, part));
        }
        4 if !other.is_empty() => {
            let from = amount % other.len();
            let part = other[from..(from + 200).min(other.len())].to_vec();
            drop(bytes.splice(at..end, part));
        }
        5 => bytes.truncate(at),
        // The numbers at which lengths go wrong.
        _ => {
            let number = [0, 1, 0x7f, 0xff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff][amount % 7_usize];
            let place = at..(at + 4).min(bytes.len());
            drop(bytes.splice(place, u32::to_be_bytes(number)));
        }
    }
}

/// Text out of words that mean something, and characters that may.
pub(crate) fn worded(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => prop::sample::select(words).prop_map(str::to_owned),
        1 => "[a-z0-9]{1,6}",
        1 => any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}
