//! The authorization table: each method's least role, from the descriptors.

use std::collections::HashMap;

use prost_reflect::{DescriptorPool, MethodDescriptor, Value};
use prost_types::method_options::IdempotencyLevel;

use crate::access::Role;
use crate::proto::{DESCRIPTORS, v1};

/// One method of this API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Method {
    /// `tributary.v1.SyncService/GetSync`.
    pub name: String,
    /// Least role that may call it.
    pub role: Role,
    /// True when the answer is a stream.
    pub streams: bool,
    /// True when it may change something: the proto does not say that it has no
    /// side effects.
    pub changes: bool,
}

/// Every method of this API by its path.
pub struct Methods(HashMap<String, Method>);

impl Methods {
    /// The table. The build has checked that every method has a role.
    pub fn of_this_api() -> Self {
        let pool = DescriptorPool::decode(DESCRIPTORS).expect("the build wrote these descriptors");
        let methods = pool
            .services()
            .filter(|service| service.package_name() == "tributary.v1")
            .flat_map(|service| service.methods().collect::<Vec<_>>())
            .map(|method| {
                let name = format!("{}/{}", method.parent_service().full_name(), method.name());
                let role = least_role(&pool, &method).expect("the build refuses a method without a role");
                let (streams, changes) = (method.is_server_streaming(), may_change(&method));
                (format!("/{name}"), Method { name, role, streams, changes })
            })
            .collect();
        Self(methods)
    }

    /// The method at a path (`/package.Service/Method`).
    pub fn get(&self, path: &str) -> Option<&Method> {
        self.0.get(path)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Method> {
        self.0.values()
    }
}

/// The role of a number on the wire.
pub fn role(number: i32) -> Option<Role> {
    match v1::access::Role::try_from(number).ok()? {
        v1::access::Role::Unspecified => None,
        v1::access::Role::Viewer => Some(Role::Viewer),
        v1::access::Role::Runner => Some(Role::Runner),
        v1::access::Role::Editor => Some(Role::Editor),
        v1::access::Role::Owner => Some(Role::Owner),
        v1::access::Role::Admin => Some(Role::Admin),
    }
}

fn least_role(pool: &DescriptorPool, method: &MethodDescriptor) -> Option<Role> {
    let extension = pool.get_extension_by_name("tributary.v1.rest")?;
    let options = method.options();
    let rest = options.get_extension(&extension);
    let Some(Value::EnumNumber(number)) = rest.as_message()?.get_field_by_name("role").map(|role| role.into_owned())
    else {
        return None;
    };
    role(number)
}

fn may_change(method: &MethodDescriptor) -> bool {
    let options = method.options();
    let level = options.get_field_by_name("idempotency_level").map(|level| level.into_owned());
    level != Some(Value::EnumNumber(IdempotencyLevel::NoSideEffects.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_in_the_table_and_only_watching_streams() {
        let methods = Methods::of_this_api();
        assert_eq!(methods.iter().count(), 42);
        let streams: Vec<&str> =
            methods.iter().filter(|method| method.streams).map(|method| method.name.as_str()).collect();
        assert_eq!(streams, ["tributary.v1.SyncService/WatchSync"]);
    }

    #[test]
    fn what_may_change_something_is_told_from_what_reads() {
        let methods = Methods::of_this_api();
        let changes = |path: &str| methods.get(&format!("/tributary.v1.{path}")).map(|method| method.changes);
        for path in
            ["ApiKeyService/CreateApiKey", "SyncService/CancelSync", "SourceConnectionService/TestSourceConnection"]
        {
            assert_eq!(changes(path), Some(true), "{path}");
        }
        for path in ["SearchService/Search", "SourceConnectionService/PlanSync", "AuditService/ListAuditEvents"] {
            assert_eq!(changes(path), Some(false), "{path}");
        }
    }

    #[test]
    fn roles_are_those_of_the_protos() {
        let methods = Methods::of_this_api();
        let role = |path| methods.get(path).map(|method| method.role);
        assert_eq!(role("/tributary.v1.SourceService/ListSources"), Some(Role::Viewer));
        assert_eq!(role("/tributary.v1.SourceConnectionService/TestSourceConnection"), Some(Role::Runner));
        assert_eq!(role("/tributary.v1.SourceConnectionService/CreateSourceConnection"), Some(Role::Editor));
        assert_eq!(role("/tributary.v1.ApiKeyService/CreateApiKey"), Some(Role::Owner));
        assert_eq!(role("/tributary.v1.ApiKeyService/Nothing"), None);
    }
}
