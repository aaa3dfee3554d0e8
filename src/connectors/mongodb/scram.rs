//! The login: SCRAM-SHA-256 (RFC 5802, RFC 7677), in which the password is never sent
//! and the server shows that it knows it too.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};
use zeroize::Zeroizing;

use super::failure::Failure;

/// Rounds of hashing: no fewer than the standard asks for, so that what is overheard
/// is of little use, and some tenths of a second at most.
const ROUNDS: std::ops::RangeInclusive<u32> = 4096..=100_000;
const LONGEST_SALT: usize = 1024;
const HASH: usize = 32;
/// We ask for no binding to a channel.
const NO_BINDING: &str = "n,,";

/// A login that was begun.
pub(super) struct Login {
    nonce: String,
    bare: String,
    password: Zeroizing<String>,
}

/// A login whose proof was sent.
pub(super) struct Proven {
    server_key: hmac::Key,
    message: String,
}

impl Login {
    /// Begins one.
    pub(super) fn new(username: &str, password: &str) -> Self {
        Self::with_nonce(username, password, STANDARD.encode(rand::random::<[u8; 24]>()))
    }

    fn with_nonce(username: &str, password: &str, nonce: String) -> Self {
        let name = username.replace('=', "=3D").replace(',', "=2C");
        // A password that cannot be prepared could not be set either; the server says so.
        let prepared = stringprep::saslprep(password).map(String::from).unwrap_or_else(|_| password.to_owned());
        Self { bare: format!("n={name},r={nonce}"), nonce, password: Zeroizing::new(prepared) }
    }

    /// What is said first.
    pub(super) fn first(&self) -> String {
        format!("{NO_BINDING}{}", self.bare)
    }

    /// What is said to the server's first words.
    pub(super) fn prove(self, said: &[u8]) -> Result<(String, Proven), Failure> {
        const ODD: Failure = Failure::Protocol("the server does not keep to SCRAM");
        let said = std::str::from_utf8(said).map_err(|_| ODD)?;
        let mut parts = said.split(',');
        let mut part = |name: &str| parts.next().and_then(|part| part.strip_prefix(name));
        let (nonce, salt, rounds) = (part("r=").ok_or(ODD)?, part("s=").ok_or(ODD)?, part("i=").ok_or(ODD)?);
        if !nonce.starts_with(&self.nonce) || nonce.len() <= self.nonce.len() || salt.len() > LONGEST_SALT {
            return Err(ODD);
        }
        let salt = STANDARD.decode(salt).map_err(|_| ODD)?;
        let rounds: u32 = rounds.parse().map_err(|_| Failure::Rounds)?;
        let rounds = NonZeroU32::new(rounds).filter(|rounds| ROUNDS.contains(&rounds.get())).ok_or(Failure::Rounds)?;
        let mut salted = Zeroizing::new([0; HASH]);
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, self.password.as_bytes(), &mut *salted);
        let salted = hmac::Key::new(hmac::HMAC_SHA256, &*salted);
        let client_key = hmac::sign(&salted, b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
        let last = format!("c={},r={nonce}", STANDARD.encode(NO_BINDING));
        let message = format!("{},{said},{last}", self.bare);
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, stored_key.as_ref()), message.as_bytes());
        let proof: Vec<u8> =
            client_key.as_ref().iter().zip(signature.as_ref()).map(|(one, other)| one ^ other).collect();
        let server_key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&salted, b"Server Key").as_ref());
        Ok((format!("{last},p={}", STANDARD.encode(proof)), Proven { server_key, message }))
    }
}

impl Proven {
    /// Judges the server's last words.
    pub(super) fn judge(&self, said: &[u8]) -> Result<(), Failure> {
        let signature =
            said.strip_prefix(b"v=").and_then(|said| STANDARD.decode(said).ok()).ok_or(Failure::Impostor)?;
        hmac::verify(&self.server_key, self.message.as_bytes(), &signature).map_err(|_| Failure::Impostor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const FIRST: &[u8] = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    fn login() -> Login {
        Login::with_nonce("user", "pencil", NONCE.to_owned())
    }

    #[test]
    fn the_example_of_the_standard_is_reproduced() {
        assert_eq!(login().first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let (last, proven) = login().prove(FIRST).unwrap();
        assert_eq!(
            last,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert_eq!(proven.judge(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Ok(()));
        for said in [&b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5="[..], b"v=", b"e=other-error", b""] {
            assert_eq!(proven.judge(said), Err(Failure::Impostor));
        }
        assert_eq!(Login::with_nonce("a=b,c", "x", "n".to_owned()).first(), "n,,n=a=3Db=2Cc,r=n");
    }

    #[test]
    fn a_server_cannot_ask_for_too_much_or_too_little() {
        let said = |rounds: &str| format!("r={NONCE}x,s=QSXCR+Q6,i={rounds}");
        for rounds in ["0", "1", "4095", "100001", "4000000000", "99999999999999999999", "-1", ""] {
            assert_eq!(login().prove(said(rounds).as_bytes()).err(), Some(Failure::Rounds), "{rounds}");
        }
        assert!(login().prove(said("15000").as_bytes()).is_ok());
        for odd in [format!("r={NONCE},s=QSXCR+Q6,i=4096"), "r=other,s=QSXCR+Q6,i=4096".to_owned(), "m=x".to_owned()] {
            assert!(matches!(login().prove(odd.as_bytes()), Err(Failure::Protocol(_))), "{odd}");
        }
        assert!(login().prove(&[0xff, 0xfe]).is_err());
    }
}
