//! What no log tells: rows that InnoDB itself removes or changes, since a row that they
//! refer to went or got another key (`ON DELETE CASCADE` and the like). So the tables
//! that are referred to are watched.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::statement::{Token, tokens};
use crate::connectors::ConnectorError;
use crate::connectors::mysql::session::{Session, answered};
use crate::connectors::mysql::sql;

/// Tables that are looked at for one that is followed.
const MOST_REFERRED: usize = 1000;

/// Database and name of a table.
pub(super) type Name = (String, String);

/// A reference that acts by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    table: Name,
    /// The columns that are referred to.
    columns: Vec<String>,
}

/// Finds the references of tables, each once.
#[derive(Debug, Default)]
pub(super) struct References {
    /// None where the login may not see them.
    known: HashMap<Name, Option<Vec<Reference>>>,
}

impl References {
    /// The tables, with their columns, whose rows may take rows of this table with
    /// them, by whatever way; none where that cannot be seen.
    pub(super) async fn of(
        &mut self,
        session: &mut Session,
        limit: Duration,
        table: &Name,
    ) -> Result<Option<HashMap<Name, HashSet<String>>>, ConnectorError> {
        let mut found: HashMap<Name, HashSet<String>> = HashMap::new();
        let mut left = vec![table.clone()];
        let mut seen = HashSet::from([table.clone()]);
        while let Some(table) = left.pop() {
            let Some(references) = self.direct(session, limit, &table).await? else { return Ok(None) };
            for Reference { table, columns } in references {
                found.entry(table.clone()).or_default().extend(columns.iter().cloned());
                if seen.insert(table.clone()) {
                    left.push(table.clone());
                }
            }
            if seen.len() > MOST_REFERRED {
                return Ok(None);
            }
        }
        Ok(Some(found))
    }

    async fn direct(
        &mut self,
        session: &mut Session,
        limit: Duration,
        table: &Name,
    ) -> Result<Option<&[Reference]>, ConnectorError> {
        if !self.known.contains_key(table) {
            let statement = format!("SHOW CREATE TABLE {}", sql::table(&table.0, &table.1));
            let shown = answered(limit, async {
                match session.all(&statement, 1).await {
                    Err(failure) if !failure.fatal => Ok(None),
                    outcome => outcome.map(Some),
                }
            });
            let text = shown.await?.and_then(|rows| rows.into_iter().next()?.into_iter().nth(1)?);
            let references = text.map(|text| references(&String::from_utf8_lossy(&text), &table.0));
            self.known.insert(table.clone(), references);
        }
        Ok(self.known.get(table).and_then(Option::as_deref))
    }
}

/// The references in a definition that act by themselves.
fn references(definition: &str, database: &str) -> Vec<Reference> {
    let constraints = definition.lines().map(str::trim_start).filter(|line| line.starts_with("CONSTRAINT "));
    constraints.filter_map(|line| reference(&tokens(line), database)).collect()
}

/// `CONSTRAINT name FOREIGN KEY (...) REFERENCES [database.]table (...) ON ...`
fn reference(tokens: &[Token], database: &str) -> Option<Reference> {
    let from = tokens.iter().position(|token| token.is("REFERENCES"))?;
    let (table, rest) = match &tokens[from + 1..] {
        [Token::Name(database), Token::Sign('.'), Token::Name(table), rest @ ..] => {
            ((database.clone(), table.clone()), rest)
        }
        [Token::Name(table), rest @ ..] => ((database.to_owned(), table.clone()), rest),
        _ => return None,
    };
    let end = rest.iter().position(|token| *token == Token::Sign(')'))?;
    let (columns, actions) = rest.split_at(end);
    let acts = actions.windows(3).any(|window| window[0].is("ON") && (window[2].is("CASCADE") || window[2].is("SET")));
    let columns = columns.iter().filter_map(Token::name).map(str::to_owned).collect();
    acts.then_some(Reference { table, columns })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_that_act_are_found() {
        let definition = "CREATE TABLE `t` (\n  `id` int(11) NOT NULL COMMENT 'REFERENCES x',\n  \
            CONSTRAINT `a` FOREIGN KEY (`x`) REFERENCES `parent` (`id`),\n  \
            CONSTRAINT `b` FOREIGN KEY (`x`, `y`) REFERENCES `o``d`.`Table` (`k`, `l`) ON DELETE CASCADE ON UPDATE NO ACTION,\n  \
            CONSTRAINT `c` FOREIGN KEY (`x`) REFERENCES `parent` (`id`) ON UPDATE SET NULL,\n  \
            CONSTRAINT `d` CHECK (`x` > 1)\n) ENGINE=InnoDB";
        let expected =
            [("o`d", "Table", vec!["k", "l"]), ("shop", "parent", vec!["id"])].map(|(database, table, columns)| {
                let columns = columns.into_iter().map(str::to_owned).collect();
                Reference { table: (database.to_owned(), table.to_owned()), columns }
            });
        assert_eq!(references(definition, "shop"), expected);
    }
}
