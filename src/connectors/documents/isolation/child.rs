//! The other process: reads a document, parses it, answers, and again, until its
//! input ends.

use std::io::{self, BufReader, BufWriter};

use super::frames;
use crate::connectors::documents::formats;

/// Parsers recurse; pages of a stack that are not touched cost nothing.
const STACK_BYTES: usize = 64 * 1024 * 1024;

/// Serves standard input until it ends. Fails when the limits of the process
/// cannot be set, before anything is read.
pub fn serve() -> io::Result<()> {
    limits::once()?;
    let mut input = BufReader::with_capacity(64 * 1024, io::stdin().lock());
    let mut output = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    while let Some((path, content)) = frames::read_request(&mut input)? {
        limits::for_document(content.len())?;
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let parser = thread.spawn(move || formats::content(&path, &content))?;
        // One that panics is one that cannot parse the file.
        let outcome = parser.join().unwrap_or_else(|_| Err(formats::unparsable()));
        frames::write_reply(&mut output, outcome)?;
    }
    Ok(())
}

#[cfg(unix)]
mod limits {
    use std::io;

    use rustix::process::{Resource, Rlimit, setrlimit};
    use rustix::time::{ClockId, clock_gettime};

    /// Memory for any document, and for each byte of it.
    const MEMORY: u64 = 512 * 1024 * 1024;
    const MEMORY_OF_A_BYTE: u64 = 8;
    /// Seconds of computing. The one who asks gives up long before and ends this
    /// process; the limit is for when nobody is there any more.
    const SECONDS: u64 = 60;

    /// Behind everything that somebody waits for.
    const NICENESS: i32 = 10;

    /// No files but those that are open, none to write to, and no memory image of
    /// what was read.
    pub(super) fn once() -> io::Result<()> {
        // Where that is not allowed, documents are parsed all the same.
        let _ = rustix::process::nice(NICENESS);
        set(Resource::Core, 0)?;
        set(Resource::Fsize, 0)?;
        set(Resource::Nofile, 32)
    }

    /// Memory by the size of the document, and time from now on.
    pub(super) fn for_document(length: usize) -> io::Result<()> {
        set(Resource::Data, MEMORY.saturating_add((length as u64).saturating_mul(MEMORY_OF_A_BYTE)))?;
        let used = clock_gettime(ClockId::ProcessCPUTime).tv_sec;
        set(Resource::Cpu, u64::try_from(used).unwrap_or_default() + SECONDS)
    }

    /// The soft limit alone, which the next document may need to be higher.
    fn set(resource: Resource, limit: u64) -> io::Result<()> {
        let maximum = rustix::process::getrlimit(resource).maximum;
        let current = Some(maximum.map_or(limit, |maximum| maximum.min(limit)));
        Ok(setrlimit(resource, Rlimit { current, maximum })?)
    }
}

#[cfg(not(unix))]
mod limits {
    pub(super) fn once() -> std::io::Result<()> {
        Ok(())
    }

    pub(super) fn for_document(_length: usize) -> std::io::Result<()> {
        Ok(())
    }
}
