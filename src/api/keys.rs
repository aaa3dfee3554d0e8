//! API keys.

use std::sync::Arc;

use secrecy::ExposeSecret;
use tonic::{Request, Response, Status};

use super::convert::{milliseconds, proto_role, timestamp};
use super::{admit, made};
use crate::access::Role;
use crate::auth::role;
use crate::error::Error;
use crate::ids::{CollectionId, InvalidId};
use crate::keys::{Draft, Keys};
use crate::paging::Wanted;
use crate::proto::v1;
use crate::proto::v1::api_key_service_server::ApiKeyService;
use crate::store::keys::ApiKey;

/// Serves keys.
pub struct Service {
    keys: Arc<Keys>,
}

impl Service {
    /// A service of these keys.
    pub fn new(keys: Arc<Keys>) -> Self {
        Self { keys }
    }
}

#[tonic::async_trait]
impl ApiKeyService for Service {
    async fn create_api_key(
        &self,
        request: Request<v1::CreateApiKeyRequest>,
    ) -> Result<Response<v1::CreateApiKeyResponse>, Status> {
        let (caller, request) = admit(request).await?;
        let created = self.keys.create(&caller, draft(request)?).await?;
        let secret = created.secret.expose_secret().to_owned();
        made(v1::CreateApiKeyResponse { api_key: Some(api_key(created.key)), secret })
    }

    async fn list_api_keys(
        &self,
        request: Request<v1::ListApiKeysRequest>,
    ) -> Result<Response<v1::ListApiKeysResponse>, Status> {
        let (caller, request) = admit(request).await?;
        let page = self.keys.list(&caller, Wanted { size: request.page_size, token: &request.page_token }).await?;
        let api_keys = page.items.into_iter().map(api_key).collect();
        Ok(Response::new(v1::ListApiKeysResponse { api_keys, next_page_token: page.next }))
    }

    async fn get_api_key(
        &self,
        request: Request<v1::GetApiKeyRequest>,
    ) -> Result<Response<v1::GetApiKeyResponse>, Status> {
        let (caller, request) = admit(request).await?;
        let key = self.keys.get(&caller, &request.id).await?;
        Ok(Response::new(v1::GetApiKeyResponse { api_key: Some(api_key(key)) }))
    }

    async fn revoke_api_key(
        &self,
        request: Request<v1::RevokeApiKeyRequest>,
    ) -> Result<Response<v1::RevokeApiKeyResponse>, Status> {
        let (caller, request) = admit(request).await?;
        self.keys.revoke(&caller, &request.id).await?;
        Ok(Response::new(v1::RevokeApiKeyResponse {}))
    }
}

fn draft(request: v1::CreateApiKeyRequest) -> Result<Draft, Error> {
    let v1::CreateApiKeyRequest { name, role: number, collection_ids, expires_at } = request;
    let invalid = |error: InvalidId| Error::invalid("collection_ids", "INVALID_VALUE", error.to_string());
    Ok(Draft {
        name,
        role: role(number).ok_or_else(|| Error::invalid("role", "INVALID_VALUE", "is not a role"))?,
        collections: collection_ids
            .iter()
            .map(|id| id.parse::<CollectionId>())
            .collect::<Result<_, _>>()
            .map_err(invalid)?,
        expires_at: expires_at.as_ref().map(milliseconds),
    })
}

fn api_key(key: ApiKey) -> v1::ApiKey {
    let ApiKey { id, name, role, all_collections, collections, created_at, expires_at, last_used_at, revoked_at } = key;
    let role = role.parse::<Role>().map_or(v1::access::Role::Unspecified, proto_role);
    v1::ApiKey {
        id: id.to_string(),
        name,
        role: role.into(),
        all_collections,
        collection_ids: collections.iter().map(ToString::to_string).collect(),
        created_at: Some(timestamp(created_at)),
        expires_at: expires_at.map(timestamp),
        last_used_at: last_used_at.map(timestamp),
        revoked_at: revoked_at.map(timestamp),
    }
}
