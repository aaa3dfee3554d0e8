//! The processes that parse, as many at once as there are processors.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::frames;
use crate::connectors::RecordError;
use crate::connectors::documents::formats::{self, Content};
use crate::connectors::loading::Budget;

/// How long a document may take.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// A process ends after so many, and with it whatever a parser has kept.
const MOST_DOCUMENTS: u32 = 1_000;
/// The command of the program that parses.
pub(crate) const COMMAND: &str = "parse-documents";

/// The processes that parse documents, and the memory for what is on its way to
/// them. They end when it is dropped.
pub struct Parsers {
    program: PathBuf,
    time_limit: Duration,
    most: usize,
    budget: Budget,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Worker>,
    busy: usize,
}

impl Default for Parsers {
    /// This program itself parses. On Linux that is the one that runs, also when
    /// its file was replaced by a newer one since.
    fn default() -> Self {
        let program = if cfg!(target_os = "linux") {
            PathBuf::from("/proc/self/exe")
        } else {
            // Without it no document is parsed, and each one says so.
            std::env::current_exe().unwrap_or_default()
        };
        Self::by(program)
    }
}

impl Parsers {
    /// Another program, which must be a `tributary` of the same build.
    pub fn by(program: PathBuf) -> Self {
        let most = std::thread::available_parallelism().map_or(2, |number| number.get().clamp(2, 8));
        Self {
            program,
            time_limit: TIME_LIMIT,
            most,
            budget: Budget::default(),
            state: Mutex::default(),
            freed: Condvar::new(),
        }
    }

    /// The same with another limit for one document.
    pub fn within(self, time_limit: Duration) -> Self {
        Self { time_limit, ..self }
    }

    /// The same with other room for content on its way.
    pub fn with_budget(self, budget: Budget) -> Self {
        Self { budget, ..self }
    }

    /// The memory for content that is brought from sources.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Title and text of a file. Blocks.
    pub(in crate::connectors) fn content(&self, path: String, bytes: Bytes) -> Result<Content, RecordError> {
        let place = Place::take(self);
        // One that has ended while nobody used it is none.
        let idle = self.state().idle.pop();
        let mut worker = match idle.and_then(Worker::alive) {
            Some(worker) => worker,
            None => Worker::start(&self.program)
                .map_err(|_| failed("internal", "the parser of documents cannot be started"))?,
        };
        let outcome = worker.parse(path, bytes, self.time_limit);
        if outcome.is_ok() && worker.documents < MOST_DOCUMENTS {
            self.state().idle.push(worker);
        }
        drop(place);
        outcome.unwrap_or_else(Err)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What is kept here is sound whoever panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(code: &'static str, message: &str) -> RecordError {
    RecordError { code, message: message.to_owned() }
}

/// The right to have a process parse; given back when dropped.
struct Place<'a>(&'a Parsers);

impl<'a> Place<'a> {
    fn take(parsers: &'a Parsers) -> Self {
        let state = parsers.state();
        let freed = parsers.freed.wait_while(state, |state| state.busy >= parsers.most);
        freed.unwrap_or_else(PoisonError::into_inner).busy += 1;
        Self(parsers)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.state().busy -= 1;
        self.0.freed.notify_one();
    }
}

type Reply = io::Result<Result<Content, RecordError>>;

/// A process, and the thread that talks to it.
struct Worker {
    child: Child,
    requests: Sender<(String, Bytes)>,
    replies: Receiver<Reply>,
    documents: u32,
}

impl Worker {
    fn start(program: &PathBuf) -> io::Result<Self> {
        let mut command = Command::new(program);
        // Nothing of ours but how the allocator is set: no key, no password.
        let settings = |(name, _): &(OsString, OsString)| name.to_string_lossy().starts_with("MIMALLOC_");
        command.arg(COMMAND).env_clear().envs(std::env::vars_os().filter(settings));
        command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let (Some(mut input), Some(mut output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let (requests, asked) = channel::<(String, Bytes)>();
        let (answer, replies) = channel();
        let talk = move || {
            while let Ok((path, content)) = asked.recv() {
                let written = frames::write_request(&mut input, &path, &content);
                drop(content);
                let reply = written.and_then(|()| frames::read_reply(&mut output));
                let is_over = reply.is_err();
                if answer.send(reply).is_err() || is_over {
                    break;
                }
            }
        };
        let worker = Self { child, requests, replies, documents: 0 };
        std::thread::Builder::new().name("file-parser".to_owned()).spawn(talk)?;
        Ok(worker)
    }

    fn alive(mut self) -> Option<Self> {
        let is_running = self.child.try_wait().is_ok_and(|ended| ended.is_none());
        is_running.then_some(self)
    }

    /// The outer error is of a process that cannot be used again.
    fn parse(
        &mut self,
        path: String,
        content: Bytes,
        limit: Duration,
    ) -> Result<Result<Content, RecordError>, RecordError> {
        self.documents += 1;
        if self.requests.send((path, content)).is_err() {
            return Err(formats::unparsable());
        }
        match self.replies.recv_timeout(limit) {
            Ok(Ok(outcome)) => Ok(outcome),
            Err(RecvTimeoutError::Timeout) => Err(failed("timed_out", "the file takes too long to parse")),
            // It crashed, or said something that is no answer.
            Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => Err(formats::unparsable()),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may be stuck in a document.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
