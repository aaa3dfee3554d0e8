//! The operator's table: which value of the roles claim stands for which role, on
//! which collections.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::claims::Claims;
use crate::access::{Caller, Collections, Role};
use crate::ids::CollectionId;

/// A line of the table cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not VALUE=ROLE for all collections, or VALUE=ROLE:COLLECTION+COLLECTION")]
pub struct InvalidGrant(String);

struct Grant {
    value: String,
    role: Role,
    collections: Collections,
}

/// The table.
pub(super) struct Grants {
    claim: String,
    grants: Vec<Grant>,
}

impl Grants {
    /// Reads lines of the form `VALUE=ROLE` or `VALUE=ROLE:col_1+col_2`.
    pub(super) fn new(claim: &str, lines: &[String]) -> Result<Self, InvalidGrant> {
        let read = |line: &String| parse(line).ok_or_else(|| InvalidGrant(line.clone()));
        Ok(Self { claim: claim.to_owned(), grants: lines.iter().map(read).collect::<Result<_, _>>()? })
    }

    /// Who the subject is here. Of several roles the highest counts, with the
    /// collections of every line that gives it; never more than a line says.
    pub(super) fn caller(&self, issuer: &str, claims: &Claims) -> Option<Caller> {
        let values = claims.texts(&self.claim);
        let held: Vec<&Grant> = self.grants.iter().filter(|grant| values.contains(&grant.value.as_str())).collect();
        let role = held.iter().map(|grant| grant.role).max()?;
        let of_the_role = held.into_iter().filter(|grant| grant.role == role);
        let collections = of_the_role.map(|grant| grant.collections.clone()).reduce(united)?;
        Some(Caller {
            key: stand_in(issuer, &claims.subject),
            subject: Some(claims.subject.clone()),
            role,
            collections,
        })
    }
}

fn parse(line: &str) -> Option<Grant> {
    let (value, grant) = line.rsplit_once('=')?;
    let (role, collections) = match grant.split_once(':') {
        Some((role, ids)) => {
            let ids: Result<BTreeSet<CollectionId>, _> = ids.split('+').map(str::parse).collect();
            (role, Collections::Only(ids.ok()?))
        }
        None => (grant, Collections::All),
    };
    let value = value.trim();
    (!value.is_empty()).then_some(Grant { value: value.to_owned(), role: role.trim().parse().ok()?, collections })
}

fn united(one: Collections, other: Collections) -> Collections {
    match (one, other) {
        (Collections::Only(mut one), Collections::Only(other)) => {
            one.extend(other);
            Collections::Only(one)
        }
        (Collections::All, _) | (_, Collections::All) => Collections::All,
    }
}

/// What takes the place of a key's id where callers are told apart (idempotency,
/// limits): the same for every token of one subject, and no key's.
fn stand_in(issuer: &str, subject: &str) -> crate::ids::KeyId {
    let digest = Sha256::new_with_prefix(issuer).chain_update([0]).chain_update(subject).finalize();
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("key_oidc{hex}").parse().expect("it is well-formed")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn caller(lines: &[&str], roles: serde_json::Value) -> Option<Caller> {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        let payload = json!({"iss": "i", "aud": "a", "sub": "ada", "exp": 100, "roles": roles}).to_string();
        let claims = Claims::read(payload.as_bytes(), "i", "a", 0).expect("they are good");
        Grants::new("roles", &lines).expect("they are lines").caller("i", &claims)
    }

    #[test]
    fn the_highest_role_counts_with_the_collections_of_its_lines() {
        let lines = ["v=viewer", "e=editor:col_1", "f=editor:col_2+col_3", "g=editor", "cn=admins,dc=x=owner:col_9"];
        let only = |ids: &[&str]| Collections::Only(ids.iter().map(|id| id.parse().expect("an id")).collect());
        let rights = |roles| caller(&lines, roles).map(|caller| (caller.role, caller.collections));
        assert_eq!(rights(json!(["v"])), Some((Role::Viewer, Collections::All)));
        assert_eq!(rights(json!(["v", "e"])), Some((Role::Editor, only(&["col_1"]))), "not all, as for viewers");
        assert_eq!(rights(json!(["f", "e"])), Some((Role::Editor, only(&["col_1", "col_2", "col_3"]))));
        assert_eq!(rights(json!(["e", "g"])), Some((Role::Editor, Collections::All)));
        assert_eq!(rights(json!("cn=admins,dc=x")), Some((Role::Owner, only(&["col_9"]))));
        for nothing in [json!([]), json!(["x", "V"]), json!("v e"), json!(7)] {
            assert_eq!(rights(nothing), None);
        }
    }

    #[test]
    fn lines_that_mean_nothing_are_refused() {
        for line in ["", "a", "=viewer", "a=", "a=root", "a=viewer:", "a=viewer:all", "a=viewer:col_1,col_2"] {
            assert_eq!(Grants::new("roles", &[line.to_owned()]).err(), Some(InvalidGrant(line.to_owned())));
        }
    }

    #[test]
    fn a_subject_has_one_stand_in_and_nobody_elses() {
        let one = stand_in("https://a", "b");
        assert_eq!(one, stand_in("https://a", "b"));
        assert_ne!(one, stand_in("https://a", "c"));
        assert_ne!(stand_in("https://a", "bc"), stand_in("https://ab", "c"));
    }
}
