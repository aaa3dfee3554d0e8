//! What a vault promises.

mod fuzz;

use secrecy::ExposeSecret;

use super::key_ring::KeyRingError;
use super::*;

const ONE: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const TWO: &str = "1f1e1d1c1b1a191817161514131211100f0e0d0c0b0a09080706050403020100";

fn vault(text: &str) -> Vault {
    Vault::new(KeyRing::from_text(text).unwrap_or_else(|error| panic!("{error}")))
}

struct Row {
    collection: CollectionId,
    connection: ConnectionId,
}

impl Row {
    fn new() -> Self {
        Self { collection: CollectionId::mint(), connection: ConnectionId::mint() }
    }

    fn binding(&self) -> Binding<'_> {
        Binding {
            purpose: "credentials",
            collection: &self.collection,
            connection: &self.connection,
            credentials_version: 3,
        }
    }
}

#[tokio::test]
async fn what_was_sealed_opens_and_does_not_show() {
    let (vault, row) = (vault(ONE), Row::new());
    let sealed = vault.seal(&row.binding(), b"hunter2-hunter2").await.unwrap();
    assert!(vault.open(&row.binding(), &sealed).await.unwrap().as_slice() == b"hunter2-hunter2");
    assert!(!sealed.ciphertext.windows(7).any(|window| window == b"hunter2"));
    let again = vault.seal(&row.binding(), b"hunter2-hunter2").await.unwrap();
    assert!(again.ciphertext != sealed.ciphertext && again.wrapped_key != sealed.wrapped_key);
}

#[tokio::test]
async fn a_sealed_secret_moved_to_another_row_does_not_open() {
    let (vault, row, other) = (vault(ONE), Row::new(), Row::new());
    let binding = row.binding();
    let sealed = vault.seal(&binding, b"secret").await.unwrap();
    let elsewhere = [
        Binding { purpose: "token", ..binding },
        Binding { collection: &other.collection, ..binding },
        Binding { connection: &other.connection, ..binding },
        Binding { credentials_version: 4, ..binding },
    ];
    for binding in elsewhere {
        assert_eq!(vault.open(&binding, &sealed).await.err(), Some(VaultError::Tampered), "{binding:?}");
        assert_eq!(vault.rewrap(&binding, &sealed).await.err(), Some(VaultError::Tampered), "{binding:?}");
    }
}

#[tokio::test]
async fn every_changed_byte_is_noticed() {
    let (vault, row) = (vault(ONE), Row::new());
    let sealed = vault.seal(&row.binding(), b"secret").await.unwrap();
    for index in 0..sealed.ciphertext.len() {
        let mut changed = sealed.clone();
        changed.ciphertext[index] ^= 1;
        assert_eq!(vault.open(&row.binding(), &changed).await.err(), Some(VaultError::Tampered), "ciphertext {index}");
    }
    for index in 0..sealed.wrapped_key.len() {
        let mut changed = sealed.clone();
        changed.wrapped_key[index] ^= 1;
        assert_eq!(vault.open(&row.binding(), &changed).await.err(), Some(VaultError::Tampered), "wrapped key {index}");
    }
    for length in 0..sealed.ciphertext.len() {
        let cut = Sealed { ciphertext: sealed.ciphertext[..length].to_vec(), ..sealed.clone() };
        assert_eq!(vault.open(&row.binding(), &cut).await.err(), Some(VaultError::Tampered), "cut to {length}");
    }
}

#[tokio::test]
async fn parts_of_two_secrets_of_one_row_do_not_mix() {
    let (vault, row) = (vault(ONE), Row::new());
    let first = vault.seal(&row.binding(), b"first").await.unwrap();
    let second = vault.seal(&row.binding(), b"second").await.unwrap();
    let mixed = Sealed { wrapped_key: second.wrapped_key, ..first };
    assert_eq!(vault.open(&row.binding(), &mixed).await.err(), Some(VaultError::Tampered));
}

#[tokio::test]
async fn a_rotation_opens_with_the_old_key_and_rewraps_to_the_new() {
    let (old, both, new, row) = (vault(ONE), vault(&format!("{TWO}\n{ONE}\n")), vault(TWO), Row::new());
    let sealed = old.seal(&row.binding(), b"secret").await.unwrap();
    assert!(both.open(&row.binding(), &sealed).await.unwrap().as_slice() == b"secret");
    assert_eq!(
        new.open(&row.binding(), &sealed).await.err(),
        Some(VaultError::KeyMissing {
            wanted: old.key_ids().remove(0).to_owned(),
            at_hand: vec![new.key_ids().remove(0).to_owned()],
        })
    );
    let rewrapped = both.rewrap(&row.binding(), &sealed).await.unwrap();
    assert_eq!((&rewrapped.key_id, &rewrapped.ciphertext), (&new.key_ids().remove(0), &sealed.ciphertext));
    assert!(new.open(&row.binding(), &rewrapped).await.unwrap().as_slice() == b"secret");
    let renamed = Sealed { key_id: new.key_ids().remove(0).to_owned(), ..sealed };
    assert_eq!(both.open(&row.binding(), &renamed).await.err(), Some(VaultError::Tampered));
}

#[tokio::test]
async fn a_canary_names_the_key_that_is_wanted() {
    let (old, new) = (vault(ONE), vault(TWO));
    let canary = old.canary().await.unwrap();
    assert_eq!(old.check_canary(&canary).await, Ok(()));
    assert_eq!(vault(&format!("{TWO}\n{ONE}")).check_canary(&canary).await, Ok(()));
    let refused = new.check_canary(&canary).await.unwrap_err().to_string();
    assert!(refused.contains(&old.key_ids().remove(0)), "{refused}");
    assert_eq!(old.check_canary("nonsense").await, Err(VaultError::Tampered));
    assert_eq!(old.check_canary(&format!("{}.AAAA", old.key_ids().remove(0))).await, Err(VaultError::Tampered));
}

