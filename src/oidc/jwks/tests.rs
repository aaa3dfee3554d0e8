//! Vectors of RFC 7515 (appendices A.2 and A.3) and RFC 8037 (appendix A.4), and
//! what must not pass beside them.

use serde_json::json;

use super::*;

const RS256_N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
const RS256: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
const ES256: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
const EDDSA: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

fn rsa() -> Value {
    json!({"kty": "RSA", "n": RS256_N, "e": "AQAB"})
}

fn p256() -> Value {
    json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})
}

fn ed25519() -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
}

fn is_signed(keys: Vec<Value>, text: &str) -> bool {
    let keys = KeySet::read(&json!({ "keys": keys }));
    Token::parse(text).is_some_and(|token| matches!(keys.verify(&token), Lookup::Signed(_)))
}

#[test]
fn the_signatures_of_the_standards_are_good_with_their_keys_only() {
    for (key, text) in [(rsa(), RS256), (p256(), ES256), (ed25519(), EDDSA)] {
        assert!(is_signed(vec![key.clone()], text));
        assert!(is_signed(vec![rsa(), p256(), ed25519()], text), "one key fits by its kind");
        let (head, signature) = text.rsplit_once('.').unwrap();
        for position in [0, signature.len() / 2] {
            let mut changed = signature.to_owned();
            let other = if &changed[position..=position] == "A" { "B" } else { "A" };
            changed.replace_range(position..=position, other);
            assert!(!is_signed(vec![key.clone()], &format!("{head}.{changed}")), "{text}");
        }
        assert!(!is_signed(vec![key], &format!("{head}.")), "an empty signature");
    }
    assert!(!is_signed(vec![], RS256));
}

#[test]
fn other_algorithms_and_demands_are_not_even_looked_at() {
    let (_, rest) = ES256.split_once('.').unwrap();
    for header in [
        json!({"alg": "none"}),
        json!({"alg": "None"}),
        json!({"alg": "HS256"}),
        json!({"alg": "ES384"}),
        json!({"alg": "es256"}),
        json!({"alg": "ES256", "crit": ["exp"]}),
        json!({"alg": "ES256", "typ": "dpop+jwt"}),
        json!({"kid": "a"}),
        json!("ES256"),
    ] {
        let text = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()));
        assert!(Token::parse(&text).is_none(), "{header}");
    }
    for text in ["", "..", "a.b", "a.b.c.d", "eyJhbGciOiJub25lIn0..", &format!("{ES256}=")] {
        assert!(Token::parse(text).is_none(), "{text}");
    }
}

#[test]
fn a_key_is_for_its_own_algorithm_and_purpose() {
    let with = |mut key: Value, name: &str, value: &str| {
        key[name] = json!(value);
        key
    };
    assert!(is_signed(vec![with(p256(), "use", "sig")], ES256));
    assert!(is_signed(vec![with(p256(), "alg", "ES256")], ES256));
    assert!(!is_signed(vec![with(p256(), "use", "enc")], ES256));
    assert!(!is_signed(vec![with(p256(), "alg", "ES384")], ES256));
    assert!(!is_signed(vec![with(rsa(), "alg", "PS256")], RS256));
    assert!(!is_signed(vec![with(p256(), "crv", "P-384")], ES256));
    assert!(!is_signed(vec![json!({"kty": "oct", "k": "c2VjcmV0"})], RS256));
    // Two keys of one kind and no name: which one is meant is not guessed.
    assert!(!is_signed(vec![p256(), with(p256(), "kid", "b")], ES256));
}

#[test]
fn a_set_that_is_none_has_no_keys() {
    for set in [json!(null), json!([]), json!({"keys": "x"}), json!({"keys": [1, {}, {"kty": "RSA"}]})] {
        assert!(KeySet::read(&set).is_empty(), "{set}");
    }
}
