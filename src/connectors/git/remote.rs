//! A repository at a server: version 2 of Git's protocol over HTTP. Three requests:
//! what the server can do, where a branch is, and a pack of objects.
//!
//! `gix` has a client for this, made for a repository on the disk: it keeps
//! references, a configuration and what was fetched before, reads all references into
//! memory, and resolves a pack without a bound on its work. Of it we take the
//! crates of objects and hashes; the rest is here, asynchronous, and bounded.

mod answer;

use std::collections::HashSet;
use std::fs::File;
use std::time::{Duration, Instant};

use ::http::{HeaderValue, Method, Request, header};
use bytes::Bytes;
use gix_hash::ObjectId;
use secrecy::SecretString;
use tokio::io::AsyncWriteExt;

use super::pktline::{self, Line};
use super::{Git, scratch};
use crate::connectors::http::{accepted, check};
use crate::connectors::{Account, ConnectorError};
use crate::egress::http::{Address, Authorization, Body, Client, Response, Settings};
use crate::report::{Report, StageKind};
use answer::Lines;

/// Where the address is set.
pub(super) const URL: &str = "config.url";
/// Capabilities, or the references of one name.
const LARGEST_LISTING: u64 = 4 * 1024 * 1024;
const MOST_LINES: usize = 20_000;
/// What a server may say beside a pack: progress, signs of life.
const LARGEST_TALK: u64 = 8 * 1024 * 1024;
const NO_REPOSITORY: &str = "names no repository that this login may read";

/// What the server can do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Abilities {
    /// Leave out objects of some kinds.
    pub(super) filter: bool,
    /// Say where a branch without commits leads to.
    unborn: bool,
}

/// Where a branch or tag is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tip {
    /// The commit; none while the repository has none.
    pub(super) commit: Option<ObjectId>,
    /// Short name of the branch or tag.
    pub(super) name: String,
}

/// Which objects are wanted.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) objects: Vec<ObjectId>,
    /// Commits in a row; none for objects that are none.
    pub(super) depth: Option<u32>,
    /// What is left out.
    pub(super) filter: Option<String>,
    /// Most bytes of the pack.
    pub(super) limit: u64,
}

/// A pack as it came.
pub(super) struct Fetched {
    pub(super) file: File,
    /// Bytes of it.
    pub(super) length: u64,
    /// Commits whose parents the server was not asked for.
    pub(super) boundary: HashSet<ObjectId>,
}

/// A repository at a server.
pub(super) struct Remote {
    client: Client,
    address: Address,
    authorization: Option<Authorization>,
    /// For an answer to begin, listings included.
    patience: Duration,
}

impl Remote {
    pub(super) fn of(account: &Account<Git>) -> Result<Self, ConnectorError> {
        let Account { credentials, config, resources } = account;
        let address = config.address().ok_or_else(|| invalid(URL, "is not the address of a repository"))?;
        let authorization = match (&credentials.password, credentials.username.as_str()) {
            (None, "") => None,
            (None, username) => Authorization::basic(username, &SecretString::from(String::new())),
            (Some(password), "") => Authorization::basic("git", password),
            (Some(password), username) => Authorization::basic(username, password),
        };
        if authorization.is_none() && (credentials.password.is_some() || !credentials.username.is_empty()) {
            return Err(invalid("credentials", "has a character that a login cannot have"));
        }
        let settings = Settings { root_certificate: config.root_certificate.clone(), ..Settings::default() };
        let limits = resources.dialer.timeouts();
        let client = Client::new(resources.dialer.clone(), settings);
        Ok(Self { client, address, authorization, patience: limits.first_byte + limits.login })
    }

    /// What the server can do.
    pub(super) async fn greet(&self) -> Result<Abilities, ConnectorError> {
        let response = self.client.send(self.greeting()?).await?;
        self.within(self.abilities(accepted(response, "the repository")?)).await
    }

    /// The same for a test, stage by stage.
    pub(super) async fn greet_staged(&self, report: &mut Report) -> Result<Abilities, ConnectorError> {
        let response = check(&self.client, self.greeting()?, URL, self.patience, report).await?;
        let began = Instant::now();
        let outcome = self.within(self.abilities(response)).await;
        match &outcome {
            Ok(_) => {}
            Err(ConnectorError::Invalid { reason, .. }) => {
                let code = if reason == NO_REPOSITORY { "object_missing" } else { "not_a_repository" };
                let hint = "check `config.url`; it is the address that one clones from";
                report.failed(StageKind::Permission, None, began.elapsed(), code, hint);
            }
            Err(_) => {
                let hint = "the server did not say what it can do; try again";
                report.failed(StageKind::Permission, None, began.elapsed(), "unreachable", hint);
            }
        }
        outcome
    }

