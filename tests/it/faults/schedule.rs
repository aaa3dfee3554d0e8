//! What goes wrong in a round: drawn from its seed and nothing else.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::proxy::{Direction, Fault, Step, Traffic};

/// What kind of trouble a round has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Latency,
    Slices,
    ResetDown,
    ResetUp,
    HalfOpen,
    StallDown,
    StallUp,
    Silent,
    Refused,
    Framing,
    RowByte,
    TlsByte,
    Mixed,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::Latency,
        Self::Slices,
        Self::ResetDown,
        Self::ResetUp,
        Self::HalfOpen,
        Self::StallDown,
        Self::StallUp,
        Self::Silent,
        Self::Refused,
        Self::Framing,
        Self::RowByte,
        Self::TlsByte,
        Self::Mixed,
    ];

    /// A plain connection cannot tell some wrong bytes from right ones: there,
    /// only a full sync after the faults has to be exact. TLS can, and must.
    pub fn may_show_wrong_values(self) -> bool {
        matches!(self, Self::Framing | Self::RowByte)
    }
}

/// The trouble of one round.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Where it comes from.
    pub seed: u64,
    /// Kind.
    pub kind: Kind,
    /// The source changes while the network is bad.
    pub source_moves: bool,
    /// Everything is read again, and not only what has changed.
    pub full: bool,
    random: StdRng,
}

impl Schedule {
    /// The round of a seed.
    pub fn of(seed: u64) -> Self {
        let kind = Kind::ALL[(seed % Kind::ALL.len() as u64) as usize];
        let mut random = StdRng::seed_from_u64(seed);
        let source_moves = random.random_bool(0.5);
        let full = kind.may_show_wrong_values() || random.random_bool(0.6);
        Self { seed, kind, source_moves, full, random }
    }

    /// Steps for connections that carry about this much when nothing is wrong.
    pub fn steps(&mut self, traffic: Traffic) -> Vec<Step> {
        let count = self.random.random_range(1..=3);
        (0..count).map(|_| self.step(self.kind, traffic)).collect()
    }

    fn step(&mut self, kind: Kind, traffic: Traffic) -> Step {
        let random = &mut self.random;
        let with = random.random_range(1..=255);
        let either = if random.random_bool(0.5) { Direction::Up } else { Direction::Down };
        let bytes_of = |direction| if direction == Direction::Up { traffic.up } else { traffic.down };
        Step::Connection(match kind {
            Kind::Latency => Fault::Latency { least: random.random_range(0..=10), jitter: random.random_range(1..=30) },
            Kind::Slices => Fault::Slices { bytes: somewhere(random, traffic.down.min(40_000)) },
            Kind::ResetDown => Fault::Reset { direction: Direction::Down, after: somewhere(random, traffic.down) },
            Kind::ResetUp => Fault::Reset { direction: Direction::Up, after: somewhere(random, traffic.up) },
            Kind::HalfOpen => Fault::HalfOpen { direction: either, after: somewhere(random, bytes_of(either)) },
            Kind::StallDown => Fault::Stall { direction: Direction::Down, after: somewhere(random, traffic.down) },
            Kind::StallUp => Fault::Stall { direction: Direction::Up, after: somewhere(random, traffic.up) },
            Kind::Silent => Fault::Silent,
            Kind::Refused => return Step::Refuse(Duration::from_millis(random.random_range(50..=1_500))),
            Kind::Framing => {
                Fault::Framing { message: somewhere(random, traffic.messages), byte: random.random_range(0..5), with }
            }
            Kind::RowByte => Fault::RowByte {
                row: random.random_range(0..traffic.rows.max(1)),
                byte: random.random_range(0..40),
                with,
            },
            Kind::TlsByte => Fault::AnyByte { direction: either, after: somewhere(random, bytes_of(either)), with },
            Kind::Mixed => {
                // Those after which a succeeded sync must be exact.
                const SOME: [Kind; 9] = [
                    Kind::Latency,
                    Kind::Slices,
                    Kind::ResetDown,
                    Kind::ResetUp,
                    Kind::HalfOpen,
                    Kind::StallDown,
                    Kind::StallUp,
                    Kind::Silent,
                    Kind::Refused,
                ];
                let kind = SOME[random.random_range(0..SOME.len())];
                return self.step(kind, traffic);
            }
        })
    }
}

/// A place in a stream: the beginning, where login and catalogue are, as likely
/// as the long rest.
fn somewhere(random: &mut StdRng, length: u64) -> u64 {
    let part: f64 = random.random();
    (length as f64 * part.powi(if random.random_bool(0.5) { 3 } else { 1 })) as u64
}
