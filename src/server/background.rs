//! Threads for what no caller waits for: syncs, clears and followers. Where the
//! processors do not suffice for all, those who wait for an answer come first.

use std::io;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tracing::debug;

/// How much these threads step back, as `nice` counts it (-20 to 19): of a processor
/// that an ordinary thread wants too, they get a tenth. Threads and processes that
/// they start, those of an index and those that parse documents, inherit it.
const NICENESS: i32 = 10;

/// How long its threads may take to finish what they are at.
const ENDING: Duration = Duration::from_secs(5);

/// The threads; they end with the value.
pub(super) struct Background(Option<Runtime>);

impl Background {
    /// As many as there are processors, and more while something blocks.
    pub(super) fn start() -> io::Result<Self> {
        let runtime =
            Builder::new_multi_thread().enable_all().thread_name("background").on_thread_start(step_back).build()?;
        Ok(Self(Some(runtime)))
    }

    /// Where to spawn.
    pub(super) fn handle(&self) -> &Handle {
        self.0.as_ref().expect("only an end takes it").handle()
    }

    /// Waits until the threads have finished what they are at.
    pub(super) async fn close(mut self) {
        if let Some(runtime) = self.0.take() {
            let _ = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(ENDING)).await;
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Of this thread alone, on systems where threads have priorities of their own.
fn step_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        debug!(error = &error as &dyn std::error::Error, "background threads keep their priority");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn its_threads_step_back_and_no_others_do() {
        let before = rustix::process::getpriority_process(None).expect("a priority");
        let background = Background::start().expect("threads");
        let there = background.handle().spawn(async {
            let blocking = tokio::task::spawn_blocking(|| {
                std::thread::spawn(|| rustix::process::getpriority_process(None)).join().expect("it ends")
            });
            (rustix::process::getpriority_process(None), blocking.await.expect("it ends"))
        });
        let (task, started) = there.await.expect("it ends");
        assert_eq!((task.expect("a priority"), started.expect("a priority")), (NICENESS, NICENESS));
        assert_eq!(rustix::process::getpriority_process(None).expect("a priority"), before);
        background.close().await;
    }
}
