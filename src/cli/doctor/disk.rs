//! Room on the disk of the data folder.

use std::path::Path;

use super::Findings;
use crate::disk::Room;

const CHECK: &str = "disk";

pub(super) fn check(data_dir: &Path, findings: &mut Findings) {
    // The folder may be still to be made; its nearest parent is on the same disk.
    let folder = data_dir.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
    let room = match Room::of(folder) {
        Ok(room) => room,
        Err(_) => return findings.warn(CHECK, "the free space could not be found out", "look with `df -h`"),
    };
    let (free, reserve) = (room.free >> 20, room.reserve() >> 20);
    if room.is_low() {
        let mend = format!("make room: with less than {reserve} MiB free no sync begins and nothing new is written");
        return findings.fail(CHECK, format!("{free} MiB free"), mend);
    }
    findings.ok(CHECK, format!("{free} MiB free, of which {reserve} are kept"));
}
