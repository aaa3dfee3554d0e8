//! Sources that mean harm: rogue servers, and files made to break what reads them.
//! What must hold each time: the right public code, no word of theirs to the
//! caller or the log, bounded time and memory, and no job that is stuck.

mod beside;
mod buckets;
mod documents;
mod follow;
mod git;
mod imap;
mod login;
mod mail;
mod mongodb;
mod mysql;
mod refusal;
mod rogue;
pub mod service;
mod sqlite;
mod stream;

/// What a rogue says; where it is found, it leaked.
const MARKER: &str = "MARKER-of-a-rogue";
/// What must not be sent in clear text.
const PASSWORD: &str = "the-password-of-a-rogue-test";
/// What one hostile source may add to the service's memory, in MiB.
const MOST_MEMORY: u64 = 64;
