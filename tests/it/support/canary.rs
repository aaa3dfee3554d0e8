//! Secrets that nobody but these tests knows are looked for wherever something
//! comes out of a server: its log at TRACE, its answers, its files. Every server of
//! the tests is watched so.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, Once};

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tributary::config::{LogFormat, TelemetryConfig};

use super::postgres::PASSWORD;
use super::server::ADMIN_KEY;

/// The file that holds the encryption key, and may.
const KEY_FILE: &str = "encryption.key";

/// Secrets in all their forms.
pub struct Canaries {
    names: Vec<String>,
    forms: AhoCorasick,
}

impl Canaries {
    /// These secrets, by name.
    pub fn new<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let (mut names, mut forms) = (Vec::new(), Vec::new());
        for (name, secret) in secrets {
            for form in forms_of(secret) {
                names.push(name.to_owned());
                forms.push(form);
            }
        }
        Self { names, forms: AhoCorasick::new(forms).expect("few and short") }
    }

    /// How many forms are looked for.
    pub fn forms(&self) -> usize {
        self.names.len()
    }

    /// The names of those that are in there.
    pub fn found(&self, bytes: &[u8]) -> Vec<&str> {
        let forms = self.forms.find_overlapping_iter(bytes);
        let mut found: Vec<&str> = forms.map(|form| self.names[form.pattern().as_usize()].as_str()).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The same for every file below a folder, but for the one with the key.
    pub fn found_below(&self, folder: &Path) -> (u64, Vec<String>) {
        let (mut files, mut found) = (0, Vec::new());
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(path);
                } else if path.file_name().is_some_and(|name| name != KEY_FILE) {
                    files += 1;
                    let bytes = std::fs::read(&path).unwrap_or_default();
                    found.extend(self.found(&bytes).into_iter().map(|name| format!("{name} in {}", path.display())));
                }
            }
        }
        (files, found)
    }
}

/// A secret as it is, in hexadecimal, in base64 wherever it begins in what is
/// encoded, in a URL, and within JSON.
fn forms_of(secret: &str) -> Vec<String> {
    let bytes = secret.as_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
    let mut forms = vec![
        secret.to_owned(),
        hex.to_uppercase(),
        hex,
        percent.to_lowercase(),
        percent,
        url_escaped(secret),
        url_escaped(secret).replace("%20", "+"),
        serde_json::to_string(secret).expect("a text").trim_matches('"').to_owned(),
    ];
    for before in 0..3 {
        let shifted = [&vec![0; before], bytes].concat();
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let text = engine.encode(&shifted);
            // The first and last characters also hang on what is beside it.
            let end = text.len() - usize::from(!shifted.len().is_multiple_of(3));
            forms.push(text[(before * 8).div_ceil(6)..end].to_owned());
        }
    }
    forms.sort();
    forms.dedup();
    forms
}

fn url_escaped(secret: &str) -> String {
    let keep = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    secret.bytes().map(|byte| if keep(&byte) { (byte as char).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// What is looked for at every server.
static EVERYWHERE: LazyLock<Canaries> =
    LazyLock::new(|| Canaries::new([("the administrator's key", ADMIN_KEY), ("the database's password", PASSWORD)]));

/// What was found, of whichever server.
static FOUND: Mutex<Vec<String>> = Mutex::new(Vec::new());

static LINES: AtomicU64 = AtomicU64::new(0);
static ANSWERS: AtomicU64 = AtomicU64::new(0);
static FILES: AtomicU64 = AtomicU64::new(0);

fn note(found: impl IntoIterator<Item = String>) {
    FOUND.lock().expect("nobody panicked").extend(found);
}

/// From now on everything that is logged in this process is looked through.
pub fn watch_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let config = TelemetryConfig { log_level: "trace".into(), log_format: LogFormat::Json, otlp_endpoint: None };
        let lines = tributary::telemetry::lines(&config, || Log, false).expect("a level");
        tracing_subscriber::registry().with(lines).try_init().expect("nobody else watches the log");
    });
}

/// Takes what is logged, a line at a time.
struct Log;

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        LINES.fetch_add(1, Ordering::Relaxed);
        let found = EVERYWHERE.found(line);
        // Never the line itself.
        note(found.into_iter().map(|name| format!("{name} in the log")));
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Looks through an answer.
pub fn look_through(answer: &str) {
    ANSWERS.fetch_add(1, Ordering::Relaxed);
    note(EVERYWHERE.found(answer.as_bytes()).into_iter().map(|name| format!("{name} in an answer")));
}

/// A folder of a server; looked through when it goes.
pub struct Watched(pub tempfile::TempDir);

impl Drop for Watched {
    fn drop(&mut self) {
        let (files, found) = EVERYWHERE.found_below(self.0.path());
        FILES.fetch_add(files, Ordering::Relaxed);
        note(found);
        if let Ok(report) = std::env::var("TRIBUTARY_TEST_CANARIES") {
            drop(std::fs::write(report, so_far()));
        }
        let found = FOUND.lock().map(|found| found.clone()).unwrap_or_default();
        assert!(found.is_empty() || std::thread::panicking(), "secrets got out: {found:?}");
    }
}

/// What was looked through so far.
pub fn so_far() -> String {
    let [lines, answers, files] = [&LINES, &ANSWERS, &FILES].map(|count| count.load(Ordering::Relaxed));
    let forms = EVERYWHERE.forms();
    format!("{forms} forms of secrets in {lines} lines of the log, {answers} answers and {files} files: none found\n")
}
