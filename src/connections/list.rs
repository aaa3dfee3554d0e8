//! Lists of connections: filtered, ordered, keyset paged.

use serde_json::{Value, json};

use super::{Connections, Status, View};
use crate::access::Caller;
use crate::error::Error;
use crate::filter::{self, FieldKind, Filter};
use crate::ids::{CollectionId, ConnectionId};
use crate::paging::{Page, Wanted};
use crate::store::Visible;
use crate::store::connections::Order;

const LIST: &str = "source_connections";
const FIELDS: &[(&str, FieldKind)] = &[
    ("status", FieldKind::Enum),
    ("source_short_name", FieldKind::Text),
    ("name", FieldKind::Text),
    ("paused", FieldKind::Bool),
    ("created_at", FieldKind::Timestamp),
];

/// Which connections a caller wants.
#[derive(Debug, Clone, Copy)]
pub struct Listing<'a> {
    /// Only of this collection; empty means all.
    pub collection: &'a str,
    /// What must hold of each.
    pub filter: &'a str,
    /// `created_at desc` when empty.
    pub order_by: &'a str,
    /// Which page.
    pub page: Wanted<'a>,
}

impl Connections {
    /// Connections of one collection, or of all that the caller may see.
    pub async fn list(&self, caller: &Caller, listing: Listing<'_>) -> Result<Page<View>, Error> {
        let order = order(listing.order_by)?;
        let filter = parsed_filter(listing.filter)?;
        let arguments = [listing.collection, listing.filter, listing.order_by];
        let mut after: Option<(String, String)> = self.pages.open(LIST, &arguments, listing.page.token)?;
        let collection = self.listed_collection(caller, listing.collection).await?;
        let size = listing.page.size(1000, 1000);
        let visible = Visible::from(caller);
        let mut found = Vec::new();
        loop {
            let from = after.take().map(position).transpose()?;
            let fetched = self.store.connections(&visible, collection.as_ref(), order, from, size as u64 + 1).await?;
            let exhausted = fetched.len() <= size;
            after = fetched.last().map(|last| (order.sort_value(last), last.id.to_string()));
            for view in self.views(fetched).await? {
                if matches(&filter, &view)? {
                    found.push(view);
                }
            }
            // One more than wanted tells that there is another page.
            if exhausted || found.len() > size {
                return self.pages.cut(LIST, &arguments, found, size, |view: &View| {
                    (order.sort_value(&view.connection), view.connection.id.to_string())
                });
            }
        }
    }

    async fn listed_collection(&self, caller: &Caller, text: &str) -> Result<Option<CollectionId>, Error> {
        if text.is_empty() {
            return Ok(None);
        }
        let id: CollectionId = text.parse().map_err(|error: crate::ids::InvalidId| {
            Error::invalid("collection_id", "INVALID_VALUE", error.to_string())
        })?;
        if self.store.collection(&id).await?.is_none() {
            return Err(Error::not_found("collection", text));
        }
        caller.may(&id)?;
        Ok(Some(id))
    }
}

fn position((value, id): (String, String)) -> Result<(String, ConnectionId), Error> {
    Ok((value, id.parse().map_err(Error::internal)?))
}

fn order(text: &str) -> Result<Order, Error> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        [] | ["created_at", "desc"] => Ok(Order::CreatedDesc),
        ["created_at"] | ["created_at", "asc"] => Ok(Order::CreatedAsc),
        ["name"] | ["name", "asc"] => Ok(Order::NameAsc),
        ["name", "desc"] => Ok(Order::NameDesc),
        _ => Err(Error::invalid("order_by", "INVALID_VALUE", "must be `created_at` or `name`, perhaps with ` desc`")),
    }
}

fn parsed_filter(text: &str) -> Result<Filter, Error> {
    let invalid = |error: filter::FilterError| Error::invalid("filter", "INVALID_VALUE", error.to_string());
    let parsed = filter::parse(text).map_err(invalid)?;
    parsed.check(FIELDS).map_err(invalid)?;
    Ok(parsed)
}

fn matches(filter: &Filter, view: &View) -> Result<bool, Error> {
    filter
        .matches(&|path| value(view, path))
        .map_err(|error| Error::invalid("filter", "INVALID_VALUE", error.to_string()))
}

fn value(view: &View, path: &[String]) -> Option<Value> {
    let [field] = path else { return None };
    match field.as_str() {
        "status" => Some(status_words(view.status)),
        "source_short_name" => Some(json!(view.connection.source)),
        "name" => Some(json!(view.connection.name)),
        "paused" => Some(json!(view.connection.paused)),
        "created_at" => {
            chrono::DateTime::from_timestamp_millis(view.connection.created_at).map(|time| json!(time.to_rfc3339()))
        }
        _ => None,
    }
}

/// The word of REST and the two of the proto: a filter may use any.
fn status_words(status: Status) -> Value {
    let upper = status.as_str().to_uppercase();
    json!([status.as_str(), upper, format!("STATUS_{upper}")])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_orders_are_known() {
        for (text, wanted) in [
            ("", Order::CreatedDesc),
            ("created_at desc", Order::CreatedDesc),
            ("created_at", Order::CreatedAsc),
            ("name", Order::NameAsc),
            ("name  desc", Order::NameDesc),
        ] {
            assert_eq!(order(text).expect("is known"), wanted);
        }
        for odd in ["status", "name up", "name desc, created_at", "NAME"] {
            assert_eq!(order(odd).expect_err(odd).field_violations()[0].field, "order_by");
        }
    }

    #[test]
    fn filters_name_existing_fields() {
        assert!(parsed_filter("status = connected AND name:sales").is_ok());
        assert!(parsed_filter("").is_ok());
        assert_eq!(parsed_filter("password = a").expect_err("unknown").field_violations()[0].field, "filter");
    }
}
