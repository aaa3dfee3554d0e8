//! What a file is, by its first bytes; its name decides only where they do not.

/// Bytes at the begin of a tape archive that tell it.
pub(super) const TAR_HEAD: u64 = 512;

/// How a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Pdf,
    /// Zip: an archive, or one of the documents that are one.
    Package,
    /// What Office wrote before 2007.
    Compound,
    RichText,
    Parquet,
    Avro,
    Tar,
    Gzip,
    Zstandard,
    /// Text, if it is any.
    Text,
    /// Not what its name says.
    Broken,
}

impl Kind {
    pub(super) fn of(extension: &str, bytes: &[u8]) -> Self {
        let head = &bytes[..bytes.len().min(1024)];
        match head {
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Self::Package,
            [0xd0, 0xcf, 0x11, 0xe0, ..] => Self::Compound,
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstandard,
            [b'O', b'b', b'j', 1, ..] => Self::Avro,
            _ if head.starts_with(b"%PDF-") => Self::Pdf,
            _ if head.starts_with(b"{\\rtf") => Self::RichText,
            _ if is_parquet(bytes) => Self::Parquet,
            _ if is_tar(head) => Self::Tar,
            _ => Self::by_name(extension, head),
        }
    }

    fn by_name(extension: &str, head: &[u8]) -> Self {
        match extension {
            // Something may stand before its begin.
            "pdf" => Self::Pdf,
            // Tables for Excel are often HTML or text under another name.
            "xls" if !head.contains(&0) => Self::Text,
            "doc" if is_markup(head) => Self::Text,
            "rtf" | "xls" | "parquet" | "avro" | "tar" | "tgz" | "gz" | "zst" | "zip" => Self::Broken,
            _ if is_package(extension) => Self::Broken,
            _ => Self::Text,
        }
    }
}

/// Extensions of documents that are zip archives.
pub(super) fn is_package(extension: &str) -> bool {
    matches!(
        extension,
        "docx"
            | "docm"
            | "dotx"
            | "xlsx"
            | "xlsm"
            | "xlsb"
            | "xltx"
            | "pptx"
            | "pptm"
            | "ppsx"
            | "potx"
            | "odt"
            | "ods"
            | "odp"
            | "odg"
            | "ott"
            | "epub"
    )
}

/// Whether a text is HTML or XML.
pub(super) fn is_markup(head: &[u8]) -> bool {
    let text = head.trim_ascii_start();
    text.starts_with(b"<?xml") || is_page(text)
}

/// Whether a text is HTML.
pub(super) fn is_page(text: &[u8]) -> bool {
    let head = text.trim_ascii_start();
    let head = head[..head.len().min(16)].to_ascii_lowercase();
    head.starts_with(b"<!doctype html") || head.starts_with(b"<html")
}

/// The mark stands at both ends; a short one may begin many things.
fn is_parquet(bytes: &[u8]) -> bool {
    [b"PAR1", b"PARE"].iter().any(|mark| bytes.starts_with(*mark) && bytes.ends_with(*mark))
}

/// Whether this is the head of a tape archive.
pub(super) fn is_tar(head: &[u8]) -> bool {
    head.get(257..262) == Some(b"ustar") && head.len() >= 512
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_win_over_the_name() {
        let tar = [&[b'a'; 257][..], b"ustar\x0000", &[0; 300]].concat();
        let cases: &[(&str, &[u8], Kind)] = &[
            ("txt", b"%PDF-1.4", Kind::Pdf),
            ("pdf", b"junk %PDF-1.4", Kind::Pdf),
            ("doc", b"{\\rtf1", Kind::RichText),
            ("docx", b"\xd0\xcf\x11\xe0", Kind::Compound),
            ("docx", b"plain", Kind::Broken),
            ("jpg", b"PK\x03\x04", Kind::Package),
            ("xls", b"<html>", Kind::Text),
            ("xls", b"\x09\0", Kind::Broken),
            ("parquet", b"PAR1", Kind::Parquet),
            ("txt", b"PAR1 is short", Kind::Text),
            ("bin", &tar, Kind::Tar),
            ("md", b"# Title", Kind::Text),
            ("gz", b"", Kind::Broken),
        ];
        for (extension, bytes, kind) in cases {
            assert_eq!(Kind::of(extension, bytes), *kind, "{extension}");
        }
        assert!(is_page(b"\n <!DOCTYPE HTML PUBLIC") && is_markup(b"<?xml version") && !is_markup(b"<a>"));
    }
}
