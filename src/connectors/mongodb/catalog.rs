//! What a server holds, as far as the user may see it.

use futures::TryStreamExt;
use mongodb::bson::doc;
use mongodb::error::Error;
use mongodb::results::CollectionType;

use super::failure::Failure;
use super::selection::Selection;
use super::session::Session;
use crate::connectors::ConnectorError;
use crate::connectors::rows::names;
use crate::egress::Timeouts;

/// Collections of a database that are listed at most.
const MOST: usize = 50_000;

/// A collection or view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Collection {
    pub(super) database: String,
    pub(super) name: String,
    /// Its documents have no `_id` that is theirs alone.
    pub(super) is_view: bool,
    /// Named by the config, but the user may not list it.
    pub(super) is_hidden: bool,
}

impl Collection {
    /// Its path.
    pub(super) fn path(&self) -> String {
        names::join(&[&self.database, &self.name])
    }
}

/// Databases that the user may see. Where it may not list them, those that the config
/// names one by one.
pub(super) async fn databases(
    session: &Session,
    limits: Timeouts,
    selection: &Selection<'_>,
) -> Result<Vec<String>, ConnectorError> {
    let listed = session.client.list_database_names().authorized_databases(true);
    match session.answered(limits.first_byte, listed.into_future()).await? {
        Ok(names) => Ok(names
            .into_iter()
            .filter(|name| !["admin", "config", "local"].contains(&name.as_str()))
            .take(MOST)
            .collect()),
        Err(failure) if failure.is_forbidden() => {
            let object = "the list of databases".to_owned();
            selection.exact_databases().ok_or(ConnectorError::Forbidden { object })
        }
        Err(failure) => Err(failure.into_error()),
    }
}

/// Collections and views of a database, in their order.
pub(super) async fn collections(
    session: &Session,
    limits: Timeouts,
    database: &str,
) -> Result<Result<Vec<Collection>, Failure>, ConnectorError> {
    let listed = async {
        let mut cursor = session.client.database(database).list_collections().await?;
        let mut collections = Vec::new();
        while let Some(found) = cursor.try_next().await? {
            let is_of_the_system = found.name.starts_with("system.");
            // Documents of a time series may share their `_id`, as those of a view.
            let is_view = found.collection_type != CollectionType::Collection;
            if is_of_the_system {
                continue;
            }
            // A list that is cut would prove the others gone.
            if collections.len() == MOST {
                return Err(Error::custom("more collections than there can be"));
            }
            let (database, name) = (database.to_owned(), found.name);
            collections.push(Collection { database, name, is_view, is_hidden: false });
        }
        collections.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(collections)
    };
    session.answered(limits.first_byte, listed).await
}

/// What the config includes. Collections that it names one by one, of a database that
/// the user may not list, are hidden and not gone.
pub(super) async fn selected(
    session: &Session,
    limits: Timeouts,
    selection: &Selection<'_>,
) -> Result<Vec<Collection>, ConnectorError> {
    let mut databases: Vec<String> = databases(session, limits, selection).await?;
    let named = selection.named();
    databases.extend(named.iter().map(|(database, ..)| database.clone()));
    databases.sort();
    databases.dedup();
    let mut selected = Vec::new();
    for database in databases.into_iter().filter(|database| selection.reaches_into(database)) {
        match collections(session, limits, &database).await? {
            Ok(found) => {
                selected.extend(found.into_iter().filter(|one| selection.includes(&database, &one.name)));
            }
            Err(failure) if failure.is_forbidden() && named.iter().any(|(one, ..)| *one == database) => {
                let hidden = named.iter().filter(|(one, ..)| *one == database).map(|(database, name, _)| Collection {
                    database: database.clone(),
                    name: name.clone(),
                    is_view: false,
                    is_hidden: true,
                });
                selected.extend(hidden);
            }
            Err(failure) => return Err(failure.into_error()),
        }
    }
    Ok(selected)
}

/// Documents of a collection, as its metadata says.
pub(super) async fn estimate(session: &Session, limits: Timeouts, collection: &Collection) -> Option<u64> {
    if collection.is_view || collection.is_hidden {
        return None;
    }
    let command = doc! {"count": collection.name.as_str()};
    let database = session.client.database(&collection.database);
    let counted = database.run_command(command);
    let counted = session.answered(limits.first_byte, counted.into_future()).await.ok()?.ok()?;
    let number = counted.get("n")?;
    let number =
        number.as_i64().or_else(|| number.as_i32().map(i64::from)).or_else(|| number.as_f64().map(|n| n as i64));
    u64::try_from(number?).ok()
}
