//! Paths and JSON that nobody would write.

use proptest::prelude::*;

use crate::gateway::json::Json;
use crate::gateway::template::Template;
use crate::gateway::tests::protos;
use crate::gateway::trie::Trie;
use crate::gateway::{bind, path, read, write};
use crate::tests::{corpus, fuzz, tampered, worded};

const TEMPLATE: &[&str] =
    &["/", "/v1", "{", "}", "=", "*", "**", ":", ".", "{id}", "{name=a/*}", "{x=**}", "verb", "%", ""];
const PATH: &[&str] = &[
    "/",
    "v1",
    "a",
    "..",
    ".",
    "%2F",
    "%2f",
    "%00",
    "%",
    "%zz",
    "%e2%82%ac",
    "%ff",
    "*",
    ":",
    ":verb",
    "?",
    "#",
    "{id}",
    "//",
];

#[test]
fn a_template_that_is_read_prints_as_one_that_is_read_alike() {
    fuzz("path templates", worded(TEMPLATE), |text| {
        if let Ok(template) = Template::parse(&text) {
            let printed = template.to_string();
            prop_assert_eq!(Template::parse(&printed).map(|again| again.to_string()).ok(), Some(printed));
        }
        Ok(())
    });
}

#[test]
fn a_path_binds_what_its_segments_hold_and_nothing_else() {
    let templates: Vec<Template> = ["/v1/a", "/v1/{id}", "/v1/{id}:verb", "/v1/a/{rest=**}", "/{a}/{b}/{c}", "/v1/*/a"]
        .map(|text| Template::parse(text).unwrap())
        .into();
    let trie = Trie::new(templates.iter());
    fuzz("paths", worded(PATH), |text| {
        let Ok(segments) = path::segments(&text) else { return Ok(()) };
        let Some(index) = trie.search(&segments, |routes| routes.first().copied()) else { return Ok(()) };
        for (_, value) in bind::variables(&templates[index], &segments) {
            prop_assert!(!value.contains('\0'), "{text}: {value:?}");
            let has_dots = value.split('/').any(|part| part == ".." || part == ".");
            // A slash that is escaped stands within its segment.
            prop_assert!(text.contains('%') || !has_dots, "{text}: {value:?}");
        }
        Ok(())
    });
}

#[test]
fn json_that_becomes_a_message_prints_as_json_that_becomes_the_same() {
    let descriptor = protos::all_types();
    fuzz("json to proto", tampered(corpus("tests/corpus/json")), |bytes| {
        let Ok(json) = Json::parse(&bytes) else { return Ok(()) };
        let Ok(message) = read::message(&descriptor, &json) else { return Ok(()) };
        let Ok(printed) = write::message(&message) else { return Ok(()) };
        let again = Json::parse(printed.as_bytes());
        prop_assert!(again.is_ok(), "{printed}");
        let again = again.ok().and_then(|json| read::message(&descriptor, &json).ok());
        let text = again.and_then(|again| write::message(&again).ok());
        // Maps print in any order.
        prop_assert_eq!(text.map(|text| text.len()), Some(printed.len()));
        Ok(())
    });
}
