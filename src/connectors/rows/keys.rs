//! Keys of rows that have none.

use std::collections::HashMap;

use serde_json::json;
use xxhash_rust::xxh3::xxh3_128;

/// Hash of a row + its ordinal among equals: equal rows can stand for one another.
/// `seen` counts what was met of the same object before.
pub fn hashed(payload: &[u8], seen: &mut HashMap<u128, u64>) -> String {
    let hash = xxh3_128(payload);
    let ordinal = seen.entry(hash).or_insert(0);
    *ordinal += 1;
    json!([format!("{hash:032x}"), *ordinal]).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_rows_are_told_apart_and_named_the_same_again() {
        let (mut seen, mut again) = (HashMap::new(), HashMap::new());
        let keys = [hashed(b"x", &mut seen), hashed(b"x", &mut seen), hashed(b"y", &mut seen)];
        assert!(keys[0] != keys[1] && keys[0] != keys[2] && keys[1] != keys[2], "{keys:?}");
        assert_eq!(hashed(b"x", &mut again), keys[0]);
    }
}
