//! Keys, tokens and envelopes that were tampered with.

use proptest::prelude::*;

use super::{ONE, Row, vault};
use crate::secrets::Sealed;
use crate::secrets::api_key;
use crate::tests::{fuzz, tampered};

#[test]
fn a_key_that_parses_has_its_own_shape() {
    let minted: Vec<Vec<u8>> =
        (0..4).map(|_| secrecy::ExposeSecret::expose_secret(&api_key::mint().token).as_bytes().to_vec()).collect();
    fuzz("api keys", tampered(minted.clone()), |bytes| {
        let Ok(text) = String::from_utf8(bytes) else { return Ok(()) };
        if api_key::parse(&text).is_some() {
            // Its checksum sees to it that nothing but whole keys gets here.
            prop_assert!(minted.iter().any(|key| key == text.as_bytes()), "a key that was not minted parses");
        }
        Ok(())
    });
}

#[test]
fn a_page_token_that_opens_is_one_that_was_sealed() {
    let sealer = vault(ONE).page_tokens();
    let tokens: Vec<String> = (0..4u8).map(|number| sealer.seal("list", 7, &[number; 9], 1_000)).collect();
    let known = tokens.iter().map(|token| token.as_bytes().to_vec()).collect();
    fuzz("page tokens", tampered(known), |bytes| {
        let Ok(text) = String::from_utf8(bytes) else { return Ok(()) };
        if sealer.open("list", 7, &text, 0).is_ok() {
            prop_assert!(tokens.contains(&text));
        }
        prop_assert!(sealer.open("other", 7, &text, 0).is_err() && sealer.open("list", 8, &text, 0).is_err());
        Ok(())
    });
}

#[test]
fn an_envelope_that_was_touched_does_not_open() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (vault, row) = (vault(ONE), Row::new());
    let sealed = runtime.block_on(vault.seal(&row.binding(), b"a secret of some length")).unwrap();
    let parts = vec![sealed.ciphertext.clone(), sealed.wrapped_key.clone()];
    let inputs = (tampered(parts.clone()), tampered(parts));
    fuzz("envelopes", inputs, |(ciphertext, wrapped_key)| {
        let has_key = wrapped_key == sealed.wrapped_key;
        let is_whole = has_key && ciphertext == sealed.ciphertext;
        let tampered = Sealed { ciphertext, wrapped_key, ..sealed.clone() };
        prop_assert_eq!(runtime.block_on(vault.open(&row.binding(), &tampered)).is_ok(), is_whole);
        prop_assert_eq!(runtime.block_on(vault.rewrap(&row.binding(), &tampered)).is_ok(), has_key);
        Ok(())
    });
}
