//! Free space of the data folder, as `df` tells it.

use std::path::Path;
use std::process::Command;

use super::Findings;

const CHECK: &str = "disk";
/// What is left below this is kept for the stores themselves.
const RESERVE_KIB: u64 = 512 << 10;

pub(super) fn check(data_dir: &Path, findings: &mut Findings) {
    // The folder may be still to be made; its nearest parent is on the same disk.
    let folder = data_dir.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
    let output = Command::new("df").arg("-Pk").arg("--").arg(folder).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    match parse(&text) {
        None => findings.warn(CHECK, "the free space could not be found out", "look with `df -h`"),
        Some((free, used)) if free < RESERVE_KIB || used > 95 => findings.fail(
            CHECK,
            format!("{} MiB free, {used} % used", free >> 10),
            "make room: with less than 512 MiB or 5 % free no sync begins",
        ),
        Some((free, used)) => findings.ok(CHECK, format!("{} MiB free, {used} % used", free >> 10)),
    }
}

/// KiB free and percent used, from the last line of `df -Pk`.
fn parse(text: &str) -> Option<(u64, u64)> {
    let fields: Vec<&str> = text.lines().last()?.split_whitespace().collect();
    let percent = fields.iter().position(|field| field.ends_with('%'))?;
    let used = fields[percent].trim_end_matches('%').parse().ok()?;
    let free = fields.get(percent.checked_sub(1)?)?.parse().ok()?;
    Some((free, used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_free_space_is_read_from_the_last_line() {
        let text = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/my disk 100 40 60 40% /a b\n";
        assert_eq!(parse(text), Some((60, 40)));
        assert_eq!(parse(""), None);
        assert_eq!(parse("Filesystem 1024-blocks Used Available Capacity Mounted on\n"), None);
    }
}
