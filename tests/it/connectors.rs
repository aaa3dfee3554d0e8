//! Each source, against the real thing.

mod files;
mod formats;
mod git;
mod imap;
mod mongodb;
pub mod mysql;
pub mod passes;
pub mod postgresql;
mod s3;
mod sqlite;
mod webdav;
