//! A guard between the socket and what speaks the protocol. The driver waits for a
//! message as long as the server said that it would be, two gigabytes if need be,
//! sends a password in clear text to whoever asks for it, and hashes as often as it
//! is told. A server is somebody else's; so each message is looked at on its way:
//!
//! * Until the login is done, messages are small and few, the password is asked for
//!   in clear text only under TLS, and hashing has an end.
//! * Afterwards no message is larger than a row may be. One row that is larger costs
//!   itself only: little more than its key arrives, with a mark that it was cut.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::object::LARGEST_ROW;

/// Largest message before the login is done; those of real servers are below 2 KiB.
const LARGEST_AT_LOGIN: usize = 64 * 1024;
/// All of them together.
const MOST_AT_LOGIN: usize = 1024 * 1024;
/// The server's settings, as it reports them, over the whole session: the driver
/// keeps each.
const MOST_SETTINGS: usize = 1024 * 1024;
/// What is left of a row that is too large: enough for its key, mostly.
const CUT_ROW: usize = 64 * 1024;
/// The end of a row that was cut. No text has a NUL.
const CUT: &[u8] = b"\0cut\n";
/// Larger than anything that a server can send.
pub(super) const LARGEST_PIECE: usize = 1 << 30;
/// Rounds of SCRAM: 25 times the server's default, and some tenths of a second.
const MOST_ITERATIONS: u64 = 100_000;
/// Tag and length of a message.
const HEADER: usize = 5;
const BUFFER: usize = 32 * 1024;

/// What a server may not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Breach {
    /// It wants the password as it is, over a connection that anybody can read.
    #[error("the server asks for the password in clear text, without TLS")]
    ClearText,
    /// It wants the password hashed for minutes.
    #[error("the server asks for too many rounds of hashing")]
    Iterations,
    /// The length of a message is impossible, or above all limits.
    #[error("the server sent a message of an impossible length")]
    Length,
    /// More was said than a login needs.
    #[error("the server does not come to the end of the login")]
    Talk,
}

impl Breach {
    /// The login cannot be done with such a server, now or later.
    pub(super) fn is_of_login(self) -> bool {
        matches!(self, Self::ClearText | Self::Iterations)
    }

    /// One line that says what to do.
    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::ClearText => {
                "the server asks for the password in clear text; set its access rule to scram-sha-256, or \
                 `config.sslMode` to use TLS"
            }
            Self::Iterations => "the server asks for too many rounds of hashing; lower its `scram_iterations`",
            Self::Length | Self::Talk => {
                "what answers does not keep to the protocol; check that `credentials.host` and `credentials.port` \
                 are those of a PostgreSQL"
            }
        }
    }
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

/// True for a row that was cut.
pub(super) fn is_cut(row: &[u8]) -> bool {
    row.ends_with(CUT)
}

/// A stream whose messages are looked at.
pub(super) struct Guarded<S> {
    stream: S,
    checker: Checker,
    /// What came and was not looked at yet.
    received: Box<[u8]>,
    taken: usize,
    filled: usize,
    /// Told at the next reading, since this one has something to give.
    breach: Option<Breach>,
}

