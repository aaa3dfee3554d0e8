//! Configuration files that are none.

use proptest::prelude::*;

use super::{Config, file};
use crate::tests::{fuzz, worded};

const TOML: &[&str] = &[
    "listen",
    "workers",
    "data_dir",
    "log_format",
    "encryption_key_file",
    "file_roots",
    "allow_destinations",
    "limits",
    " = ",
    "\n",
    "\"",
    "[",
    "]",
    "[[",
    "{",
    "}",
    "127.0.0.1:1",
    "3",
    "-1",
    "99999999999999999999",
    "true",
    "'''",
    "#",
    "\\u",
    ".",
];

#[test]
fn a_file_is_read_or_refused_with_words_for_people() {
    fuzz("config", worded(TOML), |text| {
        let file = file(&text);
        if let Err(invalid) = Config::load(Some(file.path()), &[], []) {
            prop_assert!(!invalid.problems.is_empty());
            for problem in invalid.problems {
                prop_assert!(!problem.to_string().is_empty());
            }
        }
        Ok(())
    });
}
