//! What following needs of the server and the login.

use std::time::Duration;

use crate::connectors::ConnectorError;
use crate::connectors::postgresql::failure::Failure;
use crate::connectors::postgresql::session::{Session, answered};

/// Some providers give the right to replicate by a role of their own.
const RIGHTS: &str = "\
    SELECT current_setting('server_version_num')::int8, \
        current_setting('wal_level') = 'logical', \
        pg_is_in_recovery(), \
        coalesce((SELECT rolsuper OR rolreplication FROM pg_roles WHERE rolname = current_user), false) \
            OR coalesce((SELECT bool_or(pg_has_role(oid, 'USAGE')) FROM pg_roles \
                WHERE rolname IN ('rds_replication', 'rds_superuser')), false), \
        has_database_privilege(current_database(), 'CREATE'), \
        current_setting('max_replication_slots')::int8 - (SELECT count(*) FROM pg_replication_slots), \
        current_setting('max_wal_senders')::int8 - (SELECT count(*) FROM pg_stat_replication)";

/// What the server and the login allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rights {
    pub(super) server_version: i64,
    is_logical: bool,
    is_standby: bool,
    may_replicate: bool,
    /// The login may make a publication.
    pub(super) may_create: bool,
    free_slots: i64,
    free_senders: i64,
}

/// Something that is missing: a code, and what to do.
pub(super) type Missing = (&'static str, &'static str);

impl Rights {
    /// Asks the server.
    pub(super) async fn of(session: &Session, limit: Duration) -> Result<Self, ConnectorError> {
        let row = answered(limit, session.client.query_one(RIGHTS, &[])).await?;
        let read = || {
            Ok(Self {
                server_version: row.try_get(0)?,
                is_logical: row.try_get(1)?,
                is_standby: row.try_get(2)?,
                may_replicate: row.try_get(3)?,
                may_create: row.try_get(4)?,
                free_slots: row.try_get(5)?,
                free_senders: row.try_get(6)?,
            })
        };
        read().map_err(|error: tokio_postgres::Error| Failure::from(error).into_error())
    }

    /// What is missing; a slot and a connection are needed only where following
    /// has none yet.
    pub(super) fn missing(&self, has_slot: bool) -> Vec<Missing> {
        let mut missing = Vec::new();
        let mut need = |is_there: bool, code, hint| {
            if !is_there {
                missing.push((code, hint));
            }
        };
        need(!self.is_standby, "standby", "the server is a standby; connect to its primary to follow changes");
        need(self.is_logical, "wal_level", "the server's `wal_level` is not `logical`; set it and restart the server");
        need(
            self.may_replicate,
            "replication_right_missing",
            "the login may not replicate; its administrator can allow it with ALTER ROLE ... REPLICATION",
        );
        need(
            has_slot || self.free_slots > 0,
            "no_free_slot",
            "the server has no free replication slot; raise `max_replication_slots`, or drop one that nobody uses",
        );
        need(
            has_slot || self.free_senders > 0,
            "no_free_sender",
            "the server sends to as many as it may; raise `max_wal_senders`",
        );
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_that_is_missing_is_named() {
        let good = Rights {
            server_version: 150_000,
            is_logical: true,
            is_standby: false,
            may_replicate: true,
            may_create: true,
            free_slots: 1,
            free_senders: 1,
        };
        assert_eq!(good.missing(false), []);
        let full = Rights { free_slots: 0, free_senders: 0, ..good.clone() };
        assert_eq!(full.missing(true), []);
        let bad = Rights { is_logical: false, is_standby: true, may_replicate: false, ..full };
        let codes: Vec<&str> = bad.missing(false).into_iter().map(|(code, _)| code).collect();
        assert_eq!(codes, ["standby", "wal_level", "replication_right_missing", "no_free_slot", "no_free_sender"]);
    }
}
