//! Requests that were given an idempotency key: one effect, one answer, kept
//! for 24 hours.

use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, Condition, ConnectionTrait, DbBackend, EntityTrait as _, QueryFilter as _,
    QuerySelect as _, Select,
};

use crate::ids::KeyId;
use crate::store::entities::request;
use crate::store::fault::{fault, is_taken};
use crate::store::{self, Store, StoreError};

/// How long an answer is kept.
const KEPT_MS: i64 = 24 * 60 * 60 * 1_000;

/// After this long without an answer, whoever began a request is taken for dead.
const PATIENCE_MS: i64 = 5 * 60 * 1_000;

/// How a request with an idempotency key begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// It is the first: act, then complete or abandon.
    Fresh,
    /// It was done before, with this answer.
    Replay(Vec<u8>),
    /// The first is still going on.
    InUse,
    /// The key was used with another payload.
    Reused,
}

/// The answer to a request that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// Who asked.
    pub caller: KeyId,
    /// Method that was called.
    pub method: String,
    /// The idempotency key.
    pub request_id: String,
    /// The answer, for replays.
    pub response: Vec<u8>,
}

/// Makes the answer to a request from what it has made.
pub type Answer<T> = Box<dyn Fn(&T) -> Completion + Send + Sync>;

impl Store {
    /// Begins a request.
    pub async fn begin(
        &self,
        caller: &KeyId,
        method: &str,
        request_id: &str,
        payload_hash: [u8; 32],
    ) -> Result<Begun, StoreError> {
        let transaction = self.transaction().await?;
        let now = store::now(&transaction).await?;
        let found = find(caller, method, request_id).lock_exclusive().one(&transaction).await.map_err(fault)?;
        let fresh = request::ActiveModel {
            caller: Set(caller.to_string()),
            method: Set(method.to_owned()),
            request_id: Set(request_id.to_owned()),
            payload_hash: Set(payload_hash.to_vec()),
            begun_at: Set(now),
            response: Set(None),
        };
        let Some(found) = found else {
            return match request::Entity::insert(fresh).exec_without_returning(&transaction).await {
                Ok(_) => transaction.commit().await.map(|()| Begun::Fresh).map_err(fault),
                // Two first calls at once: the other one was first.
                Err(error) if is_taken(&error) => Ok(Begun::InUse),
                Err(error) => Err(fault(error)),
            };
        };
        let expired = found.begun_at <= now - KEPT_MS;
        if !expired && found.payload_hash != payload_hash {
            return Ok(Begun::Reused);
        }
        let abandoned = found.response.is_none() && found.begun_at <= now - PATIENCE_MS;
        match found.response {
            Some(response) if !expired => return Ok(Begun::Replay(response)),
            None if !expired && !abandoned => return Ok(Begun::InUse),
            Some(_) | None => {}
        }
        fresh.update(&transaction).await.map_err(fault)?;
        transaction.commit().await.map_err(fault)?;
        Ok(Begun::Fresh)
    }

    /// Keeps the answer of a request that has begun.
    pub async fn complete(&self, completion: &Completion) -> Result<(), StoreError> {
        complete(self.database(), completion).await
    }

    /// Forgets a request that has begun and had no effect.
    pub async fn abandon(&self, caller: &KeyId, method: &str, request_id: &str) -> Result<(), StoreError> {
        request::Entity::delete_many()
            .filter(is(caller, method, request_id))
            .filter(request::Column::Response.is_null())
            .exec(self.database())
            .await
            .map_err(fault)?;
        Ok(())
    }

    /// Forgets what a run of this server before has begun and not ended, so that
    /// nobody waits for it: it had no effect, since an effect and its answer are
    /// kept together. For SQLite only, where no other server can be at it; does
    /// nothing on PostgreSQL.
    pub async fn forget_requests_of_previous_run(&self) -> Result<(), StoreError> {
        if self.database().get_database_backend() != DbBackend::Sqlite {
            return Ok(());
        }
        request::Entity::delete_many()
            .filter(request::Column::Response.is_null())
            .exec(self.database())
            .await
            .map_err(fault)?;
        Ok(())
    }

    /// Forgets requests older than 24 hours; says how many.
    pub async fn prune(&self) -> Result<u64, StoreError> {
        let now = self.now().await?;
        let deleted = request::Entity::delete_many()
            .filter(request::Column::BegunAt.lte(now - KEPT_MS))
            .exec(self.database())
            .await
            .map_err(fault)?;
        Ok(deleted.rows_affected)
    }
}

/// Keeps an answer; on its own, or within the transaction that has the effect.
pub(super) async fn complete<C: ConnectionTrait>(database: &C, completion: &Completion) -> Result<(), StoreError> {
    let Completion { caller, method, request_id, response } = completion;
    request::Entity::update_many()
        .col_expr(request::Column::Response, Expr::value(Some(response.clone())))
        .filter(is(caller, method, request_id))
        .filter(request::Column::Response.is_null())
        .exec(database)
        .await
        .map_err(fault)?;
    Ok(())
}

fn is(caller: &KeyId, method: &str, request_id: &str) -> Condition {
    Condition::all()
        .add(request::Column::Caller.eq(caller.as_str()))
        .add(request::Column::Method.eq(method))
        .add(request::Column::RequestId.eq(request_id))
}

fn find(caller: &KeyId, method: &str, request_id: &str) -> Select<request::Entity> {
    request::Entity::find().filter(is(caller, method, request_id))
}
