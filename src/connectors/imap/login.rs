//! Everything until the login is done, line by line. The parser is not asked for it:
//! it writes what is sent into its trace, and reads ahead, which must not happen
//! before TLS begins.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use super::failure::Failure;
use super::settings::{Authentication, Credentials};

/// Longest line; those of real servers are below 2 KiB.
const LONGEST_LINE: usize = 8 * 1024;
/// Lines of one answer.
const MOST_LINES: usize = 100;

/// Why there is no login.
#[derive(Debug)]
pub(super) enum NoLogin {
    /// The server takes no password over a connection that anybody can read.
    ClearText,
    /// The server does not know this way to log in.
    Method,
    /// The server refused user name and password.
    Refused,
    /// Anything else.
    Failed(Failure),
}

impl From<Failure> for NoLogin {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<std::io::Error> for NoLogin {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// Waits for the server to introduce itself. One that says that we are logged in
/// already is not believed.
pub(super) async fn greeting<S: AsyncRead + Unpin>(stream: &mut S) -> Result<(), Failure> {
    let line = line(stream).await?;
    match line.strip_prefix("* ").map(first_word).as_deref() {
        Some("OK") => Ok(()),
        Some("BYE") => Err(refused(&line["* BYE".len()..])),
        _ => Err(Failure::Protocol("what answers is no IMAP server")),
    }
}

/// A farewell is about us only where its code says so.
fn refused(text: &str) -> Failure {
    match Failure::refused(text) {
        Failure::Refused(_) => Failure::Gone(std::io::ErrorKind::ConnectionRefused),
        other => other,
    }
}

/// Asks for TLS. When it returns, nothing was read beyond the answer.
pub(super) async fn start_tls<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> Result<(), Failure> {
    send(stream, b"S1 STARTTLS\r\n").await?;
    match said(stream, "S1", |_| {}).await? {
        Said::Done(outcome) => outcome,
        Said::Continue => Err(Failure::Protocol("the server does not answer to STARTTLS")),
    }
}

/// Logs in.
pub(super) async fn log_in<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    credentials: &Credentials,
    authentication: Authentication,
) -> Result<(), NoLogin> {
    let able = abilities(stream).await?;
    let is_able = |word: &str| able.contains(word);
    let (username, password) = (&credentials.username, credentials.password.expose_secret());
    match authentication {
        Authentication::Xoauth2 if is_able("AUTH=XOAUTH2") => {
            let answer = Zeroizing::new(format!("user={username}\x01auth=Bearer {password}\x01\x01"));
            authenticate(stream, "XOAUTH2", &answer, is_able("SASL-IR")).await
        }
        Authentication::Xoauth2 => Err(NoLogin::Method),
        Authentication::Password if is_able("AUTH=PLAIN") => {
            let answer = Zeroizing::new(format!("\0{username}\0{password}"));
            authenticate(stream, "PLAIN", &answer, is_able("SASL-IR")).await
        }
        Authentication::Password if is_able("LOGINDISABLED") => Err(NoLogin::ClearText),
        Authentication::Password => by_login(stream, username, password).await,
    }
}

async fn abilities<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> Result<BTreeSet<String>, NoLogin> {
    send(stream, b"S2 CAPABILITY\r\n").await?;
    let mut able = BTreeSet::new();
    let note = |line: &str| {
        let mut words = line.split(' ').skip(1);
        if words.next().is_some_and(|word| word.eq_ignore_ascii_case("CAPABILITY")) {
            able.extend(words.map(str::to_ascii_uppercase));
        }
    };
    match said(stream, "S2", note).await? {
        Said::Done(outcome) => outcome?,
        Said::Continue => return Err(Failure::Protocol("what answers is no IMAP server").into()),
    }
    Ok(able)
}

/// `AUTHENTICATE`, with the answer at once where the server takes it so.
async fn authenticate<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    mechanism: &str,
    answer: &str,
    at_once: bool,
) -> Result<(), NoLogin> {
    let answer = Zeroizing::new(STANDARD.encode(answer));
    let mut command = Zeroizing::new(format!("S3 AUTHENTICATE {mechanism}"));
    if at_once {
        command.push(' ');
        command.push_str(&answer);
    }
    command.push_str("\r\n");
    send(stream, command.as_bytes()).await?;
    let mut next = (!at_once).then(|| Zeroizing::new(format!("{}\r\n", *answer)));
    // A challenge after the answer tells why it is refused; an empty line agrees.
    for _ in 0..3 {
        match said(stream, "S3", |_| {}).await? {
            Said::Done(outcome) => return judged(outcome),
            Said::Continue => match next.take() {
                Some(answer) => send(stream, answer.as_bytes()).await?,
                None => send(stream, b"\r\n").await?,
            },
        }
    }
    Err(Failure::Protocol("the server does not come to the end of the login").into())
}

