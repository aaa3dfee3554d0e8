//! Programs that others wrote and that the tests drive. `tests/run` installs them
//! and names their folder in `TRIBUTARY_TEST_TOOLS`; without them a test fails and
//! says so, since a test that skips itself proves nothing.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

/// What a program printed.
#[derive(Debug)]
pub struct Printed {
    /// Exit code; -1 when it was killed.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Printed {
    /// The output of a program that went well.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}\n{}", self.out, self.err);
        self.out
    }

    /// The JSON document that a program that went well printed.
    #[track_caller]
    pub fn json(self) -> Value {
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }
}

/// Folder of the tools.
#[track_caller]
pub fn folder() -> PathBuf {
    let Some(folder) = std::env::var_os("TRIBUTARY_TEST_TOOLS") else {
        panic!("TRIBUTARY_TEST_TOOLS names no folder with the clients: run tests/run, which installs them");
    };
    PathBuf::from(folder)
}

/// A program of the Python environment.
#[track_caller]
pub fn python(program: &str) -> Command {
    existing(folder().join("python/bin").join(program))
}

/// Folder of the JavaScript packages.
#[track_caller]
pub fn packages() -> PathBuf {
    let folder = folder().join("clients/node_modules");
    assert!(folder.is_dir(), "there is no {}: run tests/run, which installs it", folder.display());
    folder
}

/// A program of the system.
#[track_caller]
pub fn system(program: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file());
    existing(found.unwrap_or_else(|| PathBuf::from(program)))
}

#[track_caller]
fn existing(program: PathBuf) -> Command {
    assert!(program.is_file(), "there is no `{}`: run tests/run, which installs it", program.display());
    let mut command = Command::new(program);
    // A proxy of the machine is no way to a server on loopback.
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(name);
    }
    command
}

/// A file beside the tests.
pub fn beside(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(path)
}

/// Runs a program to its end; kills it and fails when it takes longer than it may.
pub async fn run(mut command: Command, seconds: u64) -> Printed {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let what = format!("{:?}", command.as_std().get_program());
    let child = command.spawn().unwrap_or_else(|error| panic!("{what} cannot be started: {error}"));
    let ended = tokio::time::timeout(Duration::from_secs(seconds), child.wait_with_output()).await;
    let output = ended.unwrap_or_else(|_| panic!("{what} has not ended after {seconds} s")).expect("its output");
    Printed {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
