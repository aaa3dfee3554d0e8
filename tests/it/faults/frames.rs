//! Where in PostgreSQL's protocol a byte of the server stands.

/// Where a byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Type (0) or length (1 to 4) of the nth message.
    Header { message: u64, byte: usize },
    /// The nth row of all tables; so many bytes behind its second tab, where no
    /// place and no key can be any more.
    BehindKey { row: u64, byte: u64 },
    /// Anywhere else.
    Other,
}

/// Follows the plain stream of a server, byte by byte.
#[derive(Default)]
pub struct Frames {
    header: [u8; 5],
    had: usize,
    left: u64,
    messages: u64,
    rows: u64,
    tabs: u32,
    behind_key: u64,
}

impl Frames {
    /// Messages that have begun.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Rows that have begun.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Takes the next byte.
    pub fn step(&mut self, byte: u8) -> Place {
        if self.had < 5 {
            let place = Place::Header { message: self.messages, byte: self.had };
            self.header[self.had] = byte;
            self.had += 1;
            if self.had == 5 {
                let [_, length @ ..] = self.header;
                self.left = u64::from(u32::from_be_bytes(length)).saturating_sub(4);
                self.messages += 1;
                self.tabs = 0;
                self.behind_key = 0;
                self.rows += u64::from(self.is_row());
                self.end_if_done();
            }
            return place;
        }
        let place = if self.is_row() && self.tabs == 2 {
            self.behind_key += 1;
            Place::BehindKey { row: self.rows - 1, byte: self.behind_key - 1 }
        } else {
            self.tabs += u32::from(byte == b'\t');
            Place::Other
        };
        self.left -= 1;
        self.end_if_done();
        place
    }

    /// The message under way is a row (CopyData).
    pub fn is_row(&self) -> bool {
        self.header[0] == b'd'
    }

    fn end_if_done(&mut self) {
        if self.left == 0 {
            self.had = 0;
        }
    }
}
