//! The audit log: an event is written before what it tells of is done, and ended
//! with how that went.

use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, Func};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _, ExprTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};

use crate::ids::{AuditEventId, CollectionId, ConnectionId, KeyId, SyncId};
use crate::store::entities::{audit_event, connection, sync};
use crate::store::fault::{damaged, fault};
use crate::store::{self, Store, StoreError, Visible};

/// How an event ends that went well; every other end is the reason of its error.
pub const OK: &str = "OK";

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Actor {
    /// The holder of an API key.
    Key(KeyId),
    /// Whom an identity provider vouches for.
    Subject(String),
    /// Somebody at the server's own command line: a user of the operating system,
    /// empty where it is not known.
    Operator(String),
    /// Somebody who was not let in.
    Nobody,
}

/// What it was about, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Resources {
    /// Collection, when it is one.
    pub collection: Option<CollectionId>,
    /// Connection.
    pub connection: Option<ConnectionId>,
    /// Sync.
    pub sync: Option<SyncId>,
    /// API key.
    pub key: Option<KeyId>,
}

/// An event that begins.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NewEvent {
    /// Who.
    pub actor: Actor,
    /// From where: an address, or the network of many.
    pub peer: Option<String>,
    /// RPC (`tributary.v1.SyncService/CancelSync`) or command.
    pub method: String,
    /// Names the call in answers and logs.
    pub request_id: Option<String>,
    /// About what.
    pub about: Resources,
}

/// An event of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Identifier.
    pub id: AuditEventId,
    /// When, or the first time of several.
    pub occurred_at: i64,
    /// The last time of several.
    pub last_at: i64,
    /// How often: above one only of refusals.
    pub times: i64,
    /// What began.
    pub event: NewEvent,
    /// [`OK`] or the reason of the error; none while it is not known.
    pub outcome: Option<String>,
}

/// The same refusal, several times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusals {
    /// Identifier; the row is made at its first note.
    pub id: AuditEventId,
    /// What was refused, and to whom.
    pub event: NewEvent,
    /// Reason of the error.
    pub outcome: String,
    /// How often since the last note.
    pub times: i64,
}

/// Which events are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Of this actor: a key's id, or a subject.
    pub actor: Option<String>,
    /// Of this method.
    pub method: Option<String>,
    /// With this outcome.
    pub outcome: Option<String>,
    /// About these.
    pub about: Resources,
    /// Not before.
    pub from: Option<i64>,
    /// Only before.
    pub before: Option<i64>,
}

impl Store {
    /// Writes that something begins. What is known of its place is looked up: a
    /// sync has a connection, a connection a collection.
    pub async fn begin_audit(&self, id: &AuditEventId, event: &NewEvent) -> Result<(), StoreError> {
        let mut event = event.clone();
        self.place(&mut event.about).await?;
        let now = self.now().await?;
        insert(self.database(), id, event, now, 1, None).await
    }

    /// Writes how it ended, and what it has made.
    pub async fn end_audit(&self, id: &AuditEventId, outcome: &str, made: &Resources) -> Result<(), StoreError> {
        let mut made = made.clone();
        self.place(&mut made).await?;
        let Resources { collection, connection, sync, key } = made;
        let known = |column: audit_event::Column, value: Option<String>| {
            Expr::from(Func::coalesce([Expr::col(column), Expr::value(value)]))
        };
        audit_event::Entity::update_many()
            .col_expr(audit_event::Column::Outcome, Expr::value(outcome))
            .col_expr(
                audit_event::Column::CollectionId,
                known(audit_event::Column::CollectionId, collection.map(|id| id.to_string())),
            )
            .col_expr(
                audit_event::Column::ConnectionId,
                known(audit_event::Column::ConnectionId, connection.map(|id| id.to_string())),
            )
            .col_expr(audit_event::Column::SyncId, known(audit_event::Column::SyncId, sync.map(|id| id.to_string())))
            .col_expr(audit_event::Column::KeyId, known(audit_event::Column::KeyId, key.map(|id| id.to_string())))
            .filter(audit_event::Column::Id.eq(id.as_str()))
            .exec(self.database())
            .await
            .map(drop)
            .map_err(fault)
    }