    /// Where a branch or tag is, or the default branch.
    pub(super) async fn tip(&self, abilities: Abilities, branch: Option<&str>) -> Result<Tip, ConnectorError> {
        let names = match branch {
            None => vec!["HEAD".to_owned()],
            Some(branch) if branch.starts_with("refs/") => vec![branch.to_owned()],
            Some(branch) => vec![format!("refs/heads/{branch}"), format!("refs/tags/{branch}")],
        };
        let mut message = command("ls-refs");
        message.extend_from_slice(b"0001");
        pktline::put("peel", &mut message);
        pktline::put("symrefs", &mut message);
        if abilities.unborn {
            pktline::put("unborn", &mut message);
        }
        for name in &names {
            pktline::put(&format!("ref-prefix {name}"), &mut message);
        }
        message.extend_from_slice(b"0000");
        let found = self.within(self.references(message, &names)).await?;
        let found = found.into_iter().flatten().next();
        found.ok_or_else(|| match branch {
            None => invalid("config.branch", "is needed, since the server shows no default branch"),
            Some(_) => invalid("config.branch", "names no branch or tag of the repository"),
        })
    }

    async fn references(&self, message: Vec<u8>, names: &[String]) -> Result<Vec<Option<Tip>>, ConnectorError> {
        let mut lines = Lines::of_list(self.ask(message).await?, LARGEST_LISTING);
        let mut found = vec![None; names.len()];
        for _ in 0..MOST_LINES {
            match lines.next().await? {
                Line::Data(line) => {
                    let Some((name, tip)) = answer::reference(&line)? else { continue };
                    if let Some(place) = names.iter().position(|wanted| *wanted == name) {
                        found[place] = Some(tip);
                    }
                }
                Line::Flush => return Ok(found),
                Line::Delimiter | Line::End => {}
            }
        }
        Err(odd("more references of one name than there can be"))
    }

    /// Has a pack of objects written to a file.
    pub(super) async fn fetch(&self, wanted: &Wanted) -> Result<Fetched, ConnectorError> {
        let (mut lines, boundary) = self.packed(wanted).await?;
        let file = scratch::file().map_err(unexpected)?;
        let mut file = tokio::fs::File::from_std(file);
        let mut length: u64 = 0;
        loop {
            let piece = match lines.next().await? {
                Line::Data(piece) => piece,
                Line::Flush => break,
                Line::Delimiter | Line::End => return Err(odd("a pack in sections")),
            };
            match answer::band(piece)? {
                Some(data) => {
                    length += data.len() as u64;
                    if length > wanted.limit {
                        return Err(too_large());
                    }
                    file.write_all(&data).await.map_err(unexpected)?;
                }
                None => lines.talk(LARGEST_TALK)?,
            }
        }
        file.flush().await.map_err(unexpected)?;
        Ok(Fetched { file: file.into_std().await, length, boundary })
    }

    /// Asks for a pack and answers once its first bytes are there, which proves that
    /// it may be read.
    pub(super) async fn probe(&self, wanted: &Wanted) -> Result<(), ConnectorError> {
        let (mut lines, _) = self.packed(wanted).await?;
        loop {
            match lines.next().await? {
                Line::Data(piece) => match answer::band(piece)? {
                    Some(data) if data.starts_with(b"PACK") => return Ok(()),
                    Some(_) => return Err(odd("a pack that does not begin as one")),
                    None => lines.talk(LARGEST_TALK)?,
                },
                Line::Flush | Line::Delimiter | Line::End => return Err(odd("no pack")),
            }
        }
    }