#[test]
fn key_files_are_read_in_base64_and_hex_and_problems_name_the_line() {
    let hex = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";
    assert_eq!(vault(hex).key_ids().remove(0), vault(&format!("# comment\n\n  {ONE}\n")).key_ids().remove(0));
    assert_eq!(vault(ONE.trim_end_matches('=')).key_ids().remove(0), vault(ONE).key_ids().remove(0));
    for (text, expected) in [
        ("", KeyRingError::Empty),
        ("# only a comment\n", KeyRingError::Empty),
        ("c2hvcnQ=", KeyRingError::NotAKey { line: 1 }),
        (&format!("{ONE}\nnot a key"), KeyRingError::NotAKey { line: 2 }),
        (&"zz".repeat(32), KeyRingError::NotAKey { line: 1 }),
        (&"00".repeat(32), KeyRingError::Weak { line: 1 }),
        (&format!("{ONE}\n{hex}"), KeyRingError::Repeated { line: 2 }),
    ] {
        assert_eq!(KeyRing::from_text(text).err(), Some(expected));
    }
}

#[test]
fn a_generated_key_file_gives_the_same_ring() {
    let (ring, text) = KeyRing::generate();
    let read = KeyRing::from_text(text.expose_secret()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(ring.ids(), read.ids());
    assert_ne!(ring.ids(), KeyRing::generate().0.ids());
}

#[test]
fn a_page_token_opens_for_the_same_call_until_it_expires() {
    let tokens = vault(ONE).page_tokens();
    let token = tokens.seal("syncs", 7, b"position", 1_000);
    assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
    assert_eq!(tokens.open("syncs", 7, &token, 999).unwrap(), b"position");
    assert_eq!(tokens.open("syncs", 7, &token, 1_000), Err(TokenError::Expired));
    assert_eq!(tokens.open("syncs", 8, &token, 999), Err(TokenError::OtherCall));
    assert_eq!(tokens.open("items", 7, &token, 999), Err(TokenError::OtherCall));
    for odd in ["", "AAAA", "!", &token[1..], &"A".repeat(5_000)] {
        assert_eq!(tokens.open("syncs", 7, odd, 999), Err(TokenError::Malformed));
    }
    assert_eq!(vault(TWO).page_tokens().open("syncs", 7, &token, 999), Err(TokenError::Malformed));
    let rotated = vault(&format!("{TWO}\n{ONE}")).page_tokens();
    assert_eq!(rotated.open("syncs", 7, &token, 999).unwrap(), b"position");
}

#[tokio::test]
async fn a_key_that_others_seal_with_already_is_found_where_ours_come_from() {
    let (folder, row) = (tempfile::tempdir().unwrap(), Row::new());
    let path = folder.path().join("keys");
    std::fs::write(&path, ONE).unwrap();
    let ours = Vault::load(&KeySource::File(path.clone()), None).await.unwrap_or_else(|error| panic!("{error}"));
    let tokens = ours.page_tokens();
    let token = tokens.seal("syncs", 7, b"position", 1_000);
    std::fs::write(&path, format!("{TWO}\n")).unwrap();
    let sealed = vault(TWO).seal(&row.binding(), b"secret").await.unwrap();
    assert!(ours.open(&row.binding(), &sealed).await.unwrap().as_slice() == b"secret");
    assert_eq!(ours.key_ids(), [vault(TWO).key_ids().remove(0), vault(ONE).key_ids().remove(0)]);
    assert_eq!(tokens.open("syncs", 7, &token, 999).unwrap(), b"position");
    let newer = tokens.seal("syncs", 7, b"position", 1_000);
    assert_eq!(vault(TWO).page_tokens().open("syncs", 7, &newer, 999).unwrap(), b"position");
}

#[tokio::test]
async fn keys_are_read_anew_only_when_they_open_the_canary_and_none_in_use_is_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let (one, two) = (vault(ONE).key_ids().remove(0), vault(TWO).key_ids().remove(0));
    std::fs::write(&path, format!("{ONE}\n{TWO}\n")).unwrap();
    let ours = Vault::load(&KeySource::File(path.clone()), None).await.unwrap_or_else(|error| panic!("{error}"));
    std::fs::write(&path, TWO).unwrap();
    let wrong = ours.reload(&vault(ONE).canary().await.unwrap(), &[]).await.unwrap_err();
    assert!(matches!(wrong, ReloadError::WrongKeys(_)), "{wrong}");
    std::fs::write(&path, "no key").unwrap();
    let unread = ours.reload(&vault(TWO).canary().await.unwrap(), &[]).await.unwrap_err();
    assert!(matches!(unread, ReloadError::Source(_)), "{unread}");
    assert_eq!(ours.key_ids(), [one.clone(), two.clone()]);
    std::fs::write(&path, TWO).unwrap();
    let canary = vault(TWO).canary().await.unwrap();
    assert_eq!(ours.reload(&canary, std::slice::from_ref(&one)).await.unwrap(), std::slice::from_ref(&one));
    assert_eq!(ours.key_ids(), [two.clone(), one]);
    assert!(ours.reload(&canary, &[]).await.unwrap().is_empty());
    assert_eq!(ours.key_ids(), [two]);
}