/// `LOGIN`, with literals, which can hold any byte.
async fn by_login<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    username: &str,
    password: &str,
) -> Result<(), NoLogin> {
    let mut part = Zeroizing::new(format!("S3 LOGIN {{{}}}\r\n", username.len()));
    for next in
        [Zeroizing::new(format!("{username} {{{}}}\r\n", password.len())), Zeroizing::new(format!("{password}\r\n"))]
    {
        send(stream, part.as_bytes()).await?;
        if let Said::Done(outcome) = said(stream, "S3", |_| {}).await? {
            return judged(outcome);
        }
        part = next;
    }
    send(stream, part.as_bytes()).await?;
    match said(stream, "S3", |_| {}).await? {
        Said::Done(outcome) => judged(outcome),
        Said::Continue => Err(Failure::Protocol("the server does not come to the end of the login").into()),
    }
}

fn judged(outcome: Result<(), Failure>) -> Result<(), NoLogin> {
    match outcome {
        Ok(()) => Ok(()),
        Err(Failure::Refused(_)) => Err(NoLogin::Refused),
        Err(other) => Err(other.into()),
    }
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> Result<(), Failure> {
    stream.write_all(bytes).await?;
    Ok(stream.flush().await?)
}

/// What ends an answer, or asks for more.
enum Said {
    Continue,
    Done(Result<(), Failure>),
}

async fn said<S: AsyncRead + Unpin>(stream: &mut S, tag: &str, mut each: impl FnMut(&str)) -> Result<Said, Failure> {
    for _ in 0..MOST_LINES {
        let line = line(stream).await?;
        if line.starts_with('+') {
            return Ok(Said::Continue);
        }
        if let Some(rest) = line.strip_prefix(tag).and_then(|rest| rest.strip_prefix(' ')) {
            let text = rest.split_once(' ').map_or("", |(_, text)| text);
            return match first_word(rest).as_str() {
                "OK" => Ok(Said::Done(Ok(()))),
                "NO" | "BAD" => Ok(Said::Done(Err(Failure::refused(text)))),
                _ => Err(Failure::Protocol("an answer cannot be read")),
            };
        }
        let Some(rest) = line.strip_prefix("* ") else { return Err(Failure::Protocol("an answer cannot be read")) };
        if first_word(rest) == "BYE" {
            return Err(refused(&rest["BYE".len()..]));
        }
        each(&line);
    }
    Err(Failure::Protocol("the server does not come to the end of the login"))
}

fn first_word(text: &str) -> String {
    text.split(' ').next().unwrap_or_default().to_ascii_uppercase()
}

/// One line without its end, read byte by byte: what follows it may be for others.
async fn line<S: AsyncRead + Unpin>(stream: &mut S) -> Result<String, Failure> {
    let mut line = Vec::new();
    loop {
        match stream.read_u8().await? {
            b'\n' => break,
            byte => line.push(byte),
        }
        if line.len() > LONGEST_LINE {
            return Err(Failure::Protocol("what answers is no IMAP server"));
        }
    }
    while line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use tokio::io::duplex;

    use super::*;
    use crate::tests::{fuzz, worded};

    fn credentials() -> Credentials {
        serde_json::from_value(json!({"host": "h", "port": 143, "username": "ada", "password": "pässword"})).unwrap()
    }

    /// Logs in to a script: what is to be heard, then what is to be said.
    async fn scripted(authentication: Authentication, script: &[(&str, &str)]) -> Result<(), NoLogin> {
        let (mut ours, mut theirs) = duplex(1 << 16);
        let script: Vec<(String, String)> =
            script.iter().map(|(heard, said)| ((*heard).to_owned(), (*said).to_owned())).collect();
        let server = tokio::spawn(async move {
            for (heard, said) in script {
                let mut bytes = vec![0; heard.len()];
                theirs.read_exact(&mut bytes).await.unwrap();
                assert_eq!(String::from_utf8(bytes).unwrap(), heard);
                theirs.write_all(said.as_bytes()).await.unwrap();
            }
            theirs
        });
        let outcome = log_in(&mut ours, &credentials(), authentication).await;
        server.await.unwrap();
        outcome
    }

    const ASK: &str = "S2 CAPABILITY\r\n";

    #[tokio::test]
    async fn each_way_to_log_in_is_spoken() {
        let plain = STANDARD.encode("\0ada\0pässword");
        let at_once = format!("S3 AUTHENTICATE PLAIN {plain}\r\n");
        let able = "* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN\r\nS2 OK\r\n";
        scripted(Authentication::Password, &[(ASK, able), (&at_once, "S3 OK in\r\n")]).await.unwrap();
        let answer = format!("{plain}\r\n");
        let able = "* CAPABILITY IMAP4rev1 auth=plain LOGINDISABLED\r\nS2 OK\r\n";
        let script = [(ASK, able), ("S3 AUTHENTICATE PLAIN\r\n", "+ \r\n"), (&answer, "* X\r\nS3 OK in\r\n")];
        scripted(Authentication::Password, &script).await.unwrap();
        let able = "* CAPABILITY IMAP4rev1\r\nS2 OK\r\n";
        let script =
            [(ASK, able), ("S3 LOGIN {3}\r\n", "+ \r\n"), ("ada {9}\r\n", "+ \r\n"), ("pässword\r\n", "S3 OK\r\n")];
        scripted(Authentication::Password, &script).await.unwrap();
        let token = STANDARD.encode("user=ada\x01auth=Bearer pässword\x01\x01");
        let command = format!("S3 AUTHENTICATE XOAUTH2 {token}\r\n");
        let able = "* CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2\r\nS2 OK\r\n";
        let script = [(ASK, able), (&command, "+ eyJ9\r\n"), ("\r\n", "S3 NO no\r\n")];
        assert!(matches!(scripted(Authentication::Xoauth2, &script).await, Err(NoLogin::Refused)));
    }

    #[tokio::test]
    async fn refusals_are_told_apart() {
        let closed = "* CAPABILITY IMAP4rev1 LOGINDISABLED\r\nS2 OK\r\n";
        assert!(matches!(scripted(Authentication::Password, &[(ASK, closed)]).await, Err(NoLogin::ClearText)));
        assert!(matches!(scripted(Authentication::Xoauth2, &[(ASK, closed)]).await, Err(NoLogin::Method)));
        let able = "* CAPABILITY IMAP4rev1\r\nS2 OK\r\n";
        let busy = [(ASK, able), ("S3 LOGIN {3}\r\n", "S3 NO [UNAVAILABLE] later\r\n")];
        assert!(matches!(scripted(Authentication::Password, &busy).await, Err(NoLogin::Failed(Failure::Busy))));
        let bye = [(ASK, able), ("S3 LOGIN {3}\r\n", "* BYE go away\r\n")];
        assert!(matches!(scripted(Authentication::Password, &bye).await, Err(NoLogin::Failed(Failure::Gone(_)))));
    }

    #[test]
    fn any_answer_ends_the_login_somehow() {
        let words = &[
            "* ",
            "S1 ",
            "S2 ",
            "S3 ",
            "OK",
            "NO",
            " BAD",
            "BYE",
            "+",
            "+ \r\n",
            "\r\n",
            "CAPABILITY",
            " AUTH=PLAIN",
            "[",
            "UNAVAILABLE]",
            "PREAUTH",
            "é",
            "\n",
        ];
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        fuzz("imap login", worded(words), |text| {
            runtime.block_on(async {
                let (mut ours, mut theirs) = duplex(1 << 16);
                theirs.write_all(text.as_bytes()).await.unwrap();
                theirs.shutdown().await.unwrap();
                if greeting(&mut ours).await.is_ok() && start_tls(&mut ours).await.is_ok() {
                    drop(log_in(&mut ours, &credentials(), Authentication::Password).await);
                }
            });
            prop_assert!(true);
            Ok(())
        });
    }
}
