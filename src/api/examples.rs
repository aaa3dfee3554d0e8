//! What the published description of the API says beside the protos: the
//! documented requests and replies, the error words and the names of roles.

use serde_json::Value;

use crate::error::Reason;
use crate::proto::v1::access::Role;

/// By operation id: `{"request": ..., "response": ..., "parameters": {...}}`.
pub fn examples() -> Value {
    serde_json::from_str(include_str!("examples.json")).expect("a test reads the same file")
}

/// Each error word, as in a REST body, with its HTTP status.
pub fn reasons() -> Vec<(String, u16)> {
    Reason::ALL.iter().map(|reason| (reason.name().to_ascii_lowercase(), reason.http_status())).collect()
}

/// The services in the order of reading, with what people call them.
pub fn services() -> Vec<(String, String)> {
    let order = [
        ("SourceService", "Sources"),
        ("SourceConnectionService", "Source connections"),
        ("DocumentService", "Documents"),
        ("SyncService", "Syncs"),
        ("SearchService", "Search"),
        ("CollectionService", "Collections"),
        ("ApiKeyService", "API keys"),
        ("AuditService", "Audit log"),
    ];
    order.into_iter().map(|(service, name)| (service.to_owned(), name.to_owned())).collect()
}

/// The word for a role, if callers need one.
pub fn role_name(role: i32) -> Option<&'static str> {
    match Role::try_from(role).unwrap_or(Role::Unspecified) {
        Role::Unspecified => None,
        Role::Viewer => Some("viewer"),
        Role::Runner => Some("runner"),
        Role::Editor => Some("editor"),
        Role::Owner => Some("owner"),
        Role::Admin => Some("admin"),
    }
}

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;

    use super::*;

    #[test]
    fn every_example_is_of_a_method_that_exists() {
        let pool = DescriptorPool::decode(crate::proto::DESCRIPTORS).unwrap();
        let methods: Vec<String> = pool
            .services()
            .flat_map(|service| service.methods().collect::<Vec<_>>())
            .map(|method| format!("{}_{}", method.parent_service().name(), method.name()))
            .collect();
        for operation in examples().as_object().unwrap().keys() {
            let plain = operation.trim_end_matches(|letter: char| letter == '_' || letter.is_ascii_digit());
            assert!(methods.iter().any(|method| method == plain), "{operation}");
        }
    }

    #[test]
    fn the_documented_errors_have_their_documented_statuses() {
        let reasons = reasons();
        let documented = [
            ("invalid_credentials", 400),
            ("unauthorized", 401),
            ("forbidden", 403),
            ("not_found", 404),
            ("sync_in_progress", 409),
        ];
        for (word, status) in documented {
            assert!(reasons.contains(&(word.to_owned(), status)), "{word}");
        }
    }
}
