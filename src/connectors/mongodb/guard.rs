//! A guard between the socket and the driver. The driver takes memory for whatever
//! length it is told, and hashes a password as often as it is told. A server is somebody
//! else's; so each message is looked at on its way: none is longer than a batch of
//! documents may be, none is of a kind that nobody asked for, and those of a login are
//! small and ask for an amount of hashing that has an end.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter, copy_buf};
use tokio::net::UnixStream;

/// Largest message: a batch of 16 MiB, or one document of that, and what is around it.
const LARGEST: usize = 17 << 20;
/// Largest answer during a login; those of real servers are below 4 KiB.
const LARGEST_AT_LOGIN: usize = 64 * 1024;
/// Rounds of SCRAM: several times the server's default, and some tenths of a second.
const MOST_ITERATIONS: u64 = 100_000;
const HEADER: usize = 16;
/// The one kind of message that there is today.
const MESSAGE: u32 = 2013;
const BUFFER: usize = 64 * 1024;

/// What a server may not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Breach {
    /// It wants the password hashed for minutes.
    #[error("the server asks for too many rounds of hashing")]
    Iterations,
    /// The length of a message is impossible, or above all limits.
    #[error("the server sent a message of an impossible length")]
    Length,
    /// A message of a kind that was not asked for.
    #[error("the server does not keep to the protocol")]
    Protocol,
}

impl Breach {
    /// One line that says what to do.
    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::Iterations => "the server asks for too many rounds of hashing; lower its `scramSHA256IterationCount`",
            Self::Length | Self::Protocol => {
                "what answers does not keep to the protocol; check that `credentials.host` and `credentials.port` are \
                 those of a MongoDB, and whether it wants TLS"
            }
        }
    }
}

impl From<Breach> for std::io::Error {
    fn from(breach: Breach) -> Self {
        Self::other(breach)
    }
}

/// What the server did that none may do, for whoever wonders why the driver failed.
pub(super) type Told = Arc<Mutex<Option<Breach>>>;

/// The breach, if there was one.
pub(super) fn breach(told: &Told) -> Option<Breach> {
    *told.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Carries messages until either end is gone, or the server does what none may do.
pub(super) async fn carry<S>(driver: UnixStream, server: S, told: Told)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (from_driver, to_driver) = driver.into_split();
    let (from_server, to_server) = tokio::io::split(server);
    let talk = Talk { is_login: Mutex::new(false), told };
    let down = talk.down(BufReader::with_capacity(BUFFER, from_server), BufWriter::with_capacity(BUFFER, to_driver));
    let up = talk.up(BufReader::with_capacity(BUFFER, from_driver), to_server);
    // Why a stream ended, the driver sees by itself.
    drop::<std::io::Result<()>>(tokio::select! { ended = down => ended, ended = up => ended });
}

/// A conversation under way.
struct Talk {
    /// The latest request is part of a login.
    is_login: Mutex<bool>,
    told: Told,
}

impl Talk {
    /// Noted before the driver sees the end of its stream.
    fn refused(&self, breach: Breach) -> std::io::Error {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(breach);
        breach.into()
    }

    async fn down<R, W>(&self, mut server: BufReader<R>, mut driver: W) -> std::io::Result<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            driver.flush().await?;
            let mut header = [0; HEADER];
            server.read_exact(&mut header).await?;
            let is_login = *self.is_login.lock().unwrap_or_else(PoisonError::into_inner);
            let left = judge(header, is_login).map_err(|breach| self.refused(breach))?;
            if is_login {
                let mut body = vec![0; left];
                server.read_exact(&mut body).await?;
                if iterations(&body) > MOST_ITERATIONS {
                    return Err(self.refused(Breach::Iterations));
                }
                driver.write_all(&header).await?;
                driver.write_all(&body).await?;
                continue;
            }
            driver.write_all(&header).await?;
            if copy_buf(&mut (&mut server).take(left as u64), &mut driver).await? < left as u64 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn up<R, W>(&self, mut driver: R, mut server: W) -> std::io::Result<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            let mut header = [0; HEADER];
            driver.read_exact(&mut header).await?;
            let left = judge(header, false)?;
            let mut body = vec![0; left];
            driver.read_exact(&mut body).await?;
            *self.is_login.lock().unwrap_or_else(PoisonError::into_inner) = contains(&body, b"sasl");
            server.write_all(&header).await?;
            server.write_all(&body).await?;
            server.flush().await?;
        }
    }
}

/// Judges a message by its header, and gives the length of the rest.
fn judge(header: [u8; HEADER], is_login: bool) -> Result<usize, Breach> {
    let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if number(12) != MESSAGE {
        return Err(Breach::Protocol);
    }
    let length = usize::try_from(number(0)).map_err(|_| Breach::Length)?;
    let largest = if is_login { LARGEST_AT_LOGIN } else { LARGEST };
    if (HEADER + 5..=largest).contains(&length) { Ok(length - HEADER) } else { Err(Breach::Length) }
}

/// What any `,i=` of a message says; nothing, if there is none.
fn iterations(message: &[u8]) -> u64 {
    const BEFORE: &[u8] = b",i=";
    let places = message.windows(BEFORE.len()).enumerate().filter(|(_, window)| *window == BEFORE);
    let numbers = places.map(|(place, _)| {
        let digits = message[place + BEFORE.len()..].iter().take_while(|byte| byte.is_ascii_digit());
        digits.fold(0_u64, |number, digit| number.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
    });
    numbers.max().unwrap_or(0)
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(length: u32, kind: u32) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&length.to_le_bytes());
        header[12..].copy_from_slice(&kind.to_le_bytes());
        header
    }

    #[test]
    fn lengths_and_kinds_are_bounded() {
        assert_eq!(judge(header(100, MESSAGE), true), Ok(84));
        assert_eq!(judge(header(16 << 20, MESSAGE), false), Ok((16 << 20) - 16));
        for length in [0, 16, 20, 18 << 20, i32::MAX as u32, u32::MAX] {
            assert_eq!(judge(header(length, MESSAGE), false), Err(Breach::Length), "{length}");
        }
        assert_eq!(judge(header(100_000, MESSAGE), true), Err(Breach::Length));
        for kind in [0, 1, 2004, 2012] {
            assert_eq!(judge(header(100, kind), false), Err(Breach::Protocol), "{kind}");
        }
    }

    #[test]
    fn rounds_of_hashing_are_read_wherever_they_are() {
        assert_eq!(iterations(b"payload\0r=abc,s=QSXCR+Q6,i=15000\0ok"), 15_000);
        assert_eq!(iterations(b"r=abc,i=4000000000,i=1"), 4_000_000_000);
        assert_eq!(iterations(b"r=abc,i=99999999999999999999999"), u64::MAX);
        assert_eq!(iterations(b",i="), 0);
    }
}
