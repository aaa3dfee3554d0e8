//! A guard between the socket and what reads the protocol. The parser makes room for
//! a literal as soon as it is announced, reads lines however long they are, and
//! descends into every parenthesis. A server is somebody else's; so each line is
//! looked at before it goes on:
//!
//! * A line is short, and nests only as deep as real answers do.
//! * A literal is not larger than what was asked for.
//! * An answer has no more lines than the question can have.
//!
//! It also counts what came, so that a server which lets its bytes drip is noticed.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Longest line, without the literals in it.
const LONGEST_LINE: usize = 64 * 1024;
/// Deepest nesting of parentheses. What we ask for needs three.
const DEEPEST: usize = 16;
/// Literals of one response.
const MOST_LITERALS: usize = 8;
/// Largest literal where nobody asked for a message: the name of a mailbox.
pub(super) const SMALL_LITERAL: usize = 16 * 1024;
/// Lines of an answer that is no listing.
pub(super) const FEW_LINES: u64 = 10_000;
const BUFFER: usize = 16 * 1024;

/// What a server may not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Breach {
    /// A line has no end.
    #[error("a line is too long")]
    Line,
    /// Parentheses without end.
    #[error("a line nests too deeply")]
    Nesting,
    /// A literal that nobody asked for.
    #[error("a literal is too large, or where none may be")]
    Literal,
    /// More lines than the command can have.
    #[error("an answer has too many lines")]
    Talk,
}

impl From<Breach> for std::io::Error {
    fn from(breach: Breach) -> Self {
        Self::other(breach)
    }
}

/// The breach within an error of the stream.
pub(super) fn breach_of(error: &std::io::Error) -> Option<Breach> {
    error.get_ref()?.downcast_ref::<Breach>().copied()
}

/// What the next answer may have; set before each command.
#[derive(Debug)]
pub(super) struct Limits {
    literal: AtomicUsize,
    lines: AtomicU64,
    received: AtomicU64,
}

impl Limits {
    /// Those of a login.
    pub(super) fn new() -> Arc<Self> {
        let (literal, lines) = (AtomicUsize::new(SMALL_LITERAL), AtomicU64::new(FEW_LINES));
        Arc::new(Self { literal, lines, received: AtomicU64::new(0) })
    }

    /// Allows the next answer so many lines, and literals of so many bytes.
    pub(super) fn allow(&self, lines: u64, literal: usize) {
        self.lines.store(lines, Relaxed);
        self.literal.store(literal, Relaxed);
    }

    /// Bytes that came so far.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }
}

/// A stream whose lines are looked at.
pub(super) struct Guarded<S> {
    stream: S,
    limits: Arc<Limits>,
    checker: Checker,
    /// What came and was not looked at yet.
    buffer: Box<[u8]>,
    taken: usize,
    filled: usize,
    /// Told at the next reading, since this one has something to give.
    breach: Option<Breach>,
}

impl<S> Guarded<S> {
    /// Guards a stream that is at the beginning of a line.
    pub(super) fn new(stream: S, limits: Arc<Limits>) -> Self {
        let buffer = vec![0; BUFFER].into();
        Self { stream, limits, checker: Checker::default(), buffer, taken: 0, filled: 0, breach: None }
    }
}

