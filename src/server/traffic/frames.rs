//! What frames of HTTP/2 cost a peer. Some make work and carry nothing: pings,
//! settings, resets, priorities, empty data. A peer has a budget of them that grows
//! again; who has used it up is not read from until it has. Nothing is refused, so
//! a client with a burst only waits a little, and a flood comes at our pace.

use std::time::{Duration, Instant};

/// Points that a connection begins with, and has at most.
const BUDGET: u32 = 20_000;
/// Points that come back in a second.
const BACK: u32 = 20_000;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Length, kind, flags and stream of a frame.
const HEAD: usize = 9;
const END_STREAM: u8 = 1;

/// Points of a frame with this head.
fn cost(head: &[u8; HEAD]) -> u32 {
    let is_empty = head[..3] == [0, 0, 0];
    match head[3] {
        // DATA is bounded by the window, unless there is none of it.
        0 if is_empty && head[4] & END_STREAM == 0 => 20,
        // A call is what connections are for; its answer costs us more than its head.
        0 | 1 => 0,
        // RST_STREAM: a call may have been begun in vain.
        3 => 40,
        // WINDOW_UPDATE: an ordinary reader sends one or two a frame of ours.
        8 => 1,
        // PRIORITY, SETTINGS, PING, GOAWAY, CONTINUATION and what nobody knows.
        _ => 20,
    }
}

enum Position {
    /// So many bytes of the preface have come.
    Preface(usize),
    /// So many bytes of a frame's head.
    Head(usize),
    /// So many bytes are left of a frame.
    Payload(usize),
    /// It is not HTTP/2.
    Other,
}

/// Follows the bytes of a peer.
pub struct Meter {
    position: Position,
    head: [u8; HEAD],
    points: f64,
    at: Instant,
}

impl Meter {
    /// A meter of a connection that begins now.
    pub fn new(now: Instant) -> Self {
        Self { position: Position::Preface(0), head: [0; HEAD], points: f64::from(BUDGET), at: now }
    }

    /// Notes what has come; how long nothing more should be read, if at all.
    pub fn take(&mut self, bytes: &[u8], now: Instant) -> Option<Duration> {
        let spent = self.follow(bytes);
        if spent == 0 {
            return None;
        }
        let grown = self.points + now.saturating_duration_since(self.at).as_secs_f64() * f64::from(BACK);
        self.points = grown.min(f64::from(BUDGET)) - f64::from(spent);
        self.at = now;
        (self.points < 0.0).then(|| Duration::from_secs_f64(-self.points / f64::from(BACK)))
    }

    fn follow(&mut self, mut bytes: &[u8]) -> u32 {
        let mut spent = 0u32;
        while !bytes.is_empty() {
            self.position = match self.position {
                Position::Other => return 0,
                Position::Preface(known) => {
                    let come = bytes.len().min(PREFACE.len() - known);
                    let (part, rest) = bytes.split_at(come);
                    bytes = rest;
                    match known + come {
                        _ if part != &PREFACE[known..known + come] => Position::Other,
                        all if all == PREFACE.len() => Position::Head(0),
                        some => Position::Preface(some),
                    }
                }
                Position::Head(known) => {
                    let come = bytes.len().min(HEAD - known);
                    self.head[known..known + come].copy_from_slice(&bytes[..come]);
                    bytes = &bytes[come..];
                    if known + come < HEAD {
                        Position::Head(known + come)
                    } else {
                        spent = spent.saturating_add(cost(&self.head));
                        let length = self.head[..3].iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
                        if length == 0 { Position::Head(0) } else { Position::Payload(length) }
                    }
                }
                Position::Payload(left) => {
                    let come = bytes.len().min(left);
                    bytes = &bytes[come..];
                    if come == left { Position::Head(0) } else { Position::Payload(left - come) }
                }
            };
        }
        spent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags, 0, 0, 0, 1]);
        frame.extend(payload);
        frame
    }

    #[test]
    fn a_flood_is_slowed_to_what_comes_back_however_its_bytes_are_cut() {
        let start = Instant::now();
        let flood = [PREFACE.to_vec(), frame(6, 0, &[0; 8]).repeat(2_000)].concat();
        for cut in [1, 7, 1024, flood.len()] {
            let mut meter = Meter::new(start);
            let waits: Vec<_> = flood.chunks(cut).filter_map(|part| meter.take(part, start)).collect();
            // 40,000 points, of which 20,000 were there.
            assert_eq!(waits.last(), Some(&Duration::from_secs(1)), "{cut}");
            assert_eq!(meter.take(&frame(6, 0, &[0; 8]), start + Duration::from_secs(2)), None);
        }
    }

    #[test]
    fn calls_and_data_cost_nothing_and_http_1_is_not_looked_at() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        let data = [PREFACE.to_vec(), [frame(1, 4, &[0; 40]), frame(0, 0, &[6; 100])].concat().repeat(5_000)].concat();
        assert_eq!(meter.take(&data, start), None);
        assert!(meter.take(&frame(0, 0, &[]).repeat(1_001), start).is_some());
        let mut meter = Meter::new(start);
        assert_eq!(meter.take(b"POST / HTTP/1.1\r\n\r\n", start), None);
        assert_eq!(meter.take(&frame(6, 0, &[0; 8]).repeat(9_000), start), None);
    }
}
