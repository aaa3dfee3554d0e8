//! A session with the server: one command at a time, each answer read to its end
//! within bounds of lines, literals and time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_imap::Client;
use async_imap::imap_proto::{Outcome, Response, Status};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_util::either::Either;

use super::failure::Failure;
use super::guard::{FEW_LINES, Guarded, Limits, SMALL_LITERAL};
use crate::egress::Timeouts;
use crate::egress::tls::TlsStream;

/// Bytes that must come while we wait for as long as a server may be silent; one
/// that sends less lets them drip.
const LEAST_BYTES: u64 = 16 * 1024;

/// Plain or TLS.
pub(super) type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// A session.
pub(super) struct Wire {
    client: Client<Guarded<Stream>>,
    limits: Arc<Limits>,
    timeouts: Timeouts,
    commands: u32,
    /// Messages went away since the mailbox was opened.
    pub(super) has_expunged: bool,
}

impl Wire {
    /// A session over a stream on which the login is done.
    pub(super) fn new(stream: Guarded<Stream>, limits: Arc<Limits>, timeouts: Timeouts) -> Self {
        Self { client: Client::new(stream), limits, timeouts, commands: 0, has_expunged: false }
    }

    /// Runs a command whose answer is short.
    pub(super) async fn run(
        &mut self,
        command: &str,
        each: impl FnMut(&Response<'_>) -> Result<(), Failure> + Send,
    ) -> Result<(), Failure> {
        self.run_within(command, FEW_LINES, SMALL_LITERAL, each).await
    }

    /// Runs a command, and gives each response before its end to `each`.
    pub(super) async fn run_within(
        &mut self,
        command: &str,
        most_lines: u64,
        largest_literal: usize,
        mut each: impl FnMut(&Response<'_>) -> Result<(), Failure> + Send,
    ) -> Result<(), Failure> {
        self.commands += 1;
        let tag = format!("T{}", self.commands);
        self.limits.allow(most_lines, largest_literal);
        self.send(format!("{tag} {command}\r\n").as_bytes()).await?;
        let mut pace = Pace::new(self.limits.received());
        loop {
            let limit = if pace.is_first { self.timeouts.first_byte } else { self.timeouts.idle };
            let began = Instant::now();
            // What was read when the time is over stays in the client's buffer.
            let answer = tokio::time::timeout(limit.saturating_sub(pace.waited), self.client.read_response()).await;
            pace.waited += began.elapsed();
            if pace.waited >= limit {
                pace.judge(self.limits.received())?;
            }
            let said = match answer {
                Ok(Ok(Some(said))) => said,
                Ok(Ok(None)) => return Err(Failure::Gone(std::io::ErrorKind::UnexpectedEof)),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => continue,
            };
            match said.parsed() {
                Response::Done { tag: of, status, outcome } if of.0 == tag => return ended(status, outcome),
                Response::Data { status: Status::Bye, outcome } => {
                    return Err(match Failure::refused(text(outcome)) {
                        Failure::Busy => Failure::Busy,
                        _ => Failure::Gone(std::io::ErrorKind::ConnectionAborted),
                    });
                }
                Response::Done { .. } | Response::Continue(_) => {
                    return Err(Failure::Protocol("an answer is to no question of ours"));
                }
                Response::Expunge(_) | Response::Vanished { earlier: false, .. } => self.has_expunged = true,
                other => each(other)?,
            }
        }
    }

    /// Says good-bye, so that the server need not wonder.
    pub(super) async fn close(mut self) {
        let farewell = async {
            self.send(b"T0 LOGOUT\r\n").await?;
            Ok::<_, Failure>(self.client.get_mut().shutdown().await?)
        };
        // Nothing depends on it: the session is gone in any case.
        drop(tokio::time::timeout(Duration::from_secs(1), farewell).await);
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let stream = self.client.get_mut();
        let sending = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        match tokio::time::timeout(self.timeouts.idle, sending).await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(Failure::TimedOut),
        }
    }
}

/// How fast an answer comes. Only the time that we wait for it counts.
struct Pace {
    waited: Duration,
    received: u64,
    /// Nothing of the answer has come yet.
    is_first: bool,
}

impl Pace {
    fn new(received: u64) -> Self {
        Self { waited: Duration::ZERO, received, is_first: true }
    }

    /// At the end of each span of time.
    fn judge(&mut self, received: u64) -> Result<(), Failure> {
        let came = received - self.received;
        let least = if self.is_first { 1 } else { LEAST_BYTES };
        if came < least {
            return Err(Failure::TimedOut);
        }
        *self = Self { waited: Duration::ZERO, received, is_first: false };
        Ok(())
    }
}

fn ended(status: &Status, outcome: &Outcome<'_>) -> Result<(), Failure> {
    match status {
        Status::Ok => Ok(()),
        Status::No | Status::Bad => Err(Failure::refused(text(outcome))),
        Status::PreAuth | Status::Bye => Err(Failure::Protocol("an answer cannot be read")),
    }
}

/// Codes that the parser does not know are left in the text.
fn text<'a>(outcome: &'a Outcome<'_>) -> &'a str {
    outcome.information.as_deref().unwrap_or_default()
}
