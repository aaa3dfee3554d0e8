//! A pass over the selected tables, one after the other in one snapshot.

use std::collections::HashMap;

use super::catalog::{self, Layout, Table};
use super::cursor::{Cursor, Values};
use super::failure::Failure;
use super::object::{ObjectError, Pass};
use super::plan::Plan;
use super::selection::Selection;
use super::session::{Session, answered};
use super::{MySql, session, sql};
use crate::connectors::reading::{Message, Output, ReadRequest, Scope};
use crate::connectors::rows::{cursors, names};
use crate::connectors::{Account, ConnectorError};
use crate::egress::Timeouts;
use crate::report::Report;

pub(super) const PERMISSION_MISSING: (&str, &str) =
    ("permission_missing", "the login may not read this object; grant it SELECT");
const CHANGED: (&str, &str) = ("object_changed", "the object changed while it was read; the next sync reads it again");

/// Path of a table.
pub(super) fn path_of(table: &Table) -> String {
    names::join(&[&table.database, &table.name])
}

/// Reads everything that the config selects.
pub(super) async fn read(account: &Account<MySql>, request: ReadRequest, output: Output) -> Result<(), ConnectorError> {
    let limits = account.resources.dialer.timeouts();
    let mut session = session::open(account, &mut Report::default()).await?;
    let selection = Selection::new(&account.config);
    let tables = selected(&mut session, limits, &selection).await?;
    let layouts = match selection.has_cursors() {
        true => checked_cursors(&mut session, limits, &selection, &tables).await?,
        false => HashMap::new(),
    };
    let server = answered(limits.first_byte, session.identity()).await?;
    output.send(Message::Objects(tables.iter().map(|table| scope_of(table, &selection)).collect())).await?;
    for table in tables.iter().filter(|table| !request.finished.contains(&path_of(table))) {
        let scope = scope_of(table, &selection);
        let object = scope.object.clone();
        output.send(Message::Started(scope.clone())).await?;
        let one = Lane { account, limits, output: &output, selection: &selection, server: &server, request: &request };
        match one.read(&mut session, table, layouts.get(&path_of(table)), &scope).await {
            Ok(()) => {}
            Err(ObjectError::Object(code, message)) => {
                output.send(Message::Failed { object, code, message: message.to_owned() }).await?;
            }
            Err(ObjectError::Session(error)) => return Err(error),
        }
    }
    session.close().await;
    Ok(())
}

/// What the objects of one pass share.
struct Lane<'a> {
    account: &'a Account<MySql>,
    limits: Timeouts,
    output: &'a Output,
    selection: &'a Selection<'a>,
    server: &'a str,
    request: &'a ReadRequest,
}

impl Lane<'_> {
    async fn read(
        &self,
        session: &mut Session,
        table: &Table,
        layout: Option<&Layout>,
        scope: &Scope,
    ) -> Result<(), ObjectError> {
        if table.is_hidden {
            return Err(ObjectError::Object(PERMISSION_MISSING.0, PERMISSION_MISSING.1));
        }
        let layout = match layout {
            Some(layout) => layout.clone(),
            None => layout_of(session, self.limits, table).await?,
        };
        let plan = planned(table, &layout, self.selection)?;
        let cursor = self.cursor(session, table, &layout, &plan).await?;
        let mut pass = Pass {
            session,
            limits: self.limits,
            output: self.output,
            table,
            object: scope.object.clone(),
            plan: &plan,
            cursor,
            reconcile_hours: self.account.config.reconcile_hours,
            seen: HashMap::new(),
        };
        pass.run(scope, self.request).await
    }

    /// The cursor column of a table. Rows without a key are told apart by their content,
    /// which has to have the column then.
    async fn cursor(
        &self,
        session: &mut Session,
        table: &Table,
        layout: &Layout,
        plan: &Plan,
    ) -> Result<Option<Cursor>, ObjectError> {
        let Some(horizon) = session.horizon else { return Ok(None) };
        let Some((column, values)) = cursor_of(self.selection, table, layout) else { return Ok(None) };
        if plan.limit.is_some() || !(plan.has_key() || plan.shows(&column)) {
            return Ok(None);
        }
        let definition = match table.is_view {
            true => match view_definition(session, self.limits, table).await? {
                Some(definition) => definition,
                // A view that may have become another one is read whole.
                None => return Ok(None),
            },
            false => table.created.clone(),
        };
        let identity = format!("{} {} {definition}", self.server, plan.identity());
        let overlap = cursors::overlap(self.account.config.cursor_overlap_seconds);
        Ok(Some(Cursor { column, values, identity, overlap, horizon }))
    }
}

/// How the rows of a table are read; the check of the settings lets no bad template
/// through.
pub(super) fn planned(table: &Table, layout: &Layout, selection: &Selection<'_>) -> Result<Plan, ObjectError> {
    Plan::of(table, layout, selection)
        .map_err(|_| ObjectError::Object("template_failed", "a template of this object is not valid"))
}

/// The columns and key of a table.
pub(super) async fn layout_of(session: &mut Session, limits: Timeouts, table: &Table) -> Result<Layout, ObjectError> {
    let layout = match tokio::time::timeout(limits.first_byte, catalog::layout(session, table)).await {
        Ok(layout) => layout?,
        Err(_) => return Err(ConnectorError::Unreachable { code: "timed_out", cause: None }.into()),
    };
    if layout.columns.is_empty() { Err(ObjectError::Object(CHANGED.0, CHANGED.1)) } else { Ok(layout) }
}

