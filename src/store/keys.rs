//! API keys: hashes, never secrets.

use std::collections::HashMap;

use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, Query};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait as _, DbErr, EntityTrait as _, FromQueryResult as _, QueryFilter as _,
    QueryOrder as _, QueryResult, QuerySelect as _, Statement,
};

use crate::ids::{CollectionId, KeyId};
use crate::store::entities::{api_key, key_grant};
use crate::store::fault::{damaged, fault, is_orphan};
use crate::store::{self, Store, StoreError, Visible};

/// An API key, without its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Identifier.
    pub id: KeyId,
    /// For people.
    pub name: String,
    /// What it may do.
    pub role: String,
    /// It is for all collections, future ones too.
    pub all_collections: bool,
    /// Else for these only, sorted.
    pub collections: Vec<CollectionId>,
    /// When it was made.
    pub created_at: i64,
    /// When it ends by itself.
    pub expires_at: Option<i64>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<i64>,
    /// When it was revoked.
    pub revoked_at: Option<i64>,
}

/// A key to be made.
#[derive(Clone)]
pub struct NewKey {
    /// Identifier, minted by the caller.
    pub id: KeyId,
    /// For people.
    pub name: String,
    /// What it may do.
    pub role: String,
    /// It is for all collections, future ones too.
    pub all_collections: bool,
    /// Else for these only.
    pub collections: Vec<CollectionId>,
    /// When it ends by itself.
    pub expires_at: Option<i64>,
    /// SHA-256 of the secret.
    pub hash: [u8; 32],
}

/// What tells whether somebody may come in with a key. The caller compares the
/// hash and looks at `revoked_at`, and at `expires_at` against `now`.
pub struct KeyForAuth {
    /// The key.
    pub key: ApiKey,
    /// SHA-256 of its secret.
    pub hash: [u8; 32],
    /// The database's time.
    pub now: i64,
}

