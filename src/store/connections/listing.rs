//! Connections, one by one and in order.

use sea_orm::{
    ColumnTrait as _, Condition, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, Value as Bound,
};

use super::{AuthState, Connection, Lifecycle, rows};
use crate::ids::{CollectionId, ConnectionId};
use crate::store::entities::connection;
use crate::store::fault::{damaged, fault};
use crate::store::{Store, StoreError, Visible};

/// Order of a list of connections; the id breaks ties, in the same direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Newest first.
    CreatedDesc,
    /// Oldest first.
    CreatedAsc,
    /// By name.
    NameAsc,
    /// By name, backwards.
    NameDesc,
}

impl Store {
    /// One connection.
    pub async fn connection(&self, id: &ConnectionId) -> Result<Option<Connection>, StoreError> {
        let row = connection::Entity::find_by_id(id.to_string()).one(self.database()).await.map_err(fault)?;
        row.map(rows::read).transpose()
    }

    /// Connections in the given order, after the one with this
    /// [sort value](Order::sort_value) and id.
    pub async fn connections(
        &self,
        visible: &Visible,
        collection: Option<&CollectionId>,
        order: Order,
        after: Option<(String, ConnectionId)>,
        limit: u64,
    ) -> Result<Vec<Connection>, StoreError> {
        let mut query = connection::Entity::find();
        if let Visible::Only(ids) = visible {
            query = query.filter(connection::Column::CollectionId.is_in(ids.iter().map(CollectionId::as_str)));
        }
        if let Some(collection) = collection {
            query = query.filter(connection::Column::CollectionId.eq(collection.as_str()));
        }
        if let Some((value, id)) = after {
            query = query.filter(order.beyond(value, &id)?);
        }
        let (column, direction) = order.column();
        let rows = query
            .order_by(column, direction.clone())
            .order_by(connection::Column::Id, direction)
            .limit(limit)
            .all(self.database())
            .await
            .map_err(fault)?;
        rows.into_iter().map(rows::read).collect()
    }

    /// Active connections that are due, not paused, and whose login was not refused.
    pub async fn due_connections(&self, limit: u64) -> Result<Vec<Connection>, StoreError> {
        let now = self.now().await?;
        let rows = connection::Entity::find()
            .filter(connection::Column::NextRunAt.lte(now))
            .filter(connection::Column::Lifecycle.eq(Lifecycle::Active.as_str()))
            .filter(connection::Column::Paused.eq(false))
            .filter(connection::Column::Auth.ne(AuthState::Failed.as_str()))
            .order_by_asc(connection::Column::NextRunAt)
            .order_by_asc(connection::Column::Id)
            .limit(limit)
            .all(self.database())
            .await
            .map_err(fault)?;
        rows.into_iter().map(rows::read).collect()
    }
}

impl Order {
    /// Where a connection stands in this order; the first half of a keyset.
    pub fn sort_value(self, connection: &Connection) -> String {
        match self {
            Self::CreatedDesc | Self::CreatedAsc => connection.created_at.to_string(),
            Self::NameAsc | Self::NameDesc => connection.name.clone(),
        }
    }

    fn column(self) -> (connection::Column, sea_orm::Order) {
        match self {
            Self::CreatedDesc => (connection::Column::CreatedAt, sea_orm::Order::Desc),
            Self::CreatedAsc => (connection::Column::CreatedAt, sea_orm::Order::Asc),
            Self::NameAsc => (connection::Column::Name, sea_orm::Order::Asc),
            Self::NameDesc => (connection::Column::Name, sea_orm::Order::Desc),
        }
    }

    /// What comes after this value and id.
    fn beyond(self, value: String, id: &ConnectionId) -> Result<Condition, StoreError> {
        let value = match self {
            Self::CreatedDesc | Self::CreatedAsc => Bound::from(value.parse::<i64>().map_err(damaged)?),
            Self::NameAsc | Self::NameDesc => Bound::from(value),
        };
        let id = id.as_str();
        let (column, direction) = self.column();
        let (further, further_id) = match direction {
            sea_orm::Order::Desc => (column.lt(value.clone()), connection::Column::Id.lt(id)),
            _ => (column.gt(value.clone()), connection::Column::Id.gt(id)),
        };
        Ok(Condition::any().add(further).add(Condition::all().add(column.eq(value)).add(further_id)))
    }
}