    /// The answer up to where the pack begins.
    async fn packed(&self, wanted: &Wanted) -> Result<(Lines, HashSet<ObjectId>), ConnectorError> {
        let mut message = command("fetch");
        message.extend_from_slice(b"0001");
        pktline::put("no-progress", &mut message);
        pktline::put("ofs-delta", &mut message);
        for id in &wanted.objects {
            pktline::put(&format!("want {id}"), &mut message);
        }
        if let Some(depth) = wanted.depth {
            pktline::put(&format!("deepen {depth}"), &mut message);
        }
        if let Some(filter) = &wanted.filter {
            pktline::put(&format!("filter {filter}"), &mut message);
        }
        pktline::put("done", &mut message);
        message.extend_from_slice(b"0000");
        // Each line of a pack has five bytes of its own.
        let most = wanted.limit.saturating_add(wanted.limit / 64).saturating_add(LARGEST_TALK);
        let mut lines = Lines::of_pack(self.ask(message).await?, most);
        let mut boundary = HashSet::new();
        for _ in 0..MOST_LINES {
            match lines.next().await? {
                Line::Data(line) if pktline::text(&line) == Some("packfile") => return Ok((lines, boundary)),
                Line::Data(line) => boundary.extend(answer::boundary(&line)?),
                Line::Delimiter => {}
                Line::Flush | Line::End => return Err(odd("no pack")),
            }
        }
        Err(odd("too much before a pack"))
    }

    async fn abilities(&self, response: Response) -> Result<Abilities, ConnectorError> {
        let status = response.status();
        if status.is_redirection() {
            return Err(invalid(URL, "is not where the repository is any more; give its new address"));
        }
        if !status.is_success() {
            return Err(invalid(URL, NO_REPOSITORY));
        }
        if !is_of(&response, "advertisement") {
            return Err(invalid(URL, "is not the address of a Git repository"));
        }
        answer::abilities(Lines::of_list(response, LARGEST_LISTING)).await
    }

    fn greeting(&self) -> Result<Request<Body>, ConnectorError> {
        self.request(Method::GET, "/info/refs?service=git-upload-pack", Vec::new())
    }

    async fn ask(&self, message: Vec<u8>) -> Result<Response, ConnectorError> {
        let response = self.client.send(self.request(Method::POST, "/git-upload-pack", message)?).await?;
        let response = accepted(response, "the repository")?;
        if response.status().is_success() && is_of(&response, "result") {
            Ok(response)
        } else {
            Err(odd("no answer to a command"))
        }
    }

    fn request(&self, method: Method, rest: &str, message: Vec<u8>) -> Result<Request<Body>, ConnectorError> {
        let mut request = Request::new(Body::new(Bytes::from(message)));
        let address = format!("{}{rest}", self.address.as_str().trim_end_matches('/'));
        *request.uri_mut() = address.parse().map_err(|_| invalid(URL, "is not the address of a repository"))?;
        let headers = request.headers_mut();
        headers.insert("git-protocol", HeaderValue::from_static("version=2"));
        if method == Method::POST {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-git-upload-pack-request"));
            headers.insert(header::ACCEPT, HeaderValue::from_static("application/x-git-upload-pack-result"));
        }
        *request.method_mut() = method;
        if let Some(authorization) = &self.authorization {
            authorization.apply(request.headers_mut());
        }
        Ok(request)
    }

    async fn within<T>(&self, answer: impl Future<Output = Result<T, ConnectorError>>) -> Result<T, ConnectorError> {
        let timed_out = || ConnectorError::Unreachable { code: "timed_out", cause: None };
        tokio::time::timeout(self.patience, answer).await.unwrap_or_else(|_| Err(timed_out()))
    }
}

fn command(name: &str) -> Vec<u8> {
    let mut message = Vec::new();
    pktline::put(&format!("command={name}"), &mut message);
    pktline::put(concat!("agent=tributary/", env!("CARGO_PKG_VERSION")), &mut message);
    pktline::put("object-format=sha1", &mut message);
    message
}

fn is_of(response: &Response, what: &str) -> bool {
    response.header("content-type").is_some_and(|kind| kind == format!("application/x-git-upload-pack-{what}"))
}

/// A setting that only the server could tell is wrong.
pub(super) fn invalid(field: &str, reason: &str) -> ConnectorError {
    ConnectorError::Invalid { field: field.to_owned(), reason: reason.to_owned() }
}

fn too_large() -> ConnectorError {
    invalid("config.maxRepositorySize", "is smaller than what the server sends")
}

/// The server does not keep to the protocol, or has broken off.
fn odd(what: &'static str) -> ConnectorError {
    ConnectorError::Unreachable { code: "unreachable", cause: Some(what.into()) }
}

fn unexpected(error: std::io::Error) -> ConnectorError {
    ConnectorError::Unexpected(Box::new(error))
}
