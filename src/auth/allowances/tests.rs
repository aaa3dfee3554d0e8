//! Who may ask for how much.

use super::*;
use crate::access::{Collections, Role};
use crate::ids::KeyId;

fn limits() -> Limits {
    Limits {
        calls_a_minute: 2,
        refused_a_minute: 2,
        calls_at_once: 1,
        streams_at_once: 1,
        call_time: Duration::from_secs(60),
    }
}

fn caller() -> Caller {
    Caller { key: KeyId::mint(), subject: None, role: Role::Viewer, collections: Collections::All }
}

fn from(address: &str) -> Extensions {
    let mut extensions = Extensions::new();
    extensions.insert(Peer(address.parse().unwrap()));
    extensions
}

fn reason(outcome: &(Result<Caller, Error>, Option<Left>)) -> Option<Reason> {
    outcome.0.as_ref().err().map(Error::reason)
}

#[test]
fn a_key_has_its_calls_and_another_its_own_and_the_headers_say_what_is_left() {
    let allowances = Allowances::new(limits());
    let (one, other) = (caller(), caller());
    let call = |caller: &Caller| allowances.count(Ok(caller.clone()), &from("192.0.2.1"));
    assert_eq!([reason(&call(&one)), reason(&call(&one))], [None, None]);
    let refused = call(&one);
    let wait = refused.0.as_ref().unwrap_err().retry_hint().unwrap();
    assert!(wait > Duration::from_secs(25) && wait <= Duration::from_secs(30), "{wait:?}");
    assert_eq!(reason(&refused), Some(Reason::RateLimited));
    let mut headers = HeaderMap::new();
    refused.1.unwrap().write(&mut headers);
    assert_eq!(headers["ratelimit-policy"], "\"key\";q=2;w=60");
    assert_eq!(headers["ratelimit"], "\"key\";r=0;t=60");
    assert_eq!(reason(&call(&other)), None);
}

#[test]
fn a_call_that_was_counted_before_is_not_counted_again() {
    let allowances = Allowances::new(limits());
    let (caller, mut extensions) = (caller(), from("192.0.2.1"));
    Allowances::mark(&mut extensions);
    for _ in 0..5 {
        let outcome = allowances.count(Ok(caller.clone()), &extensions);
        assert!(outcome.0.is_ok() && outcome.1.is_none());
    }
}

#[test]
fn who_guesses_keys_is_slowed_by_address_and_a_good_key_beside_is_not() {
    let allowances = Allowances::new(limits());
    let guess = |address: &str| {
        let wrong = Err(Error::new(Reason::Unauthorized, "invalid authentication"));
        reason(&allowances.count(wrong, &from(address)))
    };
    assert_eq!([guess("192.0.2.1"), guess("192.0.2.1")], [Some(Reason::Unauthorized); 2]);
    assert_eq!(guess("192.0.2.1"), Some(Reason::RateLimited));
    assert_eq!(guess("192.0.2.2"), Some(Reason::Unauthorized));
    assert_eq!(reason(&allowances.count(Ok(caller()), &from("192.0.2.1"))), None);
}

#[test]
fn calls_and_streams_at_once_are_bounded_apart_and_a_place_comes_back() {
    let allowances = Allowances::new(limits());
    let caller = caller();
    let call = allowances.hold(&caller, false).ok();
    assert!(call.is_some());
    assert_eq!(allowances.hold(&caller, false).err().map(|error| error.reason()), Some(Reason::RateLimited));
    let _stream = allowances.hold(&caller, true).ok().unwrap();
    assert!(allowances.hold(&caller, true).is_err());
    drop(call);
    assert!(allowances.hold(&caller, false).is_ok());
}
