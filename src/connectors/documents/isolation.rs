//! Documents are parsed in other processes. A file can be made to break what
//! parses it: to overflow its stack, to take all memory, never to end. In a process
//! of its own that costs the one document, and what is at hand there is a file's
//! bytes and nothing else: no keys, no environment, no file that it could write.
//!
//! The other process is this program again, with a command that `--help` does not
//! list. A few are kept, since starting one takes longer than most documents do.

mod child;
mod frames;
mod pool;

pub use child::serve;
pub use pool::Parsers;
