//! What a signed token says: by whom, for whom, until when, about whom.

use serde_json::{Map, Value};

/// Seconds that clocks may differ.
const LEEWAY: u64 = 60;
const LONGEST_SUBJECT: usize = 255;

/// The claims of a token that is good now.
#[derive(Debug)]
pub(super) struct Claims {
    /// Whom the provider vouches for.
    pub(super) subject: String,
    all: Map<String, Value>,
}

impl Claims {
    /// Reads a payload, or says why it is not accepted. `now` in seconds since
    /// 1970 UTC.
    pub(super) fn read(payload: &[u8], issuer: &str, audience: &str, now: u64) -> Result<Self, &'static str> {
        let Ok(all) = serde_json::from_slice::<Map<String, Value>>(payload) else { return Err("it is no object") };
        if all.get("iss").and_then(Value::as_str) != Some(issuer) {
            return Err("it is by another issuer");
        }
        if !is_for(all.get("aud"), audience) {
            return Err("it is for another audience");
        }
        match time(&all, "exp") {
            Some(Some(end)) if now < end.saturating_add(LEEWAY) => {}
            Some(Some(_)) => return Err("it has expired"),
            Some(None) | None => return Err("it has no time of expiry"),
        }
        match time(&all, "nbf") {
            None => {}
            Some(Some(start)) if start <= now.saturating_add(LEEWAY) => {}
            Some(_) => return Err("it is not valid yet"),
        }
        let subject = all.get("sub").and_then(Value::as_str).filter(|subject| is_subject(subject));
        let subject = subject.ok_or("it has no subject")?.to_owned();
        Ok(Self { subject, all })
    }

    /// The texts in a claim; dots go into objects (`realm_access.roles`), unless the
    /// whole name is a claim.
    pub(super) fn texts(&self, claim: &str) -> Vec<&str> {
        let whole = self.all.get(claim);
        let value = whole.or_else(|| {
            let mut parts = claim.split('.');
            let first = self.all.get(parts.next()?)?;
            parts.try_fold(first, |value, part| value.get(part))
        });
        match value {
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }
}

fn is_for(claim: Option<&Value>, audience: &str) -> bool {
    match claim {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(several)) => several.iter().any(|one| one.as_str() == Some(audience)),
        _ => false,
    }
}

/// A time in whole seconds. None on the outside when the claim is not there, on the
/// inside when it is no time.
fn time(all: &Map<String, Value>, name: &str) -> Option<Option<u64>> {
    let value = all.get(name)?;
    let whole = value.as_u64();
    let fraction = value.as_f64().filter(|seconds| (0.0..1e15).contains(seconds)).map(|seconds| seconds as u64);
    Some(whole.or(fraction))
}

/// A subject goes into the audit log, where it must be readable.
fn is_subject(text: &str) -> bool {
    (1..=LONGEST_SUBJECT).contains(&text.len()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_000_000;

    fn claims() -> Value {
        json!({"iss": "https://id.example", "aud": "tributary", "sub": "ada", "exp": NOW + 1})
    }

    fn read(change: &[(&str, Value)]) -> Result<Claims, &'static str> {
        let mut claims = claims();
        for (name, value) in change {
            claims[*name] = value.clone();
        }
        Claims::read(claims.to_string().as_bytes(), "https://id.example", "tributary", NOW)
    }

    #[test]
    fn a_token_is_good_for_us_and_for_now() {
        for good in [
            ("aud", json!(["other", "tributary"])),
            ("exp", json!(NOW - 59)),
            ("exp", json!(NOW as f64 + 0.5)),
            ("nbf", json!(NOW + 60)),
            ("nbf", json!(0)),
        ] {
            assert_eq!(read(std::slice::from_ref(&good)).expect("it is good").subject, "ada", "{good:?}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for bad in [
            ("iss", json!("https://id.example/")),
            ("iss", json!(["https://id.example"])),
            ("iss", json!(null)),
            ("aud", json!("tributar")),
            ("aud", json!([])),
            ("aud", json!([["tributary"]])),
            ("aud", json!(null)),
            ("exp", json!(NOW - 60)),
            ("exp", json!("9999999999")),
            ("exp", json!(-1)),
            ("exp", json!(1e300)),
            ("exp", json!(null)),
            ("nbf", json!(NOW + 61)),
            ("nbf", json!("0")),
            ("sub", json!("")),
            ("sub", json!("a\nb")),
            ("sub", json!("a".repeat(256))),
            ("sub", json!(7)),
        ] {
            assert!(read(std::slice::from_ref(&bad)).is_err(), "{bad:?}");
        }
        for payload in ["", "[]", "null", "{}"] {
            assert!(Claims::read(payload.as_bytes(), "https://id.example", "tributary", NOW).is_err(), "{payload}");
        }
    }

    #[test]
    fn a_claim_is_a_text_a_list_or_within_objects() {
        let claims = read(&[
            ("role", json!("one")),
            ("roles", json!(["one", 2, "three"])),
            ("realm", json!({"access": {"roles": ["deep"]}})),
            ("https://a.example/roles", json!(["named"])),
        ]);
        let claims = claims.expect("it is good");
        assert_eq!(claims.texts("role"), ["one"]);
        assert_eq!(claims.texts("roles"), ["one", "three"]);
        assert_eq!(claims.texts("realm.access.roles"), ["deep"]);
        assert_eq!(claims.texts("https://a.example/roles"), ["named"]);
        for none in ["realm", "realm.nothing", "exp", "nothing", ""] {
            assert!(claims.texts(none).is_empty(), "{none}");
        }
    }
}
