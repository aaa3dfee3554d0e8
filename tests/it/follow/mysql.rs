//! MariaDB, by its binary log.

mod broken;
mod changes;
mod fixture;
mod limits;
