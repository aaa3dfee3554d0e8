//! Each source through the session that a sync uses, on real files and servers.

mod files;
mod passes;
mod postgresql;
mod sqlite;