/// Why a key was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateKeyError {
    /// A collection that it names does not exist.
    #[error("a collection of the key does not exist")]
    NoCollection,
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl Store {
    /// Makes a key.
    pub async fn insert_key(&self, new: &NewKey) -> Result<ApiKey, CreateKeyError> {
        let NewKey { id, name, role, all_collections, collections, expires_at, hash } = new;
        let mut collections = collections.clone();
        collections.sort();
        collections.dedup();
        let transaction = self.transaction().await?;
        let now = store::now(&transaction).await?;
        let row = api_key::ActiveModel {
            id: Set(id.to_string()),
            name: Set(name.clone()),
            role: Set(role.clone()),
            all_collections: Set(*all_collections),
            hash: Set(hash.to_vec()),
            created_at: Set(now),
            expires_at: Set(*expires_at),
            last_used_at: Set(None),
            revoked_at: Set(None),
        };
        api_key::Entity::insert(row).exec_without_returning(&transaction).await.map_err(fault)?;
        for collection in &collections {
            let grant =
                key_grant::ActiveModel { key_id: Set(id.to_string()), collection_id: Set(collection.to_string()) };
            key_grant::Entity::insert(grant).exec_without_returning(&transaction).await.map_err(|error| {
                if is_orphan(&error) { CreateKeyError::NoCollection } else { CreateKeyError::Store(fault(error)) }
            })?;
        }
        transaction.commit().await.map_err(fault)?;
        Ok(ApiKey {
            id: id.clone(),
            name: name.clone(),
            role: role.clone(),
            all_collections: *all_collections,
            collections,
            created_at: now,
            expires_at: *expires_at,
            last_used_at: None,
            revoked_at: None,
        })
    }

    /// One key, revoked or not.
    pub async fn key(&self, id: &KeyId) -> Result<Option<ApiKey>, StoreError> {
        Ok(self.key_for_auth(id).await?.map(|found| found.key))
    }

    /// One key with its hash and the time: one statement, since every call that
    /// comes with a key waits for it.
    pub async fn key_for_auth(&self, id: &KeyId) -> Result<Option<KeyForAuth>, StoreError> {
        let backend = self.database.get_database_backend();
        let sql = format!(
            "SELECT k.id, k.name, k.role, k.all_collections, k.hash, k.created_at, k.expires_at, k.last_used_at, \
             k.revoked_at, g.collection_id, {} AS now FROM api_keys k \
             LEFT JOIN key_grants g ON g.key_id = k.id WHERE k.id = $1",
            store::now_expression(backend)
        );
        let direct = self.direct.as_ref().and_then(|direct| direct.rows(&sql, id.as_str(), granted_directly));
        let rows = match direct {
            Some(rows) => rows,
            None => {
                let statement = Statement::from_sql_and_values(backend, sql, [id.as_str().into()]);
                let rows = self.reading().query_all_raw(statement).await.map_err(fault)?;
                rows.iter().map(granted).collect::<Result<_, _>>().map_err(fault)?
            }
        };
        let mut collections = Vec::new();
        let mut found = None;
        for Granted { key, collection, now } in rows {
            collections.extend(collection.map(|id| id.parse()).transpose().map_err(damaged)?);
            found = Some((key, now));
        }
        let Some((key, now)) = found else { return Ok(None) };
        let hash = <[u8; 32]>::try_from(key.hash.as_slice()).map_err(damaged)?;
        Ok(Some(KeyForAuth { key: read(key, collections)?, hash, now }))
    }

    /// Keys, newest first, after the one with this creation time and id; with
    /// [`Visible::Only`], those whose collections are all among the given.
    pub async fn keys(
        &self,
        visible: &Visible,
        after: Option<(i64, KeyId)>,
        limit: u64,
    ) -> Result<Vec<ApiKey>, StoreError> {
        let mut query = api_key::Entity::find();
        if let Visible::Only(ids) = visible {
            let outside = Query::select()
                .column(key_grant::Column::KeyId)
                .from(key_grant::Entity)
                .and_where(key_grant::Column::CollectionId.is_not_in(ids.iter().map(CollectionId::as_str)))
                .to_owned();
            query = query
                .filter(api_key::Column::AllCollections.eq(false))
                .filter(api_key::Column::Id.not_in_subquery(outside));
        }
        if let Some((created_at, id)) = after {
            let same_time = Condition::all()
                .add(api_key::Column::CreatedAt.eq(created_at))
                .add(api_key::Column::Id.lt(id.as_str()));
            query = query.filter(Condition::any().add(api_key::Column::CreatedAt.lt(created_at)).add(same_time));
        }
        let rows = query
            .order_by_desc(api_key::Column::CreatedAt)
            .order_by_desc(api_key::Column::Id)
            .limit(limit)
            .all(self.database())
            .await
            .map_err(fault)?;
        self.with_grants(rows).await
    }

    /// Revokes a key; once revoked, it keeps its time.
    pub async fn revoke_key(&self, id: &KeyId) -> Result<Option<ApiKey>, StoreError> {
        let now = self.now().await?;
        api_key::Entity::update_many()
            .col_expr(api_key::Column::RevokedAt, Expr::value(Some(now)))
            .filter(api_key::Column::Id.eq(id.as_str()))
            .filter(api_key::Column::RevokedAt.is_null())
            .exec(self.database())
            .await
            .map_err(fault)?;
        self.key(id).await
    }

    /// Notes that keys were used; of each, at most once a minute is written.
    pub async fn touch_keys(&self, ids: &[KeyId]) -> Result<(), StoreError> {
        let now = self.now().await?;
        let minute = now - now.rem_euclid(60_000);
        let earlier =
            Condition::any().add(api_key::Column::LastUsedAt.is_null()).add(api_key::Column::LastUsedAt.lt(minute));
        api_key::Entity::update_many()
            .col_expr(api_key::Column::LastUsedAt, Expr::value(Some(minute)))
            .filter(api_key::Column::Id.is_in(ids.iter().map(KeyId::as_str)))
            .filter(earlier)
            .exec(self.database())
            .await
            .map_err(fault)?;
        Ok(())
    }

    /// Whether a usable key of role `admin` exists.
    pub async fn any_admin_key(&self) -> Result<bool, StoreError> {
        let now = self.now().await?;
        let lasting =
            Condition::any().add(api_key::Column::ExpiresAt.is_null()).add(api_key::Column::ExpiresAt.gt(now));
        let row = api_key::Entity::find()
            .filter(api_key::Column::Role.eq("admin"))
            .filter(api_key::Column::RevokedAt.is_null())
            .filter(lasting)
            .one(self.database())
            .await
            .map_err(fault)?;
        Ok(row.is_some())
    }

    /// The keys of these rows, in their order.
    async fn with_grants(&self, rows: Vec<api_key::Model>) -> Result<Vec<ApiKey>, StoreError> {
        let grants = key_grant::Entity::find()
            .filter(key_grant::Column::KeyId.is_in(rows.iter().map(|row| row.id.as_str())))
            .all(self.database())
            .await
            .map_err(fault)?;
        let mut collections: HashMap<String, Vec<CollectionId>> = HashMap::new();
        for grant in grants {
            collections.entry(grant.key_id).or_default().push(grant.collection_id.parse().map_err(damaged)?);
        }
        rows.into_iter()
            .map(|row| {
                let granted = collections.remove(&row.id).unwrap_or_default();
                read(row, granted)
            })
            .collect()
    }
}

/// A key beside one of its collections.
struct Granted {
    key: api_key::Model,
    collection: Option<String>,
    now: i64,
}

fn granted(row: &QueryResult) -> Result<Granted, DbErr> {
    Ok(Granted {
        key: api_key::Model::from_query_result(row, "")?,
        collection: row.try_get("", "collection_id")?,
        now: row.try_get("", "now")?,
    })
}

fn granted_directly(row: &rusqlite::Row<'_>) -> rusqlite::Result<Granted> {
    let key = api_key::Model {
        id: row.get("id")?,
        name: row.get("name")?,
        role: row.get("role")?,
        all_collections: row.get("all_collections")?,
        hash: row.get("hash")?,
        created_at: row.get("created_at")?,
        expires_at: row.get("expires_at")?,
        last_used_at: row.get("last_used_at")?,
        revoked_at: row.get("revoked_at")?,
    };
    Ok(Granted { key, collection: row.get("collection_id")?, now: row.get("now")? })
}

fn read(row: api_key::Model, mut collections: Vec<CollectionId>) -> Result<ApiKey, StoreError> {
    let api_key::Model { id, name, role, all_collections, hash: _, created_at, expires_at, last_used_at, revoked_at } =
        row;
    collections.sort();
    Ok(ApiKey {
        id: id.parse().map_err(damaged)?,
        name,
        role,
        all_collections,
        collections,
        created_at,
        expires_at,
        last_used_at,
        revoked_at,
    })
}
