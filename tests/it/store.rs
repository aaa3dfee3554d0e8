//! The store: one suite, run on SQLite and on PostgreSQL.

/// Runs each behaviour on both databases.
macro_rules! on_both {
    ($($behaviour:ident)*) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $behaviour() { super::$behaviour(super::Bench::sqlite().await).await; })*
        }
        mod on_postgresql {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $behaviour() { super::$behaviour(super::Bench::postgres().await).await; })*
        }
    };
}

mod bench;
mod collections;
mod connections;
mod jobs;
mod keys;
mod opening;
