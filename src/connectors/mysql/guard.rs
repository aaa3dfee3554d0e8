//! What a server may say, and when. The driver gives its password in clear text to
//! whoever asks over its socket, sends files to who asks for them, and takes memory
//! for whatever length it is told; a server is somebody else's. So each packet is
//! looked at on its way, by its place in the conversation:
//!
//! * Until the login is done, packets are small and few; the password is shown only
//!   under TLS, and methods that we do not know are refused.
//! * Afterwards something is said only as an answer, of the shape that answers to our
//!   statements have, and no packet is larger than a row may be.

/// Largest packet before the login is done; those of real servers are below 1 KiB.
const LARGEST_AT_LOGIN: usize = 16 * 1024;
/// Packets of a login; real ones have five.
const MOST_AT_LOGIN: usize = 16;
/// Largest packet that is no row.
const LARGEST_ANSWER: usize = 64 * 1024;
/// Largest row.
pub(super) const LARGEST_ROW: usize = 8 << 20;
/// What servers allow a table.
const MOST_COLUMNS: u64 = 4096;
/// Names and types of the columns of one answer.
const MOST_DEFINITIONS: usize = 2 << 20;
/// A shorter packet of this kind ends something, a longer one is a row.
const LONGEST_END: usize = 8;

const OK: u8 = 0x00;
const MORE_DATA: u8 = 0x01;
const FILE: u8 = 0xfb;
const END: u8 = 0xfe;
const ERROR: u8 = 0xff;

const QUIT: u8 = 0x01;
const QUERY: u8 = 0x03;

/// What a server may not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Breach {
    /// It wants the password as it is, over a connection that anybody can read.
    #[error("the server asks for the password in clear text, without TLS")]
    ClearText,
    /// It wants another proof of who we are than we can give.
    #[error("the server asks for a method of login that is not supported")]
    Method,
    /// It wants a file of ours.
    #[error("the server asks for a file of this machine")]
    File,
    /// The length of a packet is impossible, or above all limits.
    #[error("the server sent a packet of an impossible length")]
    Length,
    /// More was said than was asked.
    #[error("the server does not come to an end")]
    Talk,
    /// Anything else that no server says.
    #[error("the server does not keep to the protocol")]
    Protocol,
}

impl Breach {
    /// The login cannot be done with such a server, now or later.
    pub(super) fn is_of_login(self) -> bool {
        matches!(self, Self::ClearText | Self::Method)
    }

    /// One line that says what to do.
    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::ClearText => {
                "the server asks for the password itself, which is only sent under TLS; set `config.sslMode` to \
                 `require` or `verify-full`"
            }
            Self::Method => {
                "the account logs in by a method that is not supported; give it caching_sha2_password or \
                 mysql_native_password"
            }
            Self::File => "the server asks for files of this machine, which it does not get; do not use it",
            Self::Length | Self::Talk | Self::Protocol => {
                "what answers does not keep to the protocol; check that `credentials.host` and `credentials.port` \
                 are those of a MySQL or MariaDB"
            }
        }
    }
}

impl From<Breach> for std::io::Error {
    fn from(breach: Breach) -> Self {
        Self::other(breach)
    }
}

/// Where the conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Login,
    /// It is our turn.
    Idle,
    /// A statement was sent.
    Answer,
    /// So many columns are still to be described.
    Columns(u64),
    ColumnsEnd,
    Rows,
    Over,
}

/// Follows one conversation.
#[derive(Debug)]
pub(super) struct Guard {
    is_encrypted: bool,
    phase: Phase,
    /// Packets of the login, bytes of definitions.
    said: usize,
}

impl Guard {
    /// Of a conversation after its greeting.
    pub(super) fn new(is_encrypted: bool) -> Self {
        Self { is_encrypted, phase: Phase::Login, said: 0 }
    }

    /// True until the server lets us in.
    pub(super) fn is_at_login(&self) -> bool {
        self.phase == Phase::Login
    }