    /// Notes refusals, all or none: a row each, which later notes count up.
    pub async fn note_refusals(&self, refusals: &[Refusals]) -> Result<(), StoreError> {
        let transaction = self.transaction().await?;
        let now = store::now(&transaction).await?;
        for Refusals { id, event, outcome, times } in refusals {
            let counted = audit_event::Entity::update_many()
                .col_expr(audit_event::Column::Times, Expr::col(audit_event::Column::Times).add(*times))
                .col_expr(audit_event::Column::LastAt, Expr::value(now))
                .filter(audit_event::Column::Id.eq(id.as_str()))
                .exec(&transaction)
                .await
                .map_err(fault)?;
            if counted.rows_affected == 0 {
                insert(&transaction, id, event.clone(), now, *times, Some(outcome.clone())).await?;
            }
        }
        transaction.commit().await.map_err(fault)
    }

    /// Events, newest first, after the one with this time and id; with
    /// [`Visible::Only`], those about one of these collections.
    pub async fn audit_events(
        &self,
        visible: &Visible,
        wanted: &Wanted,
        after: Option<(i64, AuditEventId)>,
        limit: u64,
    ) -> Result<Vec<Event>, StoreError> {
        use audit_event::Column;
        let mut condition = wanted.condition();
        if let Visible::Only(ids) = visible {
            condition = condition.add(Column::CollectionId.is_in(ids.iter().map(CollectionId::as_str)));
        }
        if let Some((occurred_at, id)) = after {
            let same_time = Condition::all().add(Column::OccurredAt.eq(occurred_at)).add(Column::Id.lt(id.as_str()));
            condition = condition.add(Condition::any().add(Column::OccurredAt.lt(occurred_at)).add(same_time));
        }
        let rows = audit_event::Entity::find()
            .filter(condition)
            .order_by_desc(Column::OccurredAt)
            .order_by_desc(Column::Id)
            .limit(limit)
            .all(self.database())
            .await
            .map_err(fault)?;
        rows.into_iter().map(read).collect()
    }

    /// Removes events older than this, at most so many at once, and says how many.
    pub async fn prune_audit(&self, older_than_ms: i64, most: u64) -> Result<u64, StoreError> {
        let before = self.now().await?.saturating_sub(older_than_ms);
        let old: Vec<String> = audit_event::Entity::find()
            .select_only()
            .column(audit_event::Column::Id)
            .filter(audit_event::Column::OccurredAt.lt(before))
            .order_by_asc(audit_event::Column::OccurredAt)
            .limit(most)
            .into_tuple()
            .all(self.database())
            .await
            .map_err(fault)?;
        if old.is_empty() {
            return Ok(0);
        }
        let removed = audit_event::Entity::delete_many()
            .filter(audit_event::Column::Id.is_in(old))
            .exec(self.database())
            .await
            .map_err(fault)?;
        Ok(removed.rows_affected)
    }

    /// Fills in the connection of a sync and the collection of a connection.
    async fn place(&self, about: &mut Resources) -> Result<(), StoreError> {
        if let (Some(id), None) = (&about.sync, &about.connection) {
            let row: Option<(String, String)> = sync::Entity::find_by_id(id.to_string())
                .select_only()
                .columns([sync::Column::ConnectionId, sync::Column::CollectionId])
                .into_tuple()
                .one(self.database())
                .await
                .map_err(fault)?;
            if let Some((connection, collection)) = row {
                about.connection = Some(connection.parse().map_err(damaged)?);
                about.collection = Some(collection.parse().map_err(damaged)?);
            }
        }
        if let (Some(id), None) = (&about.connection, &about.collection) {
            let row: Option<String> = connection::Entity::find_by_id(id.to_string())
                .select_only()
                .column(connection::Column::CollectionId)
                .into_tuple()
                .one(self.database())
                .await
                .map_err(fault)?;
            about.collection = row.map(|id| id.parse()).transpose().map_err(damaged)?;
        }
        Ok(())
    }
}

