//! Real servers, and hostile ones.
