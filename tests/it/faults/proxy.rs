//! A bad network between the service and its source: a TCP proxy that treats each
//! connection as a script says.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::frames::{Frames, Place};

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the service to the source.
    Up,
    /// From the source to the service.
    Down,
}

/// What happens to one connection. Bytes are counted in the given direction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// Each chunk is late by so many milliseconds, and up to so many more.
    Latency { least: u64, jitter: u64 },
    /// The first bytes travel one by one, both ways.
    Slices { bytes: u64 },
    /// Both ends get a reset.
    Reset { direction: Direction, after: u64 },
    /// This direction ends in good order, the other goes on.
    HalfOpen { direction: Direction, after: u64 },
    /// Nothing more arrives in this direction, and nobody is told.
    Stall { direction: Direction, after: u64 },
    /// It is accepted, and that is all.
    Silent,
    /// A byte in the header of the nth message of the source is another.
    Framing { message: u64, byte: usize, with: u8 },
    /// The last byte of the length of the nth row is another.
    RowLength { row: u64, with: u8 },
    /// A byte behind the key of the nth row is another.
    RowByte { row: u64, byte: u64, with: u8 },
    /// Any byte is another.
    AnyByte { direction: Direction, after: u64, with: u8 },
}

/// One step of a script.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// Nobody listens for so long.
    Refuse(Duration),
    /// The next connection is treated like this.
    Connection(Fault),
}

/// How much one connection carried.
#[derive(Debug, Clone, Copy, Default)]
pub struct Traffic {
    /// Bytes from the service.
    pub up: u64,
    /// Bytes from the source.
    pub down: u64,
    /// Messages of the source.
    pub messages: u64,
    /// Rows of the source.
    pub rows: u64,
}

/// A running proxy. Gone, with all its connections, when dropped.
pub struct Proxy {
    /// Loopback port that it listens on.
    pub port: u16,
    script: Arc<Script>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Script {
    steps: Mutex<VecDeque<Step>>,
    changed: Notify,
    /// Faults that came to pass, and not merely were due.
    struck: AtomicU64,
    largest: Mutex<Traffic>,
}

impl Script {
    fn steps(&self) -> MutexGuard<'_, VecDeque<Step>> {
        self.steps.lock().unwrap()
    }

    fn next_refusal(&self) -> Option<Duration> {
        let mut steps = self.steps();
        match steps.front() {
            Some(Step::Refuse(duration)) => {
                let duration = *duration;
                steps.pop_front();
                Some(duration)
            }
            Some(Step::Connection(_)) | None => None,
        }
    }

    fn next_fault(&self) -> Option<Fault> {
        match self.steps().pop_front() {
            Some(Step::Connection(fault)) => Some(fault),
            Some(Step::Refuse(_)) | None => None,
        }
    }

    fn strike(&self) {
        self.struck.fetch_add(1, Ordering::Relaxed);
    }
}

impl Proxy {
    /// Passes everything on to a loopback port, until a script begins.
    pub fn start(upstream: u16, seed: u64) -> Self {
        // Holds the port while nobody listens on it.
        let holder = bound(0);
        let port = holder.local_addr().unwrap().port();
        let script = Arc::new(Script::default());
        let listener = listen(port);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(holder, listener, upstream, script.clone(), StdRng::seed_from_u64(seed)));
        Self { port, script, _tasks: tasks }
    }

    /// Begins a script; an empty one is a good network.
    pub fn follow(&self, steps: Vec<Step>) {
        *self.script.steps() = steps.into();
        self.script.changed.notify_one();
    }

    /// True when no step is left.
    pub fn is_exhausted(&self) -> bool {
        self.script.steps().is_empty()
    }

    /// Faults that came to pass.
    pub fn struck(&self) -> u64 {
        self.script.struck.load(Ordering::Relaxed)
    }

    /// The most that one connection carried since this was last asked.
    pub fn traffic(&self) -> Traffic {
        std::mem::take(&mut *self.script.largest.lock().unwrap())
    }
}

fn bound(port: u16) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
    socket
}

fn listen(port: u16) -> TcpListener {
    bound(port).listen(64).unwrap()
}

