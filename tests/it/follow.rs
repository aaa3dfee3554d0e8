//! Changes of a followed PostgreSQL are in the index within two seconds of their
//! commit, and whatever happens, the index comes to be what the source is.

mod broken;
mod changes;
mod fixture;
mod limits;
mod prompt;
