//! Documents of all file-like sources: what a file holds, by its type, taken apart
//! in other processes; and the globs that choose files.

pub(in crate::connectors) mod choice;
pub(in crate::connectors) mod file;
pub(in crate::connectors) mod formats;
pub(in crate::connectors) mod globs;
pub mod isolation;
pub(in crate::connectors) mod selection;
