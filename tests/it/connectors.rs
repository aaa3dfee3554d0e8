//! Each source, against the real thing.

mod files;
pub mod mysql;
pub mod passes;
pub mod postgresql;
mod sqlite;
