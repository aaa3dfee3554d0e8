//! What a server says first, read by ourselves: whether there is TLS is decided here,
//! before the driver is let near the server. The driver then gets a greeting of our
//! own, which offers only what we use, so that neither server nor driver can bring in
//! anything else (files of ours, compression, several statements at once).

use super::guard::Breach;

/// Capabilities of the protocol.
const LONG_PASSWORD: u32 = 0x1;
const LONG_FLAG: u32 = 0x4;
const PROTOCOL_41: u32 = 0x200;
pub(super) const SSL: u32 = 0x800;
const TRANSACTIONS: u32 = 0x2000;
const SECURE_CONNECTION: u32 = 0x8000;
const PLUGIN_AUTH: u32 = 0x8_0000;
/// All that the driver is offered.
const OFFERED: u32 = LONG_PASSWORD | LONG_FLAG | PROTOCOL_41 | TRANSACTIONS | SECURE_CONNECTION | PLUGIN_AUTH;
/// A server without them is older than we can speak to.
const NEEDED: u32 = PROTOCOL_41 | SECURE_CONNECTION | PLUGIN_AUTH;
/// `utf8mb4_general_ci`.
const CHARSET: u8 = 45;
/// The version that the driver is told; it decides nothing but the character set.
const VERSION: &[u8] = b"8.0.0\0";
const PROTOCOL: u8 = 10;
const ERROR: u8 = 0xff;
/// Bytes of the challenge in its two parts.
const FIRST_PART: usize = 8;
const SECOND_PART: usize = 12;
/// Largest packet that we say we take.
const LARGEST_PACKET: u32 = 16 << 20;

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Greeting {
    pub(super) is_mariadb: bool,
    pub(super) has_tls: bool,
    capabilities: u32,
    challenge: [u8; FIRST_PART + SECOND_PART],
    plugin: Vec<u8>,
}

/// The first packet of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum First {
    /// It goes on.
    Greeting(Greeting),
    /// It does not, for the reason that the number says.
    Refusal(u16),
}

impl First {
    /// Reads the body of the packet.
    pub(super) fn read(body: &[u8]) -> Result<Self, Breach> {
        match body.split_first() {
            Some((&ERROR, rest)) => {
                let code = rest.first_chunk::<2>().ok_or(Breach::Protocol)?;
                Ok(Self::Refusal(u16::from_le_bytes(*code)))
            }
            Some((&PROTOCOL, rest)) => Greeting::read(rest).map(Self::Greeting).ok_or(Breach::Protocol),
            Some(_) | None => Err(Breach::Protocol),
        }
    }
}

impl Greeting {
    fn read(mut rest: &[u8]) -> Option<Self> {
        let version = text(&mut rest)?;
        let _thread: [u8; 4] = array(&mut rest)?;
        let first: [u8; FIRST_PART] = array(&mut rest)?;
        let _filler: [u8; 1] = array(&mut rest)?;
        let low = u16::from_le_bytes(array(&mut rest)?);
        let _charset_and_status: [u8; 3] = array(&mut rest)?;
        let high = u16::from_le_bytes(array(&mut rest)?);
        let _length_and_reserved: [u8; 11] = array(&mut rest)?;
        let second: [u8; SECOND_PART] = array(&mut rest)?;
        // A NUL, or more of the challenge, which nobody uses.
        let _end: [u8; 1] = array(&mut rest)?;
        let capabilities = u32::from(low) | u32::from(high) << 16;
        if capabilities & NEEDED != NEEDED {
            return None;
        }
        // Some servers end it with the packet.
        let plugin = rest.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
        let mut challenge = [0; FIRST_PART + SECOND_PART];
        challenge[..FIRST_PART].copy_from_slice(&first);
        challenge[FIRST_PART..].copy_from_slice(&second);
        Some(Self {
            is_mariadb: version.windows(7).any(|part| part.eq_ignore_ascii_case(b"mariadb")),
            has_tls: capabilities & SSL != 0,
            capabilities,
            challenge,
            plugin,
        })
    }

