//! Each source, against the real thing.

mod files;
mod passes;
mod postgresql;
mod sqlite;