impl Wanted {
    fn condition(&self) -> Condition {
        use audit_event::Column;
        let Self { actor, method, outcome, about, from, before } = self;
        let Resources { collection, connection, sync, key } = about;
        Condition::all()
            .add_option(actor.as_ref().map(|actor| Column::Actor.eq(actor)))
            .add_option(method.as_ref().map(|method| Column::Method.eq(method)))
            .add_option(outcome.as_ref().map(|outcome| Column::Outcome.eq(outcome)))
            .add_option(collection.as_ref().map(|id| Column::CollectionId.eq(id.as_str())))
            .add_option(connection.as_ref().map(|id| Column::ConnectionId.eq(id.as_str())))
            .add_option(sync.as_ref().map(|id| Column::SyncId.eq(id.as_str())))
            .add_option(key.as_ref().map(|id| Column::KeyId.eq(id.as_str())))
            .add_option(from.map(|from| Column::OccurredAt.gte(from)))
            .add_option(before.map(|before| Column::OccurredAt.lt(before)))
    }
}

async fn insert<C: ConnectionTrait>(
    database: &C,
    id: &AuditEventId,
    event: NewEvent,
    now: i64,
    times: i64,
    outcome: Option<String>,
) -> Result<(), StoreError> {
    let NewEvent { actor, peer, method, request_id, about } = event;
    let Resources { collection, connection, sync, key } = about;
    let (actor_kind, actor) = written(&actor);
    let row = audit_event::ActiveModel {
        id: Set(id.to_string()),
        occurred_at: Set(now),
        last_at: Set(now),
        times: Set(times),
        actor_kind: Set(actor_kind.to_owned()),
        actor: Set(actor.to_owned()),
        peer: Set(peer),
        method: Set(method),
        request_id: Set(request_id),
        collection_id: Set(collection.map(|id| id.to_string())),
        connection_id: Set(connection.map(|id| id.to_string())),
        sync_id: Set(sync.map(|id| id.to_string())),
        key_id: Set(key.map(|id| id.to_string())),
        outcome: Set(outcome),
    };
    audit_event::Entity::insert(row).exec_without_returning(database).await.map(drop).map_err(fault)
}

fn written(actor: &Actor) -> (&'static str, &str) {
    match actor {
        Actor::Key(id) => ("key", id.as_str()),
        Actor::Subject(subject) => ("subject", subject),
        Actor::Operator(user) => ("operator", user),
        Actor::Nobody => ("nobody", ""),
    }
}

fn read(row: audit_event::Model) -> Result<Event, StoreError> {
    let audit_event::Model {
        id,
        occurred_at,
        last_at,
        times,
        actor_kind,
        actor,
        peer,
        method,
        request_id,
        collection_id,
        connection_id,
        sync_id,
        key_id,
        outcome,
    } = row;
    let actor = match actor_kind.as_str() {
        "key" => Actor::Key(actor.parse().map_err(damaged)?),
        "subject" => Actor::Subject(actor),
        "operator" => Actor::Operator(actor),
        _ => Actor::Nobody,
    };
    let about = Resources {
        collection: collection_id.map(|id| id.parse()).transpose().map_err(damaged)?,
        connection: connection_id.map(|id| id.parse()).transpose().map_err(damaged)?,
        sync: sync_id.map(|id| id.parse()).transpose().map_err(damaged)?,
        key: key_id.map(|id| id.parse()).transpose().map_err(damaged)?,
    };
    let event = NewEvent { actor, peer, method, request_id, about };
    Ok(Event { id: id.parse().map_err(damaged)?, occurred_at, last_at, times, event, outcome })
}