    /// The greeting for the driver.
    pub(super) fn for_driver(&self) -> Vec<u8> {
        let offered = OFFERED.to_le_bytes();
        let is_known = [&b"caching_sha2_password"[..], b"mysql_native_password"].contains(&&self.plugin[..]);
        // The server switches to the method of the account in any case.
        let plugin = if is_known { &self.plugin[..] } else { b"mysql_native_password" };
        let mut body = vec![PROTOCOL];
        body.extend(VERSION);
        body.extend([0; 4]);
        body.extend(&self.challenge[..FIRST_PART]);
        body.push(0);
        body.extend(&offered[..2]);
        body.push(CHARSET);
        body.extend([2, 0]);
        body.extend(&offered[2..]);
        body.push(FIRST_PART as u8 + SECOND_PART as u8 + 1);
        body.extend([0; 10]);
        body.extend(&self.challenge[FIRST_PART..]);
        body.push(0);
        body.extend(plugin);
        body.push(0);
        body
    }

    /// What asks the server for TLS, with its header.
    pub(super) fn ssl_request(&self) -> Vec<u8> {
        let mut packet = vec![32, 0, 0, 1];
        packet.extend((OFFERED & (self.capabilities | LONG_PASSWORD) | SSL).to_le_bytes());
        packet.extend(LARGEST_PACKET.to_le_bytes());
        packet.push(CHARSET);
        packet.extend([0; 23]);
        packet
    }
}

/// A text up to its NUL.
fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|byte| *byte == 0)?;
    let (text, after) = rest.split_at(end);
    *rest = after.get(1..)?;
    Some(text)
}

fn array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A greeting as servers send it.
    pub(crate) fn greeting(version: &str, capabilities: u32, plugin: &str) -> Vec<u8> {
        let bits = capabilities.to_le_bytes();
        let mut body = vec![PROTOCOL];
        body.extend(version.as_bytes());
        body.extend([0, 7, 0, 0, 0]);
        body.extend(b"12345678\0");
        body.extend(&bits[..2]);
        body.extend([CHARSET, 2, 0]);
        body.extend(&bits[2..]);
        body.push(21);
        body.extend([0; 10]);
        body.extend(b"abcdefghijkl\0");
        body.extend(plugin.as_bytes());
        body.push(0);
        body
    }

    #[test]
    fn greetings_and_refusals_are_told_apart() {
        let sent = greeting("5.5.5-10.11.19-MariaDB-log", OFFERED | SSL, "mysql_native_password");
        let Ok(First::Greeting(read)) = First::read(&sent) else { panic!("it is a greeting") };
        assert!(read.is_mariadb && read.has_tls);
        assert_eq!(&read.challenge, b"12345678abcdefghijkl");
        assert_eq!(First::read(b"\xff\x10\x04#08004Too many"), Ok(First::Refusal(1040)));
        for odd in [&b""[..], b"\xff\x10", b"\x09old", b"HTTP/1.1 400", &sent[..40], &greeting("8", SSL, "x")] {
            assert_eq!(First::read(odd), Err(Breach::Protocol), "{odd:?}");
        }
    }

    #[test]
    fn the_driver_is_offered_what_we_use_and_no_more() {
        let Ok(First::Greeting(read)) = First::read(&greeting("8.0.36", u32::MAX, "sha256_password")) else {
            panic!("it is a greeting")
        };
        let Ok(First::Greeting(offered)) = First::read(&read.for_driver()) else { panic!("it is a greeting") };
        assert_eq!((offered.capabilities, offered.has_tls), (OFFERED, false));
        assert_eq!((offered.challenge, &offered.plugin[..]), (read.challenge, &b"mysql_native_password"[..]));
    }

    #[test]
    fn no_greeting_is_one_too_many() {
        let known = vec![greeting("8.0.36", u32::MAX, "caching_sha2_password"), b"\xff\x10\x04#08004Too many".to_vec()];
        crate::tests::fuzz("mysql greeting", crate::tests::tampered(known), |bytes| {
            if let Ok(First::Greeting(read)) = First::read(&bytes) {
                proptest::prop_assert!(First::read(&read.for_driver()).is_ok());
            }
            Ok(())
        });
    }
}