    /// True while it is our turn.
    pub(super) fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }

    /// Largest packet that the server may send now.
    pub(super) fn largest(&self) -> usize {
        match self.phase {
            Phase::Login => LARGEST_AT_LOGIN,
            Phase::Rows => LARGEST_ROW,
            Phase::Idle | Phase::Answer | Phase::Columns(_) | Phase::ColumnsEnd | Phase::Over => LARGEST_ANSWER,
        }
    }

    /// True when a packet that begins so is a row: it may pass as it comes.
    pub(super) fn is_row(&self, length: usize, first: u8) -> bool {
        self.phase == Phase::Rows && first != ERROR && !(first == END && length <= LONGEST_END)
    }

    /// Takes note of what the driver says, by the first byte.
    pub(super) fn hear(&mut self, command: u8) -> Result<(), Breach> {
        self.phase = match (self.phase, command) {
            (Phase::Idle, QUERY) => Phase::Answer,
            (_, QUIT) => Phase::Over,
            _ => return Err(Breach::Protocol),
        };
        Ok(())
    }

    /// Judges a whole packet of the server that is no row.
    pub(super) fn judge(&mut self, body: &[u8]) -> Result<(), Breach> {
        let first = *body.first().ok_or(Breach::Length)?;
        self.phase = match (self.phase, first) {
            (Phase::Login, _) => self.judge_login(first, body)?,
            // The session was ended by somebody else.
            (Phase::Idle, ERROR) => Phase::Over,
            (Phase::Idle | Phase::Over, _) => return Err(Breach::Talk),
            (_, ERROR) => judge_error(body)?,
            (Phase::Answer, OK) => end_of_answer(status_of_ok(body))?,
            (Phase::Answer, FILE) => return Err(Breach::File),
            (Phase::Answer, _) => {
                self.said = 0;
                match lone_number(body) {
                    Some(columns) if (1..=MOST_COLUMNS).contains(&columns) => Phase::Columns(columns),
                    Some(_) | None => return Err(Breach::Protocol),
                }
            }
            (Phase::Columns(left), _) => {
                self.said += body.len();
                if self.said > MOST_DEFINITIONS || !is_definition(body) {
                    return Err(Breach::Protocol);
                }
                if left > 1 { Phase::Columns(left - 1) } else { Phase::ColumnsEnd }
            }
            (Phase::ColumnsEnd, END) if body.len() <= LONGEST_END => Phase::Rows,
            (Phase::Rows, END) if body.len() <= LONGEST_END => end_of_answer(body.get(3..5))?,
            (Phase::ColumnsEnd | Phase::Rows, _) => return Err(Breach::Protocol),
        };
        Ok(())
    }

    fn judge_login(&mut self, first: u8, body: &[u8]) -> Result<Phase, Breach> {
        self.said += 1;
        if self.said > MOST_AT_LOGIN {
            return Err(Breach::Talk);
        }
        match first {
            OK => return Ok(Phase::Idle),
            ERROR => return judge_error(body).map(|_| Phase::Over),
            END => {
                let mut parts = body[1..].splitn(2, |byte| *byte == 0);
                let (method, challenge) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                match method {
                    b"mysql_native_password" | b"caching_sha2_password" if (20..=21).contains(&challenge.len()) => {}
                    b"mysql_clear_password" if self.is_encrypted => {}
                    b"mysql_clear_password" => return Err(Breach::ClearText),
                    _ => return Err(Breach::Method),
                }
            }
            MORE_DATA => match body {
                // The password was known by its hash.
                [_, 3] => {}
                [_, 4] if self.is_encrypted => {}
                [_, 4] => return Err(Breach::ClearText),
                _ => return Err(Breach::Protocol),
            },
            _ => return Err(Breach::Protocol),
        }
        Ok(Phase::Login)
    }
}

/// An error ends an answer. One kind is none, but tells of progress, without end if
/// need be; nobody asked for it.
fn judge_error(body: &[u8]) -> Result<Phase, Breach> {
    match body.get(1..3) {
        Some([0xff, 0xff]) | None => Err(Breach::Protocol),
        Some(_) => Ok(Phase::Idle),
    }
}

/// One statement has one answer.
fn end_of_answer(status: Option<&[u8]>) -> Result<Phase, Breach> {
    const MORE_RESULTS: u8 = 8;
    match status {
        Some([low, _]) if low & MORE_RESULTS == 0 => Ok(Phase::Idle),
        Some(_) | None => Err(Breach::Protocol),
    }
}

fn status_of_ok(body: &[u8]) -> Option<&[u8]> {
    let mut rest = body.get(1..)?;
    number(&mut rest)?;
    number(&mut rest)?;
    rest.get(..2)
}

/// Six names, then what is fixed.
fn is_definition(body: &[u8]) -> bool {
    let mut rest = body;
    for _ in 0..6 {
        let Some(length) = number(&mut rest) else { return false };
        let Some(after) = usize::try_from(length).ok().and_then(|length| rest.get(length..)) else { return false };
        rest = after;
    }
    rest.len() >= 13 && rest[0] == 12
}

/// A number that is all of a packet.
fn lone_number(body: &[u8]) -> Option<u64> {
    let mut rest = body;
    number(&mut rest).filter(|_| rest.is_empty())
}

