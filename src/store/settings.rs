//! Single values that the deployment keeps (the canary of the encryption key,
//! the keys of page tokens).

use sea_orm::ActiveValue::Set;
use sea_orm::EntityTrait as _;

use crate::store::entities::setting;
use crate::store::fault::{fault, is_taken, refused};
use crate::store::{Store, StoreError};

impl Store {
    /// The value of this name.
    pub async fn get_setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        let row = setting::Entity::find_by_id(name.to_owned()).one(self.database()).await.map_err(fault)?;
        Ok(row.map(|row| row.value))
    }

    /// Keeps a value unless there is one; returns the one that is kept.
    pub async fn put_setting_if_absent(&self, name: &str, value: &str) -> Result<String, StoreError> {
        let row = setting::ActiveModel { name: Set(name.to_owned()), value: Set(value.to_owned()) };
        match setting::Entity::insert(row).exec_without_returning(self.database()).await {
            Ok(_) => Ok(value.to_owned()),
            Err(error) if is_taken(&error) => {
                self.get_setting(name).await?.ok_or_else(|| refused("a setting was there and is gone"))
            }
            Err(error) => Err(fault(error)),
        }
    }
}
