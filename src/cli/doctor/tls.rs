//! Whether the files of TLS can be used, for how long, and by whom they can be read.

use std::fs::File;

use super::{Findings, chain};
use crate::config::Config;
use crate::secrets::source;
use crate::server::tls::{Inspection, inspect};

const CHECK: &str = "TLS";
const DAY: i64 = 24 * 60 * 60;
/// A certificate that ends sooner should have been renewed.
const SOON: i64 = 14 * DAY;

pub(super) fn check(config: &Config, findings: &mut Findings) {
    let Some(files) = &config.tls else {
        return findings.ok(CHECK, "none; the server listens in plain text, on loopback or behind a proxy");
    };
    let mend = "correct --tls-certificate, --tls-key and --tls-client-ca";
    let shown = files.certificate.display();
    match inspect(files) {
        Err(error) => findings.fail(CHECK, chain(&error), mend),
        Ok(Inspection { seconds_left: Some(left) }) if left <= 0 => {
            findings.fail(CHECK, format!("the certificate in `{shown}` has ended"), "renew it");
        }
        Ok(Inspection { seconds_left: Some(left) }) if left < SOON => {
            findings.warn(CHECK, format!("the certificate in `{shown}` ends in {} days", left / DAY), "renew it");
        }
        Ok(_) => findings.ok(CHECK, format!("the certificate in `{shown}` and its key fit")),
    }
    if File::open(&files.key).and_then(|key| source::is_open_to_others(&key)).unwrap_or(false) {
        let key = files.key.display();
        findings.warn(CHECK, format!("other users can read the key in `{key}`"), format!("chmod 600 '{key}'"));
    }
}
