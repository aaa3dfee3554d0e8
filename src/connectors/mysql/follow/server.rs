//! What is asked of the server beside rows: which one it is, where its log is, what it
//! needs to be followed.

use std::collections::HashMap;

use super::gtid::Position;
use super::stream::{Mark, number_of_file};
use crate::connectors::mysql::failure::Failure;
use crate::connectors::mysql::session::{Row, Session};
use crate::connectors::mysql::sql;

/// The beginning of a server is exact: the time now, less what it says that it has run,
/// which it reckons from the same two.
const SERVER_OF_MARIADB: &str = "\
    SELECT @@hostname, @@server_id, CAST(UNIX_TIMESTAMP() - VARIABLE_VALUE AS SIGNED) \
    FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'UPTIME'";
const SERVER_OF_MYSQL: &str = "\
    SELECT @@server_uuid, @@server_id, CAST(UNIX_TIMESTAMP() - VARIABLE_VALUE AS SIGNED) \
    FROM performance_schema.global_status WHERE VARIABLE_NAME = 'Uptime'";

const VARIABLES: &str = "\
    SHOW GLOBAL VARIABLES WHERE Variable_name IN ('log_bin', 'binlog_format', 'log_bin_compress', \
        'log_slave_updates', 'log_replica_updates', 'gtid_slave_pos', 'wsrep_on', 'gtid_mode', \
        'binlog_transaction_compression', 'binlog_row_value_options')";

/// Something that is missing: a code, and what to do.
pub(super) type Missing = (&'static str, &'static str);

pub(super) const STREAM_RIGHT: Missing = (
    "replication_right_missing",
    "the login may not read the log; its administrator can allow it with GRANT REPLICATION SLAVE, REPLICATION CLIENT \
     ON *.* TO ...",
);
const TAGGED: Missing = ("gtid_tags", "the server has transactions under names with tags, which cannot be followed");

/// Which server this is, and since when it runs. One that was started again may have
/// lost commits that nobody had waited for, and given their numbers to others.
pub(super) async fn ground(session: &mut Session) -> Result<String, Failure> {
    let statement = if session.is_mariadb { SERVER_OF_MARIADB } else { SERVER_OF_MYSQL };
    let rows = session.all(statement, 1).await?;
    let parts: Vec<String> = rows.iter().flatten().flatten().map(|part| lossy(part)).collect();
    if parts.len() == 3 { Ok(parts.join(" ")) } else { Err(Failure::broken("the server does not say which it is")) }
}

/// Up to where everything is seen by the snapshot of the session, or by any later one.
pub(super) async fn position(session: &mut Session) -> Result<Result<Position, Missing>, Failure> {
    let statement = if session.is_mariadb {
        let (file, place) = logged(session).await?;
        format!("SELECT BINLOG_GTID_POS({}, {place})", sql::text(&file))
    } else {
        "SELECT @@GLOBAL.gtid_executed".to_owned()
    };
    let text = one(session, &statement).await?.unwrap_or_default();
    Ok(Position::parse(&text, session.is_mariadb).ok_or(TAGGED))
}

/// Where in the log of MariaDB the snapshot of the session is.
pub(super) async fn snapshot(session: &mut Session) -> Result<Mark, Failure> {
    let (file, place) = logged(session).await?;
    let file = number_of_file(file.as_bytes()).ok_or_else(odd)?;
    Ok(Mark::Logged { file, place })
}

async fn logged(session: &mut Session) -> Result<(String, u64), Failure> {
    let shown = named(session, "SHOW STATUS LIKE 'binlog_snapshot_%'").await?;
    let value = |name: &str| shown.get(name).cloned();
    let place = value("binlog_snapshot_position").and_then(|place| place.parse().ok());
    value("binlog_snapshot_file").zip(place).ok_or_else(odd)
}

fn odd() -> Failure {
    Failure::broken("the server does not say where in its log a snapshot is")
}

/// True when all transactions of the set have ended, on MySQL.
pub(super) async fn has_executed(session: &mut Session, set: &str) -> Result<bool, Failure> {
    let statement = format!("SELECT GTID_SUBSET({set}, @@GLOBAL.gtid_executed)");
    Ok(one(session, &statement).await?.as_deref() == Some("1"))
}

/// What keeps the server from being followed, as far as its settings tell.
pub(super) async fn missing(session: &mut Session) -> Result<Vec<Missing>, Failure> {
    let variables = named(session, VARIABLES).await?;
    let mut missing = missing_of(&variables, session.is_mariadb);
    if missing.is_empty() {
        missing.extend(filters(session).await?);
    }
    Ok(missing)
}