/// A number of one, three, four or nine bytes.
fn number(rest: &mut &[u8]) -> Option<u64> {
    let (first, after) = rest.split_first()?;
    let width = match first {
        0..=0xfa => {
            *rest = after;
            return Some(u64::from(*first));
        }
        0xfc => 2,
        0xfd => 3,
        0xfe => 8,
        0xfb | 0xff => return None,
    };
    let (digits, after) = after.split_at_checked(width)?;
    *rest = after;
    let mut bytes = [0; 8];
    bytes[..width].copy_from_slice(digits);
    Some(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LET_IN: &[u8] = &[OK, 0, 0, 2, 0, 0, 0];
    const NO_MORE: &[u8] = &[END, 0, 0, 2, 0];

    fn definition() -> Vec<u8> {
        [&b"\x03def\x00\x00\x00\x01a\x00\x0c\x2d\x00"[..], &[0; 10]].concat()
    }

    fn switch(method: &[u8], challenge: usize) -> Vec<u8> {
        [&[END][..], method, &[0], &vec![b'x'; challenge], &[0]].concat()
    }

    /// A guard of a session that was let in and has asked something.
    fn asked() -> Guard {
        let mut guard = Guard::new(false);
        guard.judge(LET_IN).unwrap();
        guard.hear(QUERY).unwrap();
        guard
    }

    #[test]
    fn an_ordinary_conversation_passes() {
        let mut guard = Guard::new(false);
        guard.judge(&switch(b"caching_sha2_password", 20)).unwrap();
        guard.judge(&[MORE_DATA, 3]).unwrap();
        guard.judge(LET_IN).unwrap();
        for _ in 0..2 {
            guard.hear(QUERY).unwrap();
            guard.judge(&[2]).unwrap();
            guard.judge(&definition()).unwrap();
            guard.judge(&definition()).unwrap();
            guard.judge(NO_MORE).unwrap();
            assert!(guard.is_row(9, END) && guard.is_row(2, b'x') && guard.is_row(1, FILE));
            assert!(!guard.is_row(5, END) && !guard.is_row(30, ERROR));
            guard.judge(NO_MORE).unwrap();
        }
        guard.hear(QUERY).unwrap();
        guard.judge(b"\xff\x7a\x04#42S02no such table").unwrap();
        guard.hear(QUIT).unwrap();
    }

    #[test]
    fn the_password_is_shown_only_under_tls() {
        for (packet, is_encrypted, outcome) in [
            (switch(b"mysql_clear_password", 0), false, Err(Breach::ClearText)),
            (switch(b"mysql_clear_password", 0), true, Ok(())),
            (vec![MORE_DATA, 4], false, Err(Breach::ClearText)),
            (vec![MORE_DATA, 4], true, Ok(())),
            (switch(b"mysql_old_password", 8), true, Err(Breach::Method)),
            (switch(b"sha256_password", 20), true, Err(Breach::Method)),
            (switch(b"parsec", 32), true, Err(Breach::Method)),
            (switch(b"client_ed25519", 32), true, Err(Breach::Method)),
            (switch(b"caching_sha2_password", 20), false, Ok(())),
            (switch(b"mysql_native_password", 3), false, Err(Breach::Method)),
            (vec![END], false, Err(Breach::Method)),
            (vec![MORE_DATA], true, Err(Breach::Protocol)),
        ] {
            assert_eq!(Guard::new(is_encrypted).judge(&packet), outcome, "{packet:?}");
        }
    }

    #[test]
    fn what_was_not_asked_for_is_refused() {
        assert_eq!(asked().judge(b"\xfb/etc/passwd"), Err(Breach::File));
        for answer in [&[0][..], &[0xfc, 1, 0x10], &[0xfe, 255, 255, 255, 255, 255, 255, 255, 255], &[2, 2], &[FILE]] {
            assert!(asked().judge(answer).is_err(), "{answer:?}");
        }
        assert_eq!(asked().judge(&[OK, 0, 0, 8, 0, 0, 0]), Err(Breach::Protocol), "more results");
        assert_eq!(asked().judge(b"\xff\xff\xff\x01\x02\x03\x10\x00\x00\x05step"), Err(Breach::Protocol), "progress");
        let mut idle = Guard::new(false);
        idle.judge(LET_IN).unwrap();
        assert_eq!(idle.judge(LET_IN), Err(Breach::Talk));
        let mut endless = Guard::new(false);
        assert!((0..100).any(|_| endless.judge(&[MORE_DATA, 3]) == Err(Breach::Talk)));
    }

    #[test]
    fn definitions_are_whole_and_have_an_end() {
        let mut guard = asked();
        guard.judge(&[1]).unwrap();
        assert_eq!(guard.judge(&definition()[..12]), Err(Breach::Protocol));
        let mut guard = asked();
        guard.judge(&[0xfc, 0, 0x10]).unwrap();
        let long = [&b"\x03def\x00\x00\x00\xfc\x00\xf0"[..], &vec![b'n'; 0xf000], b"\x00\x0c", &[0; 12]].concat();
        assert!((0..4096).any(|_| guard.judge(&long) == Err(Breach::Protocol)));
    }

    #[test]
    fn no_packet_is_one_too_many() {
        let known =
            vec![LET_IN.to_vec(), vec![2], definition(), NO_MORE.to_vec(), switch(b"mysql_native_password", 20)];
        crate::tests::fuzz("mysql packets", crate::tests::tampered(known), |bytes| {
            for mut guard in [Guard::new(false), Guard::new(true), asked()] {
                let _ = guard.judge(&bytes);
                let _ = guard.judge(&bytes);
            }
            Ok(())
        });
    }
}
