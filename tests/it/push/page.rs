//! The commands of the page for users, run as they stand.

use serde_json::{Value, json};

use super::Bench;
use crate::support::server::{ADMIN_KEY, id_of};
use crate::support::tools;

/// The commands of a page: its blocks without a language.
fn blocks(page: &str) -> Vec<&str> {
    let mut blocks = Vec::new();
    for (position, part) in page.split("```").enumerate() {
        if position % 2 == 1
            && let Some(block) = part.strip_prefix('\n')
        {
            blocks.push(block);
        }
    }
    blocks
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_page_work_as_they_stand() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/sources/push.md")).expect("the page");
    let bench = Bench::start().await;
    let commands = blocks(&page);
    assert_eq!(commands.len(), 6, "{commands:#?}");
    let mut connection = String::new();
    for command in commands {
        let mut shell = tools::system("bash");
        let command = command.replace("http://127.0.0.1:8420", &bench.server.base);
        let command = command.replace("buf curl", &format!("{}/python/bin/buf curl", tools::folder().display()));
        shell.arg("-euc").arg(&command).env("API", format!("{}/api/v1", bench.server.base)).env("KEY", ADMIN_KEY);
        shell.env("COLLECTION", &bench.collection).env("ID", &connection).env("no_proxy", "*");
        let printed = tools::run(shell, 60).await.ok();
        let answers: Vec<Value> =
            serde_json::Deserializer::from_str(&printed).into_iter().map(|answer| answer.expect("JSON")).collect();
        assert!(!answers.is_empty(), "{command}");
        for answer in &answers {
            let is_rest = !command.contains("buf curl");
            assert!(!is_rest || answer["success"] == json!(true), "{command}\n{answer:#}");
        }
        if connection.is_empty() {
            connection = id_of(&answers[0]["sourceConnection"]);
        } else if command.contains("documents:batch") {
            // As the page shows it.
            let shown = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an answer");
            assert_eq!(answers[0], serde_json::from_str::<Value>(shown).expect("JSON"));
        }
    }
    let titles: Vec<String> = bench.titles().await.into_values().collect();
    assert_eq!(titles, ["How do I reset my password?"]);
}
