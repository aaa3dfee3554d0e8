//! What a server keeps: its data directory, and the vault over its store.

use std::fs::{self, File, TryLockError};

use super::StartError;
use crate::config::Config;
use crate::keys::encryption::CANARY;
use crate::secrets::Vault;
use crate::store::Store;

/// A directory for its owner only, and no second server on it.
pub(super) fn prepare_data_dir(config: &Config) -> Result<File, StartError> {
    let path = &config.data_dir;
    let failed = |cause| StartError::DataDir { path: path.clone(), cause };
    fs::create_dir_all(path).map_err(failed)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed)?;
    }
    let lock = File::create(path.join("lock")).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StartError::InUse(path.clone())),
        Err(TryLockError::Error(cause)) => Err(failed(cause)),
    }
}

/// Opens the vault and proves with the canary that its key is the one that the
/// store was written with: with another, every stored credential would be lost.
pub(super) async fn open_vault(config: &Config, store: &Store) -> Result<Vault, StartError> {
    let vault = Vault::load(&config.encryption_key, config.transit.as_ref()).await;
    let vault = vault.map_err(|error| StartError::Key(error.into()))?;
    let fresh = vault.canary().await.map_err(|error| StartError::Key(error.into()))?;
    let stored = store.put_setting_if_absent(CANARY, &fresh).await.map_err(StartError::Store)?;
    vault.check_canary(&stored).await.map_err(StartError::WrongKey)?;
    Ok(vault)
}