impl<S> fmt::Debug for Guarded<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Guarded").finish_non_exhaustive()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        let before = out.filled().len();
        if let Some(breach) = this.breach {
            return Poll::Ready(Err(breach.into()));
        }
        while out.remaining() > 0 {
            match this.checker.passed(&mut this.taken, &this.buffer[..this.filled], &this.limits, out) {
                Ok(true) => continue,
                Ok(false) => {}
                Err(breach) => {
                    this.breach = Some(breach);
                    if out.filled().len() > before {
                        break;
                    }
                    return Poll::Ready(Err(breach.into()));
                }
            }
            if out.filled().len() > before {
                break;
            }
            let mut fresh = ReadBuf::new(&mut this.buffer);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut fresh))?;
            (this.taken, this.filled) = (0, fresh.filled().len());
            this.limits.received.fetch_add(this.filled as u64, Relaxed);
            if this.filled == 0 {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

/// Takes a stream of lines and literals apart, wherever it is cut.
#[derive(Default)]
struct Checker {
    /// A line that is held until it is whole and judged.
    line: Vec<u8>,
    /// How much of it may go on, and went.
    released: usize,
    gone: usize,
    /// Bytes of a literal that go on as they are.
    literal: usize,
    /// The line goes on after a literal.
    is_continued: bool,
    /// Literals and open parentheses of the response so far.
    literals: usize,
    depth: usize,
}

impl Checker {
    /// Moves bytes on; false when there is nothing to move until more comes.
    fn passed(
        &mut self,
        taken: &mut usize,
        received: &[u8],
        limits: &Limits,
        out: &mut ReadBuf<'_>,
    ) -> Result<bool, Breach> {
        if self.gone < self.released {
            let count = (self.released - self.gone).min(out.remaining());
            out.put_slice(&self.line[self.gone..self.gone + count]);
            self.gone += count;
            if self.gone == self.released {
                self.line.clear();
                (self.gone, self.released) = (0, 0);
            }
            return Ok(true);
        }
        let fresh = &received[*taken..];
        if fresh.is_empty() {
            return Ok(false);
        }
        if self.literal > 0 {
            let count = self.literal.min(fresh.len()).min(out.remaining());
            out.put_slice(&fresh[..count]);
            self.literal -= count;
            *taken += count;
            return Ok(true);
        }
        let end = fresh.iter().position(|byte| *byte == b'\n').map(|position| position + 1);
        let count = end.unwrap_or(fresh.len());
        if self.line.len() + count > LONGEST_LINE {
            return Err(Breach::Line);
        }
        self.line.extend_from_slice(&fresh[..count]);
        *taken += count;
        if end.is_some() {
            self.judge(limits)?;
            self.released = self.line.len();
        }
        Ok(true)
    }

    /// A whole line.
    fn judge(&mut self, limits: &Limits) -> Result<(), Breach> {
        if !self.is_continued {
            let allowed = limits.lines.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
            allowed.map_err(|_| Breach::Talk)?;
            (self.literals, self.depth) = (0, 0);
        }
        let announced = announced(&self.line);
        if !self.is_continued && !is_data(&self.line) {
            // Its text is for people, and of no use to us; the parser cuts it by bytes.
            self.line.iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b'?');
            return if announced.is_some() { Err(Breach::Literal) } else { Ok(()) };
        }
        self.descend()?;
        self.is_continued = announced.is_some();
        if let Some(length) = announced {
            self.literals += 1;
            self.literal = usize::try_from(length).unwrap_or(usize::MAX);
            if self.literals > MOST_LITERALS || self.literal > limits.literal.load(Relaxed) {
                return Err(Breach::Literal);
            }
        }
        Ok(())
    }

    fn descend(&mut self) -> Result<(), Breach> {
        let (mut is_quoted, mut is_escaped) = (false, false);
        for byte in &self.line {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if is_quoted => is_escaped = true,
                b'"' => is_quoted = !is_quoted,
                b'(' if !is_quoted => self.depth += 1,
                b')' if !is_quoted => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            if self.depth > DEEPEST {
                return Err(Breach::Nesting);
            }
        }
        Ok(())
    }
}

/// The length of the literal that follows a line, if one does. Beyond all numbers
/// it is larger than any may be.
fn announced(line: &[u8]) -> Option<u64> {
    let line = line.strip_suffix(b"}\r\n")?;
    let begin = line.iter().rposition(|byte| *byte == b'{')? + 1;
    let digits = line[begin..].strip_suffix(b"+").unwrap_or(&line[begin..]);
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or(u64::MAX))
}

/// True for what carries data: `* 1 FETCH ...`, `* LIST ...`; false for a status,
/// which is a tagged line, `+`, or `* OK`.
fn is_data(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"* ") else { return false };
    let word = rest.split(|byte| !byte.is_ascii_alphabetic()).next().unwrap_or_default();
    ![&b"OK"[..], b"NO", b"BAD", b"BYE", b"PREAUTH"].iter().any(|status| word.eq_ignore_ascii_case(status))
}

#[cfg(test)]
mod tests;
