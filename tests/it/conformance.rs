//! What every connector must pass against the real server, through the doors that
//! users use: one suite, and for each source a subject that it is run on.

pub mod subject;
mod suite;

mod files;
mod git;
mod imap;
mod mongodb;
mod mysql;
mod postgresql;
mod s3;
mod sqlite;
mod webdav;

/// The tests of one source. Each starts a server of its own, so that none stands
/// on what another left.
macro_rules! conformance {
    ($source:ident, $subject:ty) => {
        mod $source {
            use crate::conformance::suite;

            #[test]
            fn its_entry_in_the_catalogue_is_complete() {
                suite::entry::<$subject>();
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn each_missing_field_is_named() {
                suite::missing_fields::<$subject>().await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn wrong_settings_are_told_apart() {
                suite::wrong_settings::<$subject>().await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn it_is_discovered_in_pages() {
                suite::discovery::<$subject>().await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn creating_changing_and_removing_is_followed_exactly() {
                suite::round_trip::<$subject>().await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_cut_connection_costs_nothing() {
                suite::cuts::<$subject>().await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn nothing_goes_while_the_source_cannot_be_read() {
                suite::broken::<$subject>().await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_large_item_costs_bounded_memory() {
                suite::large::<$subject>().await;
            }
        }
    };
}

conformance!(of_files, crate::conformance::files::Folder);
conformance!(of_git, crate::conformance::git::Repository);
conformance!(of_imap, crate::conformance::imap::Mail);
conformance!(of_mongodb, crate::conformance::mongodb::Collections);
conformance!(of_mysql, crate::conformance::mysql::Tables);
conformance!(of_postgresql, crate::conformance::postgresql::Tables);
conformance!(of_s3, crate::conformance::s3::Weed);
conformance!(of_sqlite, crate::conformance::sqlite::File);
conformance!(of_webdav, crate::conformance::webdav::Folder);
