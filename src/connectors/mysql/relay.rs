//! Carries packets between the driver and the server, and shows each to the
//! [`guard`](super::guard).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter, copy_buf};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::guard::{Breach, Guard};

const BUFFER: usize = 64 * 1024;
/// Our longest statement; one that names 4,096 columns is shorter.
const LONGEST_STATEMENT: usize = 8 << 20;
const HEADER: usize = 4;

/// What the server did that none may do, for whoever wonders why the driver failed.
pub(super) type Told = Arc<Mutex<Option<Breach>>>;

/// The breach, if there was one.
pub(super) fn breach(told: &Told) -> Option<Breach> {
    *told.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads one packet while nobody else reads: its number and its body.
pub(super) async fn read_packet<S: AsyncRead + Unpin>(
    stream: &mut S,
    largest: usize,
) -> std::io::Result<(u8, Vec<u8>)> {
    let mut header = [0; HEADER];
    stream.read_exact(&mut header).await?;
    let length = length_of(header);
    if !(1..=largest).contains(&length) {
        return Err(Breach::Length.into());
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok((header[3], body))
}

/// A stream to a server.
pub(super) trait Carried: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Carried for S {}

/// What carries between driver and server. The conversation ends when dropped: a query
/// under way would else be read to its end.
pub(super) struct Relay {
    task: JoinHandle<Option<Box<dyn Carried>>>,
    leave: Option<oneshot::Sender<()>>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Relay {
    /// Begins to carry; the driver gets the greeting first.
    pub(super) fn start(
        driver: UnixStream,
        server: impl Carried + 'static,
        greeting: Vec<u8>,
        is_encrypted: bool,
        told: Told,
    ) -> Self {
        let (leave, left) = oneshot::channel();
        let task = tokio::spawn(carry(driver, Box::new(server), greeting, is_encrypted, told, left));
        Self { task, leave: Some(leave) }
    }

    /// The stream to the server, where it is our turn to speak; the driver has no
    /// connection any more.
    pub(super) async fn take_over(mut self) -> Option<Box<dyn Carried>> {
        self.leave.take()?.send(()).ok()?;
        (&mut self.task).await.ok().flatten()
    }
}

/// Carries packets until either end is gone, or the server does what none may do, or
/// somebody else is to speak with the server.
async fn carry(
    driver: UnixStream,
    server: Box<dyn Carried>,
    greeting: Vec<u8>,
    is_encrypted: bool,
    told: Told,
    left: oneshot::Receiver<()>,
) -> Option<Box<dyn Carried>> {
    let talk = Talk { guard: Mutex::new(Guard::new(is_encrypted)), shift: u8::from(is_encrypted), told };
    let (from_driver, to_driver) = driver.into_split();
    let (from_server, mut to_server) = tokio::io::split(server);
    let mut from_server = BufReader::with_capacity(BUFFER, from_server);
    let is_left = {
        let down = async {
            let mut to_driver = BufWriter::with_capacity(BUFFER, to_driver);
            write_packet(&mut to_driver, 0, &greeting).await?;
            talk.down(&mut from_server, to_driver).await
        };
        let up = talk.up(from_driver, &mut to_server);
        // Why a stream ended, the driver sees by itself.
        tokio::select! {
            ended = down => { drop::<std::io::Result<()>>(ended); false }
            ended = up => { drop::<std::io::Result<()>>(ended); false }
            left = left => left.is_ok(),
        }
    };
    let is_our_turn = is_left && talk.guard().is_idle() && from_server.buffer().is_empty();
    is_our_turn.then(|| from_server.into_inner().unsplit(to_server))
}

/// A conversation under way.
struct Talk {
    guard: Mutex<Guard>,
    /// The packets of a login are numbered on, and under TLS one was sent of which the
    /// driver does not know.
    shift: u8,
    told: Told,
}

impl Talk {
    fn guard(&self) -> MutexGuard<'_, Guard> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Noted before the driver sees the end of its stream.
    fn refused(&self, breach: Breach) -> std::io::Error {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(breach);
        breach.into()
    }

    async fn down<R, W>(&self, mut server: &mut BufReader<R>, mut driver: W) -> std::io::Result<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            if server.buffer().is_empty() {
                driver.flush().await?;
            }
            let mut header = [0; HEADER];
            server.read_exact(&mut header).await?;
            let length = length_of(header);
            if !(1..=self.guard().largest()).contains(&length) {
                return Err(self.refused(Breach::Length));
            }
            let first = server.read_u8().await?;
            if self.guard().is_row(length, first) {
                driver.write_all(&header).await?;
                driver.write_u8(first).await?;
                let left = length as u64 - 1;
                if copy_buf(&mut (&mut server).take(left), &mut driver).await? < left {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
                continue;
            }
            if length > BUFFER {
                return Err(self.refused(Breach::Length));
            }
            let mut body = vec![first; length];
            server.read_exact(&mut body[1..]).await?;
            let shift = if self.guard().is_at_login() { self.shift } else { 0 };
            self.guard().judge(&body).map_err(|breach| self.refused(breach))?;
            write_packet(&mut driver, header[3].wrapping_sub(shift), &body).await?;
        }
    }

    async fn up<R, W>(&self, mut driver: R, server: &mut W) -> std::io::Result<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut is_response = true;
        loop {
            let (number, mut body) = read_packet(&mut driver, LONGEST_STATEMENT).await?;
            let is_at_login = self.guard().is_at_login();
            if !is_at_login {
                self.guard().hear(body[0])?;
            } else if std::mem::take(&mut is_response) && self.shift > 0 {
                // It says once more that this is under TLS.
                let with_tls = super::greeting::SSL.to_le_bytes();
                body.iter_mut().zip(with_tls).for_each(|(byte, bit)| *byte |= bit);
            }
            let shift = if is_at_login { self.shift } else { 0 };
            write_packet(server, number.wrapping_add(shift), &body).await?;
            server.flush().await?;
        }
    }
}

pub(super) async fn write_packet<W: AsyncWrite + Unpin + ?Sized>(
    stream: &mut W,
    number: u8,
    body: &[u8],
) -> std::io::Result<()> {
    // Every body was read within limits that three bytes hold.
    let [low, middle, high, ..] = (body.len() as u32).to_le_bytes();
    stream.write_all(&[low, middle, high, number]).await?;
    stream.write_all(body).await
}

fn length_of([low, middle, high, _number]: [u8; HEADER]) -> usize {
    u32::from_le_bytes([low, middle, high, 0]) as usize
}