/// The tables that the config includes. Those that the config names one by one and that
/// the server does not show are asked for: it hides what the login may not read, and
/// what is hidden is not gone.
pub(super) async fn selected(
    session: &mut Session,
    limits: Timeouts,
    selection: &Selection<'_>,
) -> Result<Vec<Table>, ConnectorError> {
    let mut tables = answered(limits.first_byte, catalog::tables(session, None)).await?;
    tables.retain(|table| selection.tables().includes(&table.database, &table.name));
    for (database, name, _) in selection.named() {
        if tables.iter().any(|table| (&table.database, &table.name) == (&database, &name)) {
            continue;
        }
        let statement = format!("SELECT 1 FROM {} LIMIT 0", sql::table(&database, &name));
        match tokio::time::timeout(limits.first_byte, session.all(&statement, 0)).await {
            Ok(Err(failure)) if failure.fatal => return Err(failure.into_error()),
            Ok(Err(failure)) if failure.is_forbidden() => tables.push(hidden(database, name)),
            Ok(_) => {}
            Err(_) => return Err(ConnectorError::Unreachable { code: "timed_out", cause: None }),
        }
    }
    Ok(tables)
}

/// A table that is named and not shown.
pub(super) fn hidden(database: String, name: String) -> Table {
    Table {
        database,
        name,
        is_view: false,
        is_clustered: false,
        estimate: None,
        created: String::new(),
        is_hidden: true,
    }
}

/// The layouts of tables, after a check that each entry of `cursorColumns` names a
/// column of them that can tell of changes.
pub(super) async fn checked_cursors(
    session: &mut Session,
    limits: Timeouts,
    selection: &Selection<'_>,
    tables: &[Table],
) -> Result<HashMap<String, Layout>, ConnectorError> {
    let mut layouts = HashMap::new();
    for table in tables.iter().filter(|table| !table.is_hidden) {
        match layout_of(session, limits, table).await {
            Ok(layout) => drop(layouts.insert(path_of(table), layout)),
            Err(ObjectError::Session(error)) => return Err(error),
            // It fails by itself when it is read.
            Err(ObjectError::Object(..)) => {}
        }
    }
    for position in 0..selection.cursors() {
        let mut named = tables
            .iter()
            .filter_map(|table| Some((table, &layouts.get(&path_of(table))?.columns)))
            .flat_map(|(table, columns)| columns.iter().map(move |column| (table, column)))
            .filter(|(table, column)| selection.names_cursor(position, &table.database, &table.name, &column.name))
            .peekable();
        let reason = if named.peek().is_none() {
            "names no column of the tables that are read"
        } else if named.any(|(_, column)| Values::of(column.kind).is_none()) {
            "names a column that is neither a date nor a time nor a whole number"
        } else {
            continue;
        };
        let field = format!("config.cursorColumns[{position}]");
        return Err(ConnectorError::Invalid { field, reason: reason.to_owned() });
    }
    Ok(layouts)
}

/// The column that tells of changes, by the first entry that names one.
fn cursor_of(selection: &Selection<'_>, table: &Table, layout: &Layout) -> Option<(String, Values)> {
    (0..selection.cursors()).find_map(|position| {
        let is_named = |name: &str| selection.names_cursor(position, &table.database, &table.name, name);
        let column = layout.columns.iter().find(|column| is_named(&column.name))?;
        Some((column.name.clone(), Values::of(column.kind)?))
    })
}

/// What a view is made of, as a hash; none where the login may not see it.
async fn view_definition(
    session: &mut Session,
    limits: Timeouts,
    table: &Table,
) -> Result<Option<String>, ConnectorError> {
    let (database, name) = (sql::text(&table.database), sql::text(&table.name));
    let statement = format!(
        "SELECT SHA2(NULLIF(VIEW_DEFINITION, ''), 256) FROM information_schema.VIEWS \
         WHERE TABLE_SCHEMA = {database} AND TABLE_NAME = {name}"
    );
    let rows = answered(limits.first_byte, async {
        match session.all(&statement, 16).await {
            Err(failure) if !failure.fatal => Ok(Vec::new()),
            outcome => outcome,
        }
    });
    let rows = rows.await?;
    let hash = rows.first().and_then(|row| String::from_utf8(row.first()?.clone()?).ok());
    Ok(hash.filter(|_| rows.len() == 1))
}

impl Session {
    /// Which server this is.
    async fn identity(&mut self) -> Result<String, Failure> {
        let rows = self.all("SELECT @@hostname, @@server_id, @@version", 1).await?;
        let parts = rows.first().into_iter().flatten().flatten();
        Ok(parts.map(|part| String::from_utf8_lossy(part).into_owned()).collect::<Vec<_>>().join(" "))
    }
}

fn scope_of(table: &Table, selection: &Selection<'_>) -> Scope {
    let limit = selection.options(&table.database, &table.name).row_limit;
    let estimate = table.estimate.map(|rows| limit.map_or(rows, |limit| rows.min(limit)));
    Scope { object: path_of(table).into(), estimate }
}
