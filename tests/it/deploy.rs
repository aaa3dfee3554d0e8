//! What is beside the binary for those who run it, and what the binary says of
//! itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::process::Process;
use crate::support::tools;

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn tributary(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tributary")).args(arguments).output().unwrap()
}

#[test]
fn the_service_of_systemd_is_valid_and_little_exposed() {
    let folder = tempfile::tempdir().unwrap();
    let unit = fs::read_to_string(deploy("tributary.service")).unwrap();
    let here = unit.replace("/usr/local/bin/tributary", env!("CARGO_BIN_EXE_tributary"));
    assert_ne!(here, unit);
    let path = folder.path().join("tributary.service");
    fs::write(&path, here).unwrap();
    let analyze = |arguments: &[&str]| {
        let output = Command::new("systemd-analyze").args(arguments).arg(&path).output();
        output.expect("systemd-analyze is missing: install the package `systemd`")
    };
    let verified = analyze(&["verify", "--man=no"]);
    let complaint = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(verified.status.success() && !complaint.contains("tributary.service"), "{complaint}");
    // Tenths: what is left is the network, which it is for.
    let exposure = analyze(&["security", "--offline=yes", "--threshold=20", "--no-pager"]);
    assert!(exposure.status.success(), "{}", String::from_utf8_lossy(&exposure.stdout));
}

#[tokio::test]
async fn the_bill_of_materials_is_valid_cyclonedx() {
    let output = tributary(&["sbom"]);
    assert!(output.status.success());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sbom.json");
    fs::write(&path, &output.stdout).unwrap();
    let mut check = tools::python("python");
    check.arg(tools::beside("clients/check_sbom.py")).arg(&path);
    let said = tools::run(check, 60).await.ok();
    let components: usize = said.trim().parse().unwrap();
    assert!(components > 200, "{said}");
}

#[tokio::test]
async fn health_is_what_the_server_says() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(folder.path());
    let listen = process.address().to_owned();
    let ready = tributary(&["health", "--listen", &listen]);
    assert!(ready.status.success(), "{}", String::from_utf8_lossy(&ready.stderr));
    process.kill();
    let gone = tributary(&["health", "--listen", &listen]);
    assert_eq!(gone.status.code(), Some(3), "{}", String::from_utf8_lossy(&gone.stderr));
}

/// Every word of the recipe that a reader relies on is there, and what it copies
/// exists; it cannot be built where there is no container engine.
#[test]
fn the_container_is_without_rights_and_made_of_what_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let recipe = fs::read_to_string(deploy("Containerfile")).unwrap();
    let last = recipe.rsplit("\nFROM ").next().unwrap();
    assert!(last.starts_with("scratch\n") && last.contains("\nUSER 65532:65532\n"), "{last}");
    assert!(last.contains("HEALTHCHECK") && last.contains("[\"/tributary\", \"health\"]"), "{last}");
    let ignored = fs::read_to_string(root.join(".dockerignore")).unwrap();
    let copied = recipe.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.starts_with("--"));
    let mut sources = 0;
    for line in copied {
        let words: Vec<&str> = line.split_whitespace().collect();
        for source in &words[..words.len() - 1] {
            assert!(root.join(source).exists(), "{source}");
            assert!(ignored.lines().any(|line| line == format!("!{source}")), "{source} is left out of the build");
            sources += 1;
        }
    }
    assert!(sources >= 7, "{recipe}");
}

#[tokio::test]
async fn the_compose_file_keeps_the_store_inside_and_the_container_read_only() {
    let mut read = tools::python("python");
    let script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
    read.args(["-c", script]).arg(deploy("compose.yaml"));
    let compose = tools::run(read, 60).await.json();
    let service = &compose["services"]["tributary"];
    assert_eq!(service["read_only"], true);
    assert_eq!(service["cap_drop"], serde_json::json!(["ALL"]));
    assert_eq!(service["ports"], serde_json::json!(["127.0.0.1:8420:8420"]));
    assert_eq!(compose["networks"]["store"]["internal"], true);
    assert_eq!(compose["services"]["database"]["networks"], serde_json::json!(["store"]));
    let settings: Vec<&String> = service["environment"].as_object().unwrap().keys().collect();
    let known = tributary(&["serve", "--help"]);
    let known = String::from_utf8_lossy(&known.stdout).into_owned();
    assert!(settings.iter().all(|name| known.contains(name.as_str())), "{settings:?}");
    let secrets: &Value = &compose["secrets"];
    for used in service["secrets"].as_array().unwrap() {
        assert!(secrets.get(used.as_str().unwrap()).is_some(), "{used}");
    }
}

/// The compiler refuses it in every crate of ours, and no lint takes that back.
#[test]
fn unsafe_code_is_forbidden_everywhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest: toml::Table = toml::from_str(&fs::read_to_string(root.join("Cargo.toml")).unwrap()).unwrap();
    assert_eq!(manifest["workspace"]["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"));
    for member in manifest["workspace"]["members"].as_array().unwrap() {
        let path = root.join(member.as_str().unwrap()).join("Cargo.toml");
        let member: toml::Table = toml::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(member["lints"]["workspace"].as_bool(), Some(true));
    }
}