async fn accept(holder: TcpSocket, first: TcpListener, upstream: u16, script: Arc<Script>, mut random: StdRng) {
    let port = holder.local_addr().unwrap().port();
    let mut listener = Some(first);
    let mut connections = JoinSet::new();
    loop {
        while let Some(duration) = script.next_refusal() {
            listener = None;
            script.strike();
            tokio::time::sleep(duration).await;
        }
        let open = listener.get_or_insert_with(|| listen(port));
        tokio::select! {
            accepted = open.accept() => {
                if let Ok((stream, _)) = accepted {
                    let random = StdRng::from_rng(&mut random);
                    connections.spawn(serve(stream, upstream, script.next_fault(), script.clone(), random));
                }
            }
            () = script.changed.notified() => {}
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn serve(mut client: TcpStream, upstream: u16, fault: Option<Fault>, script: Arc<Script>, mut random: StdRng) {
    if fault == Some(Fault::Silent) {
        script.strike();
        drop(tokio::io::copy(&mut client, &mut tokio::io::sink()).await);
        return;
    }
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", upstream)).await else { return };
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let mut up = Pump::new(Direction::Up, fault, &script, StdRng::from_rng(&mut random));
    let mut down = Pump::new(Direction::Down, fault, &script, random);
    let ended = {
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = server.split();
        let mut up = pin!(up.run(client_read, server_write));
        let mut down = pin!(down.run(server_read, client_write));
        // Each direction ends by itself; a reset ends both.
        let (ended, other) = tokio::select! {
            ended = &mut up => (ended, Direction::Down),
            ended = &mut down => (ended, Direction::Up),
        };
        match (ended, other) {
            (Ended::Reset, _) => Ended::Reset,
            (Ended::Closed, Direction::Up) => up.await,
            (Ended::Closed, Direction::Down) => down.await,
        }
    };
    if ended == Ended::Reset {
        // With no time to linger, closing sends a reset.
        drop(client.set_zero_linger());
        drop(server.set_zero_linger());
    }
    let mut largest = script.largest.lock().unwrap();
    largest.up = largest.up.max(up.passed);
    largest.down = largest.down.max(down.passed);
    largest.messages = largest.messages.max(down.frames.messages());
    largest.rows = largest.rows.max(down.frames.rows());
}

/// How a direction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Closed,
    Reset,
}

/// One direction of one connection.
struct Pump<'a> {
    direction: Direction,
    fault: Option<Fault>,
    script: &'a Script,
    random: StdRng,
    frames: Frames,
    passed: u64,
}

/// What becomes of a chunk.
enum Fate {
    Pass,
    /// Only so many bytes of it, then this.
    Cut(usize, Cut),
}

#[derive(Clone, Copy)]
enum Cut {
    Reset,
    End,
    Swallow,
}

impl<'a> Pump<'a> {
    fn new(direction: Direction, fault: Option<Fault>, script: &'a Script, random: StdRng) -> Self {
        Self { direction, fault, script, random, frames: Frames::default(), passed: 0 }
    }

    async fn run(&mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> Ended {
        let mut buffer = vec![0; 8 * 1024];
        loop {
            let read = match from.read(&mut buffer).await {
                Ok(0) => {
                    drop(to.shutdown().await);
                    return Ended::Closed;
                }
                Ok(read) => read,
                Err(_) => return Ended::Reset,
            };
            let chunk = &mut buffer[..read];
            let fate = self.judge(chunk);
            let (length, cut) = match fate {
                Fate::Pass => (read, None),
                Fate::Cut(length, cut) => (length, Some(cut)),
            };
            if self.write(&chunk[..length], &mut to).await.is_err() {
                return Ended::Reset;
            }
            self.passed += length as u64;
            match cut {
                None => {}
                Some(Cut::Reset) => return Ended::Reset,
                Some(Cut::End) => {
                    drop(to.shutdown().await);
                    drop(tokio::io::copy(&mut from, &mut tokio::io::sink()).await);
                    return Ended::Closed;
                }
                Some(Cut::Swallow) => {
                    drop(tokio::io::copy(&mut from, &mut tokio::io::sink()).await);
                    drop(to.shutdown().await);
                    return Ended::Closed;
                }
            }
        }
    }

    /// Corrupts the chunk where it is due, and says how far it goes.
    fn judge(&mut self, chunk: &mut [u8]) -> Fate {
        let cut = |direction, after: u64, cut| {
            let due = direction == self.direction && after < self.passed + chunk.len() as u64;
            due.then(|| Fate::Cut((after.saturating_sub(self.passed)) as usize, cut))
        };
        let fate = match self.fault {
            Some(Fault::Reset { direction, after }) => cut(direction, after, Cut::Reset),
            Some(Fault::HalfOpen { direction, after }) => cut(direction, after, Cut::End),
            Some(Fault::Stall { direction, after }) => cut(direction, after, Cut::Swallow),
            _ => None,
        };
        if fate.is_some() {
            self.script.strike();
        }
        self.corrupt(chunk);
        fate.unwrap_or(Fate::Pass)
    }

    fn corrupt(&mut self, chunk: &mut [u8]) {
        for (position, byte) in chunk.iter_mut().enumerate() {
            let at = self.passed + position as u64;
            let place = match self.direction {
                Direction::Down => self.frames.step(*byte),
                Direction::Up => Place::Other,
            };
            let with = match self.fault {
                Some(Fault::Framing { message, byte, with }) => {
                    (place == Place::Header { message, byte }).then_some(with)
                }
                Some(Fault::RowLength { row, with }) => {
                    let last = matches!(place, Place::Header { byte: 4, .. });
                    (last && self.frames.is_row() && self.frames.rows() == row + 1).then_some(with)
                }
                Some(Fault::RowByte { row, byte, with }) => (place == Place::BehindKey { row, byte }).then_some(with),
                Some(Fault::AnyByte { direction, after, with }) => {
                    (direction == self.direction && at == after).then_some(with)
                }
                _ => None,
            };
            if let Some(with) = with {
                self.script.strike();
                *byte ^= with;
            }
        }
    }

    async fn write(&mut self, bytes: &[u8], to: &mut WriteHalf<'_>) -> io::Result<()> {
        let mut rest = bytes;
        match self.fault {
            Some(Fault::Latency { least, jitter }) => {
                self.script.strike();
                let late = least + self.random.random_range(0..=jitter);
                tokio::time::sleep(Duration::from_millis(late)).await;
            }
            Some(Fault::Slices { bytes }) => {
                self.script.strike();
                let alone = bytes.saturating_sub(self.passed).min(rest.len() as u64) as usize;
                for byte in &rest[..alone] {
                    to.write_all(std::slice::from_ref(byte)).await?;
                }
                rest = &rest[alone..];
            }
            _ => {}
        }
        to.write_all(rest).await
    }
}
