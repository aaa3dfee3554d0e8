//! Peers that mean no good, against the binary: their connections end or are bounded,
//! the memory of the server stays where it was, and others are served.

mod floods;
mod readers;
mod slow;

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::process::Process;

/// Most that the memory may grow under an attack.
const MOST_KIB: u64 = 64 * 1024;
/// Long enough for a loaded machine; what should happen happens long before.
const PATIENCE: Duration = Duration::from_secs(60);

/// Times that are short here.
const SHORT: [&str; 4] = [
    "TRIBUTARY_HEADER_TIMEOUT_SECONDS",
    "TRIBUTARY_BODY_TIMEOUT_SECONDS",
    "TRIBUTARY_WRITE_TIMEOUT_SECONDS",
    "TRIBUTARY_IDLE_TIMEOUT_SECONDS",
];

/// The binary with a good client.
struct Victim {
    process: Process,
    _folder: TempDir,
}

impl Victim {
    /// Starts it with short times, so that its patience can be waited for.
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let process = Process::start_with(folder.path(), &SHORT.map(|name| (name, "2".to_owned())));
        let victim = Self { process, _folder: folder };
        // What is made once is made before anything is measured.
        victim.is_well().await;
        victim
    }

    fn address(&self) -> &str {
        self.process.address()
    }

    /// A good client is served.
    async fn is_well(&self) {
        for _ in 0..10 {
            self.process.call("GET", "/api/v1/sources", None).await;
        }
    }

    /// Lets somebody attack while a good client calls; memory must not grow much.
    async fn endures<T>(&self, attack: impl Future<Output = T>) -> T {
        let before = memory(self.process.id(), "VmRSS");
        // From here on the most that it had is counted anew.
        std::fs::write(format!("/proc/{}/clear_refs", self.process.id()), "5").expect("our own process");
        let good = async {
            loop {
                self.is_well().await;
            }
        };
        let result = tokio::select! {
            result = attack => result,
            () = good => unreachable!("it calls until the attack is over"),
        };
        self.is_well().await;
        let grown = memory(self.process.id(), "VmHWM").saturating_sub(before);
        assert!(grown < MOST_KIB, "the memory grew by {grown} KiB");
        result
    }
}

/// A figure of a process in KiB.
fn memory(process: u32, which: &str) -> u64 {
    let path = format!("/proc/{process}/status");
    let text = std::fs::read_to_string(Path::new(&path)).expect("the process is there");
    let line = text.lines().find(|line| line.starts_with(which)).expect("the figure is there");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}