impl<S> Guarded<S> {
    /// Guards a stream on which nothing was said yet. Pieces of a copy that are
    /// larger than `largest_piece` are cut.
    pub(super) fn new(stream: S, is_encrypted: bool, largest_piece: usize) -> Self {
        let checker = Checker::new(is_encrypted, largest_piece);
        Self { stream, checker, received: vec![0; BUFFER].into(), taken: 0, filled: 0, breach: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        if let Some(breach) = this.breach {
            return Poll::Ready(Err(breach.into()));
        }
        while buffer.remaining() > 0 {
            match this.checker.passed(&mut this.taken, &this.received[..this.filled], buffer) {
                Ok(true) => continue,
                Ok(false) => {}
                Err(breach) => {
                    this.breach = Some(breach);
                    if buffer.filled().len() > before {
                        break;
                    }
                    return Poll::Ready(Err(breach.into()));
                }
            }
            if buffer.filled().len() > before {
                break;
            }
            let mut fresh = ReadBuf::new(&mut this.received);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut fresh))?;
            (this.taken, this.filled) = (0, fresh.filled().len());
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

/// Takes a stream of messages apart, wherever it is cut.
struct Checker {
    is_encrypted: bool,
    largest_piece: usize,
    is_logged_in: bool,
    /// A message that is held until it is whole: its header, and all of it until
    /// the login is done.
    held: Vec<u8>,
    /// How much of `held` may go on, and went.
    released: usize,
    gone: usize,
    /// Bytes of the message under way that go on, and that are then dropped, with
    /// a mark in their place.
    pass: usize,
    skip: usize,
    is_unmarked: bool,
    said: usize,
    settings: usize,
}

impl Checker {
    fn new(is_encrypted: bool, largest_piece: usize) -> Self {
        Self {
            is_encrypted,
            largest_piece,
            is_logged_in: false,
            held: Vec::with_capacity(HEADER),
            released: 0,
            gone: 0,
            pass: 0,
            skip: 0,
            is_unmarked: false,
            said: 0,
            settings: 0,
        }
    }

    /// Moves bytes on; false when there is nothing to move until more comes.
    fn passed(&mut self, taken: &mut usize, received: &[u8], out: &mut ReadBuf<'_>) -> Result<bool, Breach> {
        if self.gone < self.released {
            let count = (self.released - self.gone).min(out.remaining());
            out.put_slice(&self.held[self.gone..self.gone + count]);
            self.gone += count;
            if self.gone == self.released {
                self.held.clear();
                (self.gone, self.released) = (0, 0);
            }
            return Ok(true);
        }
        let fresh = &received[*taken..];
        if fresh.is_empty() {
            return Ok(false);
        }
        if self.pass > 0 {
            let count = self.pass.min(fresh.len()).min(out.remaining());
            out.put_slice(&fresh[..count]);
            self.pass -= count;
            *taken += count;
        } else if self.is_unmarked {
            self.is_unmarked = false;
            self.held.extend_from_slice(CUT);
            self.released = CUT.len();
        } else if self.skip > 0 {
            let count = self.skip.min(fresh.len());
            self.skip -= count;
            *taken += count;
        } else {
            *taken += self.hold(fresh)?;
        }
        Ok(true)
    }

    /// Holds what is needed to judge the next message, and judges it. Answers how
    /// many bytes it took.
    fn hold(&mut self, fresh: &[u8]) -> Result<usize, Breach> {
        let wanted = match self.length()? {
            None => HEADER,
            Some(length) => 1 + length,
        };
        let count = (wanted - self.held.len()).min(fresh.len());
        self.held.extend_from_slice(&fresh[..count]);
        if self.held.len() < wanted {
            return Ok(count);
        }
        let Some(length) = self.length()? else { return Ok(count) };
        if self.is_logged_in {
            self.begin(length)?;
        } else if self.held.len() == 1 + length {
            self.judge_login()?;
            self.released = self.held.len();
        }
        Ok(count)
    }

    /// What the header says, without the tag; none while it is not whole.
    fn length(&self) -> Result<Option<usize>, Breach> {
        let Some([tag, length @ ..]) = self.held.first_chunk::<HEADER>() else { return Ok(None) };
        // A negative one is above all limits.
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| Breach::Length)?;
        let largest = match (self.is_logged_in, tag) {
            (false, _) => LARGEST_AT_LOGIN,
            // A row may be cut, but it is not beyond what a server can send.
            (true, b'd') => LARGEST_PIECE,
            (true, _) => LARGEST_ROW,
        };
        if (4..=largest).contains(&length) { Ok(Some(length)) } else { Err(Breach::Length) }
    }

    /// A message after the login, of which the header is held.
    fn begin(&mut self, length: usize) -> Result<(), Breach> {
        if self.held[0] == b'S' {
            self.settings += length;
            if self.settings > MOST_SETTINGS {
                return Err(Breach::Talk);
            }
        }
        let kept = if length > self.largest_piece { CUT_ROW } else { length };
        self.held[1..HEADER].copy_from_slice(&u32::try_from(kept).unwrap_or(u32::MAX).to_be_bytes());
        self.released = HEADER;
        self.is_unmarked = kept < length;
        let mark = if self.is_unmarked { CUT.len() } else { 0 };
        self.pass = kept - 4 - mark;
        self.skip = length - 4 - self.pass;
        Ok(())
    }

    /// A whole message before the end of the login.
    fn judge_login(&mut self) -> Result<(), Breach> {
        self.said += self.held.len();
        if self.said > MOST_AT_LOGIN {
            return Err(Breach::Talk);
        }
        let body = &self.held[HEADER..];
        match (self.held[0], body.first_chunk::<4>().map(|kind| u32::from_be_bytes(*kind))) {
            (b'R', Some(3)) if !self.is_encrypted => Err(Breach::ClearText),
            (b'R', Some(11)) if iterations(&body[4..]) > MOST_ITERATIONS => Err(Breach::Iterations),
            (b'Z', _) => {
                self.is_logged_in = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// What the `i=` of a SCRAM message says; nothing, if there is none.
fn iterations(message: &[u8]) -> u64 {
    let fields = message.split(|byte| *byte == b',');
    let digits = fields.filter_map(|field| field.strip_prefix(b"i=")).map(|digits| {
        // A number that is none is for the driver to refuse, one that is too long not.
        std::str::from_utf8(digits)
            .ok()
            .filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
    });
    digits.flatten().map(|text| text.parse().unwrap_or(u64::MAX)).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[tag], &length[..], body].concat()
    }

    /// What comes out, where the stream comes in pieces of a length.
    async fn guarded(sent: &[u8], is_encrypted: bool, piece: usize) -> Result<Vec<u8>, Option<Breach>> {
        let pieces: Vec<_> = sent.chunks(piece).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
        let stream = tokio_util::io::StreamReader::new(futures::stream::iter(
            pieces.into_iter().map(|piece| piece.map(std::io::Cursor::new)),
        ));
        let mut guarded = Guarded::new(stream, is_encrypted, LARGEST_ROW);
        let mut out = Vec::new();
        match guarded.read_to_end(&mut out).await {
            Ok(_) => Ok(out),
            Err(error) => Err(breach_of(&error)),
        }
    }

    fn logged_in() -> Vec<u8> {
        [message(b'R', &[0; 4]), message(b'S', b"a\0b\0"), message(b'Z', b"I")].concat()
    }

    #[tokio::test]
    async fn an_ordinary_session_passes_as_it_is_however_it_is_cut() {
        let rows = [message(b'd', &[b'x'; 3000]), message(b'd', b""), message(b'Z', b"I")].concat();
        let sent = [logged_in(), rows].concat();
        for piece in [1, 2, 3, 5, 7, 64, 4096, 1 << 20] {
            assert_eq!(guarded(&sent, false, piece).await.as_ref(), Ok(&sent), "{piece}");
        }
    }

    #[tokio::test]
    async fn lengths_are_bounded_before_and_after_the_login() {
        for length in [0, 3, 65_537, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
            let sent = [&b"R"[..], &length.to_be_bytes()].concat();
            assert_eq!(guarded(&sent, true, 4096).await, Err(Some(Breach::Length)), "{length}");
        }
        for (tag, length) in [(b'D', 17 << 20), (b'E', 17 << 20), (b'd', 0x7fff_ffff), (b'd', 0), (b'T', u32::MAX)] {
            let sent = [logged_in(), vec![tag], length.to_be_bytes().to_vec()].concat();
            assert_eq!(guarded(&sent, true, 4096).await, Err(Some(Breach::Length)), "{tag} {length}");
        }
    }

    #[tokio::test]
    async fn a_row_that_is_too_large_arrives_cut_and_what_follows_is_whole() {
        let large = vec![b'x'; LARGEST_ROW + 100_000];
        let after = [message(b'd', b"next"), message(b'Z', b"I")].concat();
        let sent = [logged_in(), message(b'd', &large), after.clone()].concat();
        let out = guarded(&sent, false, 10_000).await.unwrap();
        let row = &out[logged_in().len()..out.len() - after.len()];
        assert_eq!(row.len(), 1 + CUT_ROW);
        assert_eq!(u32::from_be_bytes(row[1..5].try_into().unwrap()) as usize, CUT_ROW);
        assert!(out.ends_with(&after) && is_cut(row) && !is_cut(&after));
    }

    #[tokio::test]
    async fn a_login_neither_gives_the_password_away_nor_takes_for_ever() {
        let clear = message(b'R', &3u32.to_be_bytes());
        assert_eq!(guarded(&clear, false, 3).await, Err(Some(Breach::ClearText)));
        assert_eq!(guarded(&clear, true, 3).await, Ok(clear));
        let scram = |rounds: &str| {
            message(b'R', &[&11u32.to_be_bytes()[..], format!("r=abc,s=QUJD,i={rounds}").as_bytes()].concat())
        };
        for rounds in ["4000000000", "100001", "99999999999999999999999999"] {
            assert_eq!(guarded(&scram(rounds), true, 9).await, Err(Some(Breach::Iterations)), "{rounds}");
        }
        for rounds in ["4096", "100000", "", "x"] {
            assert!(guarded(&scram(rounds), false, 9).await.is_ok(), "{rounds}");
        }
        let endless = message(b'S', &[b'a'; 60_000]).repeat(20);
        assert_eq!(guarded(&endless, true, 4096).await, Err(Some(Breach::Talk)));
        let later = [logged_in(), endless].concat();
        assert_eq!(guarded(&later, true, 4096).await, Err(Some(Breach::Talk)));
    }
}
