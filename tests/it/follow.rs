//! Changes of followed databases are in the index within two seconds of their
//! commit, and whatever happens, the index comes to be what the source is.

mod broken;
mod changes;
mod connected;
mod fixture;
mod limits;
mod mysql;
mod prompt;
