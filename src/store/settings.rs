//! Single values that the deployment keeps (the canary of the encryption key,
//! the keys of page tokens).

use crate::store::{Store, StoreError};

impl Store {
    /// The value of this name.
    pub async fn get_setting(&self, _name: &str) -> Result<Option<String>, StoreError> {
        unreachable!()
    }

    /// Keeps a value unless there is one; returns the one that is kept.
    pub async fn put_setting_if_absent(&self, _name: &str, _value: &str) -> Result<String, StoreError> {
        unreachable!()
    }

    /// Keeps a value, whatever was there.
    pub async fn put_setting(&self, _name: &str, _value: &str) -> Result<(), StoreError> {
        unreachable!()
    }
}
