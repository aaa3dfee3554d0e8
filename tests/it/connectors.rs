//! Each source, against the real thing.

mod postgresql;
