//! What is served and what is refused at start.

use crate::gateway::rules::Table;
use crate::gateway::tests::{protos, service};

#[test]
fn the_table_lists_every_binding() {
    let set = protos::compile(vec![("door.proto", service::PROTO.to_owned())]);
    let lines = Table::load(&set, "tributary.v1.rest").unwrap().lines();
    assert_eq!(
        lines,
        [
            "door.v1.Things.Create POST /api/v1/things *",
            "door.v1.Things.Delete DELETE /api/v1/things/{id} -",
            "door.v1.Things.Delete POST /api/v1/things/{id}:remove *",
            "door.v1.Things.Gather POST /api/v1/things/{id}/parts:gather *",
            "door.v1.Things.Get GET /api/v1/things/{id} -",
            "door.v1.Things.List GET /api/v1/things -",
            "door.v1.Things.Plan PUT /api/v1/things/{id}/schedule schedule",
            "door.v1.Things.Replace PUT /api/v1/things/{id}/data *",
            "door.v1.Things.Update PATCH /api/v1/things/{thing.id} thing",
            "door.v1.Things.Watch GET /api/v1/things/{id}/events -",
        ]
    );
}

#[test]
fn our_own_descriptors_can_be_served() {
    let table = Table::load(crate::proto::DESCRIPTORS, "tributary.v1.rest").unwrap();
    assert!(table.routes().iter().all(|route| route.rest.role > 0));
    assert!(table.lines().iter().any(|line| line.ends_with("GET /api/v1/sources/{short_name} -")));
}

#[test]
fn what_cannot_be_served_is_refused_at_start() {
    for (rpc, why) in [
        ("rpc A(stream M) returns (M) { option (google.api.http) = {get: \"/a\"}; }", "client streaming"),
        (
            "rpc A(stream M) returns (stream M) { option (google.api.http) = {post: \"/a\" body: \"*\"}; }",
            "streams both ways",
        ),
        ("rpc A(M) returns (M) { option (google.api.http) = {get: \"/a/{nope}\"}; }", "no field `nope`"),
        ("rpc A(M) returns (M) { option (google.api.http) = {get: \"/a/{inner}\"}; }", "not a singular scalar"),
        ("rpc A(M) returns (M) { option (google.api.http) = {get: \"/a/{list}\"}; }", "not a singular scalar"),
        ("rpc A(M) returns (M) { option (google.api.http) = {get: \"/a/{inner.nope}\"}; }", "no field `inner.nope`"),
        ("rpc A(M) returns (M) { option (google.api.http) = {post: \"/a\" body: \"nope\"}; }", "no field `nope`"),
        ("rpc A(M) returns (M) { option (google.api.http) = {post: \"/a\" body: \"list\"}; }", "repeated"),
        ("rpc A(M) returns (M) { option (google.api.http) = {get: \"a\"}; }", "begins with"),
        ("rpc A(M) returns (M) { option (google.api.http) = {}; }", "no path"),
        ("rpc A(M) returns (M) { option (google.api.http) = {get: \"/a\" response_body: \"id\"}; }", "response_body"),
        ("rpc A(M) returns (Success) { option (google.api.http) = {get: \"/a\"}; }", "`success`"),
        ("rpc A(M) returns (Failure) { option (google.api.http) = {get: \"/a\"}; }", "`error`"),
        (
            "rpc A(M) returns (M) { option (google.api.http) = {get: \"/a/{id}\"}; }\
             rpc B(M) returns (M) { option (google.api.http) = {get: \"/a/{inner.id}\"}; }",
            "same rule",
        ),
        (
            "rpc A(M) returns (M) { option (google.api.http) = {get: \"/a\"}; \
             option (tributary.v1.rest) = {etag_field: \"nope\"}; }",
            "no field `nope`",
        ),
    ] {
        let proto = format!(
            "syntax = \"proto3\"; package t; import \"google/api/annotations.proto\"; \
             import \"tributary/v1/rest_options.proto\"; message M {{ string id = 1; repeated string list = 2; \
             M inner = 3; }} message Success {{ bool success = 1; }} message Failure {{ bool error = 1; }} \
             service S {{ {rpc} }}"
        );
        let set = protos::compile(vec![("t.proto", proto)]);
        let error = Table::load(&set, "tributary.v1.rest").unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("t.S."), "{rpc}: {error}");
    }
    assert!(Table::load(b"nonsense", "tributary.v1.rest").is_err());
    assert!(Table::load(&[], "tributary.v1.rest").is_err());
}

#[test]
fn the_served_surface_is_the_committed_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/routes.txt");
    let lines = Table::load(crate::proto::DESCRIPTORS, "tributary.v1.rest").unwrap().lines();
    let served = format!("{}\n", lines.join("\n"));
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(committed, served, "tests/routes.txt lists the routes; if the change is meant, it becomes:\n{served}");
}
