//! A request that goes on: one JSON object a line, each a message of the stream that
//! the service takes. What a line may be is bounded, how many there are is not: the
//! service takes them at its pace.

use std::error::Error;

use axum::body::Body as Answer;
use bytes::{Bytes, BytesMut};
use futures::stream;
use http::request::Parts;
use http::{HeaderValue, Response};
use http_body::Body;
use http_body_util::BodyExt as _;
use prost_reflect::prost::Message as _;
use tokio::sync::mpsc;

use crate::gateway::call::{self, Deadline, Grpc};
use crate::gateway::problem::Problem;
use crate::gateway::receive;
use crate::gateway::{Found, Inner};

/// Messages between the lines and the service.
const MESSAGES_IN_FLIGHT: usize = 16;

/// Calls a method with the lines of a body.
pub(super) async fn call<B>(
    inner: &Inner,
    grpc: Grpc,
    found: &Found,
    request: (&Parts, B),
    id: &HeaderValue,
    deadline: Deadline,
) -> Result<Response<Answer>, Problem>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (parts, body) = request;
    let route = &inner.table.routes()[found.route];
    let (sender, receiver) = mpsc::channel(MESSAGES_IN_FLIGHT);
    let messages = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|message: Bytes| (message, receiver))
    });
    let calling = call::client_streaming(grpc, &route.method, call::request(parts, id, deadline, messages));
    let mut calling = std::pin::pin!(calling);
    let mut feeding = std::pin::pin!(feed(inner, found, parts, body, sender));
    let both = async {
        let fed = tokio::select! {
            reply = &mut calling => return Ok(reply),
            fed = &mut feeding => fed,
        };
        // With a line that is wrong the call is dropped: had it seen an end, it would
        // believe that it had seen all.
        let sender = fed?;
        drop(sender);
        Ok(calling.as_mut().await)
    };
    let input = route.method.input();
    let reply = deadline.bound(both).await?.map_err(|(problem, _sender)| problem)?;
    inner.reply(route, parts, reply.map_err(|status| inner.failed(&status, &input))?)
}

/// Why the lines ended, with the sender: the stream must not end before the call.
type Broken = (Problem, mpsc::Sender<Bytes>);

/// Sends each line as a message; answers the sender once there are no more.
async fn feed<B>(
    inner: &Inner,
    found: &Found,
    parts: &Parts,
    body: B,
    sender: mpsc::Sender<Bytes>,
) -> Result<mpsc::Sender<Bytes>, Broken>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let body = std::pin::pin!(body);
    let mut lines =
        Lines { body, received: BytesMut::new(), searched: 0, limit: inner.settings.max_body, ended: false };
    let mut number = 0_u64;
    loop {
        let line = match lines.next().await {
            Ok(line) => line,
            Err(problem) => return Err((problem, sender)),
        };
        let is_last = line.is_none();
        // No line at all is one empty message, as no body is an empty object.
        if is_last && number > 0 {
            return Ok(sender);
        }
        number += 1;
        let message = match inner.bound(found, parts, &line.unwrap_or_default()) {
            Ok(message) => message.encode_to_vec(),
            Err(problem) => return Err((in_line(problem, number), sender)),
        };
        // Who does not listen any more has answered.
        if sender.send(message.into()).await.is_err() || is_last {
            return Ok(sender);
        }
    }
}

fn in_line(problem: Problem, number: u64) -> Problem {
    Problem { message: format!("line {number}: {}", problem.message), ..problem }
}

/// The lines of a body that are not blank.
struct Lines<'body, B> {
    body: std::pin::Pin<&'body mut B>,
    received: BytesMut,
    /// So many bytes of it hold no end of a line.
    searched: usize,
    limit: usize,
    ended: bool,
}

impl<B> Lines<'_, B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let found = self.received[self.searched..].iter().position(|byte| *byte == b'\n');
            let line = match found {
                Some(offset) => {
                    let line = self.received.split_to(self.searched + offset + 1);
                    self.searched = 0;
                    line
                }
                None if self.ended && self.received.is_empty() => return Ok(None),
                None if self.ended => {
                    self.searched = 0;
                    self.received.split()
                }
                None => {
                    self.searched = self.received.len();
                    if self.searched > self.limit {
                        return Err(receive::too_large(self.limit));
                    }
                    self.receive().await?;
                    continue;
                }
            };
            if line.len() > self.limit {
                return Err(receive::too_large(self.limit));
            }
            if !line.iter().all(u8::is_ascii_whitespace) {
                return Ok(Some(line.freeze()));
            }
        }
    }

    async fn receive(&mut self) -> Result<(), Problem> {
        match self.body.as_mut().frame().await {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    self.received.extend_from_slice(&data);
                }
                Ok(())
            }
            Some(Err(error)) => Err(receive::broken_off(error.into().as_ref())),
            None => {
                self.ended = true;
                Ok(())
            }
        }
    }
}
