//! The only place that writes names and values into statements.

/// Takes a snapshot.
pub(super) const SNAPSHOT: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";

/// Everything that would let the server or the account decide how values look, or how
/// long we may take, is set here; then the snapshot is taken.
pub(super) fn settings(is_mariadb: bool) -> [&'static str; 5] {
    [
        "SET NAMES utf8mb4",
        "SET SESSION sql_mode = '', time_zone = '+00:00', sql_select_limit = 18446744073709551615, \
         sql_big_selects = 1, net_write_timeout = 3600, lock_wait_timeout = 30",
        if is_mariadb { "SET SESSION max_statement_time = 0" } else { "SET SESSION max_execution_time = 0" },
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        SNAPSHOT,
    ]
}

/// A select that the server ends by itself after so many seconds.
pub(super) fn limited(is_mariadb: bool, seconds: u64, select: &str) -> String {
    if is_mariadb {
        format!("SET STATEMENT max_statement_time = {seconds} FOR SELECT {select}")
    } else {
        format!("SELECT /*+ MAX_EXECUTION_TIME({}) */ {select}", seconds * 1000)
    }
}

/// An identifier, always in quotes.
pub(super) fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A table by its full name.
pub(super) fn table(database: &str, name: &str) -> String {
    format!("{}.{}", identifier(database), identifier(name))
}

/// A text; in hexadecimal it means the same under every setting.
pub(super) fn text(text: &str) -> String {
    format!("_utf8mb4 {}", bytes(text.as_bytes()))
}

/// Bytes as they are.
pub(super) fn bytes(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("x'{digits}'")
}

/// A whole number; none if it is not written as one.
pub(super) fn whole_number(text: &str) -> Option<String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number = !digits.is_empty() && digits.len() <= 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.to_owned())
}

/// A date or time; none if it is not written as one.
pub(super) fn moment(text: &str) -> Option<String> {
    let is_moment = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || b"-: .".contains(&byte));
    is_moment.then(|| format!("'{text}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_stay_what_they_are() {
        assert_eq!(identifier("a`b; DROP"), "`a``b; DROP`");
        assert_eq!(text("'\\"), "_utf8mb4 x'275c'");
        assert_eq!(bytes(b""), "x''");
        assert_eq!(whole_number("-18446744073709551615").as_deref(), Some("-18446744073709551615"));
        for odd in ["", "-", "1 OR 1", "1e3", "0x1", "123456789012345678901"] {
            assert_eq!(whole_number(odd), None, "{odd}");
        }
        assert_eq!(moment("2024-02-29 12:00:00.5").as_deref(), Some("'2024-02-29 12:00:00.5'"));
        assert_eq!(moment("' OR 1"), None);
    }
}
