//! Global transaction identifiers, as MariaDB and MySQL have them, and sets of them:
//! up to where a log was read.

use std::collections::BTreeMap;
use std::fmt;

/// Longest set that is read, in bytes; one of a real server has a few hundred.
const LONGEST: usize = 64 * 1024;
/// Gaps in a set, and sources of it, at most.
const MOST_PARTS: usize = 4096;

/// A source of MySQL: the bytes of its UUID.
pub(super) type Source = [u8; 16];

/// A transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Id {
    MariaDb { domain: u32, server: u32, number: u64 },
    MySql { source: Source, number: u64 },
}

/// Transactions that were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Position {
    /// The last of each domain.
    MariaDb(BTreeMap<u32, (u32, u64)>),
    /// All of each source, from and to.
    MySql(BTreeMap<Source, Vec<(u64, u64)>>),
}

impl Position {
    /// Reads `0-1-42,1-1-7` or `3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:7`. None for
    /// what is neither; sets with tags are not known.
    pub(super) fn parse(text: &str, is_mariadb: bool) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        if is_mariadb {
            return parts.map(read_of_mariadb).collect::<Option<_>>().map(Self::MariaDb);
        }
        let mut sources = BTreeMap::new();
        for part in parts {
            let (source, intervals) = read_of_mysql(part)?;
            sources.entry(source).or_insert_with(Vec::new).extend(intervals);
        }
        Some(Self::MySql(sources))
    }

    /// The same with one more; false when it cannot be noted.
    #[must_use]
    pub(super) fn add(&mut self, id: Id) -> bool {
        match (self, id) {
            (Self::MariaDb(domains), Id::MariaDb { domain, server, number }) => {
                domains.insert(domain, (server, number));
                domains.len() <= MOST_PARTS
            }
            (Self::MySql(sources), Id::MySql { source, number }) => {
                insert(sources.entry(source).or_default(), number);
                sources.values().map(Vec::len).sum::<usize>() <= MOST_PARTS
            }
            (Self::MariaDb(_), Id::MySql { .. }) | (Self::MySql(_), Id::MariaDb { .. }) => false,
        }
    }

    /// The set as the protocol of MySQL has it; the ends are not part of it.
    pub(super) fn encoded(&self) -> Vec<u8> {
        let Self::MySql(sources) = self else { return Vec::new() };
        let mut bytes = (sources.len() as u64).to_le_bytes().to_vec();
        for (source, intervals) in sources {
            bytes.extend(source);
            bytes.extend((intervals.len() as u64).to_le_bytes());
            for (from, to) in intervals {
                bytes.extend(from.to_le_bytes());
                bytes.extend((to.saturating_add(1)).to_le_bytes());
            }
        }
        bytes
    }
}

fn read_of_mariadb(part: &str) -> Option<(u32, (u32, u64))> {
    let mut numbers = part.split('-');
    let read = (numbers.next()?.parse().ok()?, (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?));
    numbers.next().is_none().then_some(read)
}

fn read_of_mysql(part: &str) -> Option<(Source, Vec<(u64, u64)>)> {
    let mut parts = part.split(':');
    let source = source(parts.next()?.trim())?;
    let mut intervals = Vec::new();
    for interval in parts {
        let (from, to) = interval.split_once('-').unwrap_or((interval, interval));
        let (from, to) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
        if from == 0 || from > to {
            return None;
        }
        intervals.push((from, to));
    }
    (!intervals.is_empty()).then_some((source, intervals))
}

/// The bytes of `3e11fa47-71ca-11e1-9e33-c80aa9429562`.
fn source(text: &str) -> Option<Source> {
    let lengths = text.split('-').map(str::len);
    let digits: Vec<u32> =
        text.chars().filter(|letter| *letter != '-').filter_map(|letter| letter.to_digit(16)).collect();
    if !lengths.eq([8, 4, 4, 4, 12]) || digits.len() != 32 {
        return None;
    }
    let mut bytes = Source::default();
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = (pair[0] << 4 | pair[1]) as u8;
    }
    Some(bytes)
}

fn insert(intervals: &mut Vec<(u64, u64)>, number: u64) {
    // Nearly always the next one.
    if let Some((_, to)) = intervals.last_mut().filter(|(_, to)| to.checked_add(1) == Some(number)) {
        *to = number;
        return;
    }
    if intervals.iter().any(|(from, to)| (*from..=*to).contains(&number)) {
        return;
    }
    intervals.push((number, number));
    intervals.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::with_capacity(intervals.len());
    for (from, to) in intervals.drain(..) {
        match joined.last_mut().filter(|(_, last)| last.saturating_add(1) >= from) {
            Some((_, last)) => *last = (*last).max(to),
            None => joined.push((from, to)),
        }
    }
    *intervals = joined;
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = match self {
            Self::MariaDb(domains) => {
                domains.iter().map(|(domain, (server, number))| format!("{domain}-{server}-{number}")).collect()
            }
            Self::MySql(sources) => sources.iter().map(written).collect(),
        };
        formatter.write_str(&parts.join(","))
    }
}

fn written((source, intervals): (&Source, &Vec<(u64, u64)>)) -> String {
    let digits: String = source.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut text = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-");
    for (from, to) in intervals {
        text.push_str(&if from == to { format!(":{from}") } else { format!(":{from}-{to}") });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    #[test]
    fn positions_of_mariadb_are_the_last_of_each_domain() {
        let mut position = Position::parse("0-1-42,1-7-3", true).unwrap();
        assert!(position.add(Id::MariaDb { domain: 0, server: 2, number: 43 }));
        assert!(position.add(Id::MariaDb { domain: 5, server: 2, number: 1 }));
        assert_eq!(position.to_string(), "0-2-43,1-7-3,5-2-1");
        assert_eq!(Position::parse("", true).unwrap().to_string(), "");
        for odd in ["0-1", "0-1-2-3", "a-1-2", "0-1-'", UUID] {
            assert_eq!(Position::parse(odd, true), None, "{odd}");
        }
    }

    #[test]
    fn positions_of_mysql_have_gaps_that_close() {
        let mut position = Position::parse(&format!("{}:1-5:7,\n{UUID}:20", UUID.to_uppercase()), false).unwrap();
        let source = source(UUID).unwrap();
        for number in [6, 21, 3, 9] {
            assert!(position.add(Id::MySql { source, number }));
        }
        assert_eq!(position.to_string(), format!("{UUID}:1-7:9:20-21"));
        let bytes = position.encoded();
        assert_eq!(bytes.len(), 8 + 16 + 8 + 3 * 16);
        assert_eq!((bytes[0], bytes[24], bytes[32], bytes[40]), (1, 3, 1, 8));
        for odd in ["x:1", &format!("{UUID}:0"), &format!("{UUID}:5-1"), UUID, &format!("{UUID}:tag:1")] {
            assert_eq!(Position::parse(odd, false), None, "{odd}");
        }
        assert!(!position.add(Id::MariaDb { domain: 0, server: 1, number: 1 }));
    }
}
