//! Room on the disk for one pass: a file that only we can open, and that has no name
//! any more once it is open. So nothing can be put in its place, and nothing is left
//! of it however the process ends.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;

/// An empty file.
pub(super) fn file() -> io::Result<File> {
    let folder = std::env::temp_dir();
    loop {
        let path = folder.join(format!("tributary-{:032x}", rand::random::<u128>()));
        match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => {
                std::fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn it_is_private_and_has_no_name() {
        let metadata = super::file().unwrap().metadata().unwrap();
        assert_eq!((metadata.nlink(), metadata.mode() & 0o777), (0, 0o600));
    }
}