fn missing_of(variables: &HashMap<String, String>, is_mariadb: bool) -> Vec<Missing> {
    let mut missing = Vec::new();
    let value = |name: &str| variables.get(name).map(String::as_str).unwrap_or_default();
    let is_on = |name: &str| value(name).eq_ignore_ascii_case("ON") || value(name) == "1";
    let mut need = |is_there: bool, code, hint| {
        if !is_there {
            missing.push((code, hint));
        }
    };
    need(
        is_on("log_bin"),
        "log_bin",
        "the server writes no binary log; set `log_bin` and a `server_id`, and restart it",
    );
    need(
        value("binlog_format").eq_ignore_ascii_case("ROW"),
        "binlog_format",
        "the server's `binlog_format` is not `ROW`; set it",
    );
    let writes_what_it_gets = is_on("log_slave_updates") || is_on("log_replica_updates");
    // MariaDB does not say to everybody whether it is a replica, but what it has got.
    let gets = !is_mariadb || !value("gtid_slave_pos").is_empty() || is_on("wsrep_on");
    need(
        writes_what_it_gets || !gets,
        "log_slave_updates",
        "the server does not log what it gets from others; set `log_slave_updates`, or connect to its primary",
    );
    need(!is_on("log_bin_compress"), "log_bin_compress", "the server packs its log; turn `log_bin_compress` off");
    need(
        !is_on("binlog_transaction_compression"),
        "binlog_transaction_compression",
        "the server packs its log; turn `binlog_transaction_compression` off",
    );
    need(
        value("binlog_row_value_options").is_empty(),
        "binlog_row_value_options",
        "the server logs parts of values; set `binlog_row_value_options` to nothing",
    );
    need(
        is_mariadb || value("gtid_mode").eq_ignore_ascii_case("ON"),
        "gtid_mode",
        "the server's `gtid_mode` is not `ON`; set it, with `enforce_gtid_consistency`",
    );
    missing
}

/// What the server leaves out of its log, nobody can follow.
async fn filters(session: &mut Session) -> Result<Option<Missing>, Failure> {
    let rows = match session.all("SHOW MASTER STATUS", 1).await {
        Err(failure) if !failure.fatal && !failure.is_forbidden() => session.all("SHOW BINARY LOG STATUS", 1).await,
        outcome => outcome,
    };
    let rows = match rows {
        Err(failure) if failure.is_forbidden() => return Ok(Some(STREAM_RIGHT)),
        outcome => outcome?,
    };
    let has_filters = rows.first().is_some_and(|row| (2..4).any(|index| !text(row, index).is_empty()));
    let hint = "the server leaves databases out of its log; remove `binlog_do_db` and `binlog_ignore_db`";
    Ok(has_filters.then_some(("binlog_filters", hint)))
}

/// The only value of the only row.
async fn one(session: &mut Session, statement: &str) -> Result<Option<String>, Failure> {
    let rows = session.all(statement, 1).await?;
    Ok(rows.first().and_then(|row| row.first()?.as_deref().map(lossy)))
}

/// Names, in lower case, and values.
async fn named(session: &mut Session, statement: &str) -> Result<HashMap<String, String>, Failure> {
    let rows = session.all(statement, 64).await?;
    Ok(rows.iter().map(|row| (text(row, 0).to_lowercase(), text(row, 1))).collect())
}

fn text(row: &Row, index: usize) -> String {
    row.get(index).and_then(|value| value.as_deref().map(lossy)).unwrap_or_default()
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(variables: &[(&str, &str)], is_mariadb: bool) -> Vec<&'static str> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        missing_of(&variables, is_mariadb).into_iter().map(|(code, _)| code).collect()
    }

    #[test]
    fn each_thing_that_is_missing_is_named() {
        let good = [("log_bin", "ON"), ("binlog_format", "ROW"), ("log_slave_updates", "OFF"), ("gtid_slave_pos", "")];
        assert_eq!(codes(&good, true), [""; 0]);
        assert_eq!(codes(&good, false), ["log_slave_updates", "gtid_mode"]);
        let replica = [&good[..3], &[("gtid_slave_pos", "0-1-7")]].concat();
        assert_eq!(codes(&replica, true), ["log_slave_updates"]);
        let bad = [("log_bin", "OFF"), ("binlog_format", "MIXED"), ("log_bin_compress", "ON")];
        assert_eq!(codes(&bad, true), ["log_bin", "binlog_format", "log_bin_compress"]);
        let mysql = [
            ("log_bin", "1"),
            ("binlog_format", "ROW"),
            ("log_replica_updates", "ON"),
            ("gtid_mode", "ON"),
            ("binlog_transaction_compression", "ON"),
            ("binlog_row_value_options", "PARTIAL_JSON"),
        ];
        assert_eq!(codes(&mysql, false), ["binlog_transaction_compression", "binlog_row_value_options"]);
        assert_eq!(codes(&mysql[..4], false), [""; 0]);
    }
}
