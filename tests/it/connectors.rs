//! Each source, against the real thing.

mod files;
mod imap;
pub mod passes;
pub mod postgresql;
mod sqlite;
