//! Each source, against the real thing.

mod files;
mod formats;
pub mod passes;
pub mod postgresql;
mod sqlite;
