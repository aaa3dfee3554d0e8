//! What a server holds, as far as the user may see it.

use bson::doc;

use super::failure::Failure;
use super::selection::Selection;
use super::session::{Session, answered};
use crate::connectors::ConnectorError;
use crate::connectors::rows::names;
use crate::egress::Timeouts;

/// Databases, and collections of one, that are listed at most.
const MOST: usize = 50_000;
/// Collections of one answer.
const AT_ONCE: i32 = 1000;

/// A collection or view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Collection {
    pub(super) database: String,
    pub(super) name: String,
    /// Its documents have no `_id` that is theirs alone: a view, or a time series.
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

/// Databases that could be included, in their order. Where the user may not list them,
/// those that the config names, if it names each.
pub(super) async fn databases(
    session: &mut Session,
    limits: Timeouts,
    selection: &Selection<'_>,
) -> Result<Vec<String>, ConnectorError> {
    let mut databases = match answered(limits.first_byte, listed_databases(session)).await {
        Ok(databases) => databases,
        Err(failure) if failure.is_forbidden() && selection.names_all_databases() => Vec::new(),
        Err(failure) if failure.is_forbidden() => {
            return Err(ConnectorError::Forbidden { object: "the list of databases".to_owned() });
        }
        Err(failure) => return Err(failure.into_error()),
    };
    // What the user may not see any more is not on the list; what is named is asked for.
    databases.extend(selection.named_databases());
    databases.extend(selection.named().into_iter().map(|(database, ..)| database));
    databases.retain(|database| !["admin", "config", "local"].contains(&database.as_str()));
    databases.sort();
    databases.dedup();
    Ok(databases)
}

async fn listed_databases(session: &mut Session) -> Result<Vec<String>, Failure> {
    let command = doc! {"listDatabases": 1, "nameOnly": true, "authorizedDatabases": true};
    let answer = session.ask("admin", command).await?;
    let listed = answer.document()?.get_array("databases").map_err(|_| Failure::MALFORMED)?;
    let mut databases = Vec::new();
    for database in listed {
        let database = database.ok().and_then(|database| database.as_document()).ok_or(Failure::MALFORMED)?;
        databases.push(database.get_str("name").map_err(|_| Failure::MALFORMED)?.to_owned());
        if databases.len() > MOST {
            return Err(Failure::Protocol("there are more databases than there can be"));
        }
    }
    Ok(databases)
}

/// Collections and views of a database, in their order.
pub(super) async fn collections(
    session: &mut Session,
    limits: Timeouts,
    database: &str,
) -> Result<Vec<Collection>, Failure> {
    answered(limits.first_byte, listed_collections(session, database)).await
}

async fn listed_collections(session: &mut Session, database: &str) -> Result<Vec<Collection>, Failure> {
    let command = doc! {
        "listCollections": 1, "nameOnly": true, "authorizedCollections": true, "cursor": {"batchSize": AT_ONCE},
    };
    let mut next = Some(session.begin(database, command).await?);
    let (mut collections, mut seen) = (Vec::new(), 0);
    while let Some(cursor) = next {
        for found in cursor.documents()? {
            let found = found?;
            let name = found.get_str("name").map_err(|_| Failure::MALFORMED)?;
            // A list that is cut would prove the others gone.
            seen += 1;
            if seen > MOST {
                return Err(Failure::Protocol("there are more collections than there can be"));
            }
            if !name.starts_with("system.") {
                let is_view = found.get_str("type").is_ok_and(|kind| kind != "collection");
                let (database, name) = (database.to_owned(), name.to_owned());
                collections.push(Collection { database, name, is_view, is_hidden: false });
            }
        }
        next = cursor.next(session, "$cmd.listCollections", AT_ONCE).await?;
    }
    collections.sort_by(|one: &Collection, other| one.name.cmp(&other.name));
    Ok(collections)
}

/// What the config includes. Collections that it names one by one, of a database that
/// the user may not list, are hidden and not gone.
pub(super) async fn selected(
    session: &mut Session,
    limits: Timeouts,
    selection: &Selection<'_>,
) -> Result<Vec<Collection>, ConnectorError> {
    let named = selection.named();
    let mut selected = Vec::new();
    for database in databases(session, limits, selection).await? {
        if !selection.collections().reaches_into(&database) {
            continue;
        }
        match collections(session, limits, &database).await {
            Ok(found) => {
                let included = |one: &Collection| selection.collections().includes(&database, &one.name);
                selected.extend(found.into_iter().filter(included));
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

/// Documents of a collection, as its metadata says; of a view nobody knows.
pub(super) async fn estimate(session: &mut Session, collection: &Collection) -> Result<Option<u64>, Failure> {
    if collection.is_view || collection.is_hidden {
        return Ok(None);
    }
    match session.ask(&collection.database, doc! {"count": collection.name.as_str()}).await {
        Ok(answer) => Ok(answer.number("n").and_then(|number| u64::try_from(number).ok())),
        Err(failure) if failure.is_fatal() => Err(failure),
        Err(_) => Ok(None),
    }
}
