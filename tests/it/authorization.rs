//! Who may call what: every RPC of the descriptors, by every kind of caller, on
//! their own collection and on another, over every door, against the table that
//! people have reviewed (`tests/authorization.txt`).

mod doors;
mod requests;
mod world;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prost_reflect::MethodDescriptor;
use serde_json::{Value, json};
use tributary::config::{Config, OidcConfig};

use crate::support::grpc::methods;
use crate::support::oidc::Issuer;
use crate::support::server::{ADMIN_KEY, Server, send};
use doors::Doors;
use requests::{Kind, requests};
use world::World;

/// What a caller gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    /// Let through, whatever then came of it.
    Allowed,
    /// Let through, and shown nothing of the collection.
    Hidden,
    /// Not let in: 401.
    NotKnown,
    /// 403.
    Refused,
    /// 404: as if it did not exist.
    NotFound,
    /// Anything else, which nobody may get.
    Wrong(u16),
}

impl Outcome {
    fn word(self) -> String {
        match self {
            Outcome::Allowed => "yes".to_owned(),
            Outcome::Hidden => "hides".to_owned(),
            Outcome::NotKnown => "401".to_owned(),
            Outcome::Refused => "403".to_owned(),
            Outcome::NotFound => "404".to_owned(),
            Outcome::Wrong(status) => format!("wrong({status})"),
        }
    }
}

/// What a method answers on one collection over all doors: one word where they
/// agree, as they must.
async fn cell(doors: &Doors<'_>, method: &MethodDescriptor, request: &Value, key: Option<&str>, shown: &str) -> String {
    let rest = doors.rest(method, request, key, shown).await;
    let grpc = doors.grpc(method, request, key, shown).await;
    let web = doors.grpc_web(method, request, key, shown).await;
    if rest == grpc && grpc == web {
        return rest.word();
    }
    format!("rest:{}|grpc:{}|web:{}", rest.word(), grpc.word(), web.word())
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_may_do_what_the_table_says_and_nothing_else() {
    let issuer = Issuer::start().await;
    let oidc: Arc<Mutex<Option<OidcConfig>>> = Arc::default();
    let configured = oidc.clone();
    let server = Server::start_with(move |config: &mut Config| {
        config.oidc = configured.lock().expect("the setting").clone();
    })
    .await;
    let mut world = World::make(&server).await;
    // An editor of the one collection, whom the provider vouches for.
    *oidc.lock().expect("the setting") = Some(issuer.config(&[&format!("team=editor:{}", world.own.collection)]));
    let server = server.restart().await;
    let token = issuer.token("ada", &["team"]);
    await_let_in(&server, &token).await;
    world.callers.push(("oidc", Some(token)));
    let doors = Doors::open(&server).await;
    let (own, other) = (requests(&world.own), requests(&world.other));
    let mut lines = BTreeMap::new();
    let mut cells = 0;
    let mut all = methods();
    // What empties a collection comes when nothing is asked of its content any more.
    all.sort_by_key(|method| ["Clear", "Delete"].iter().any(|verb| method.name().starts_with(verb)));
    for method in all {
        let name = format!("{}.{}", method.parent_service().name(), method.name());
        let (mine, kind) = own.get(name.as_str()).unwrap_or_else(|| panic!("no request for {name}"));
        let (theirs, _) = &other[name.as_str()];
        let mut line = format!("{name:<57}");
        for (_, key) in &world.callers {
            let shown = |id: &str| if *kind == Kind::Lists { id.to_owned() } else { String::new() };
            let one = cell(&doors, &method, mine, key.as_deref(), &shown(&world.own.collection)).await;
            let two = cell(&doors, &method, theirs, key.as_deref(), &shown(&world.other.collection)).await;
            cells += 6;
            let both = if one == two { one } else { format!("{one}/{two}") };
            line.push_str(&format!(" {both:<9}"));
        }
        lines.insert(name, line.trim_end().to_owned());
    }
    assert_eq!(lines.len(), own.len(), "a request for a method that does not exist");
    let mut found = HEAD.to_owned();
    let callers: String = world.callers.iter().map(|(caller, _)| format!(" {caller:<9}")).collect();
    found.push_str(&format!("{:<57}{}\n", "#", callers.trim_end()));
    lines.values().for_each(|line| found.push_str(&format!("{line}\n")));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/authorization.txt");
    let reviewed = std::fs::read_to_string(path).unwrap_or_default();
    let unexpected: Vec<&str> = found.lines().filter(|line| !reviewed.lines().any(|known| known == *line)).collect();
    assert!(
        found == reviewed,
        "tests/authorization.txt says who may do what; {} lines are not in it:\n{}\nif the change is meant, it \
         becomes:\n{found}",
        unexpected.len(),
        unexpected.join("\n"),
    );
    println!(
        "{cells} cells: {} methods, {} callers, 2 collections, 3 doors; 0 unexpected",
        lines.len(),
        world.callers.len()
    );
}

/// The server asks for the provider's keys beside its start.
async fn await_let_in(server: &Server, token: &str) {
    for _ in 0..600 {
        if send(server.anonymous("GET", "/api/v1/sources").bearer_auth(token)).await.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("a good token is not let in");
}

const HEAD: &str = "\
# Who may call what: a row a method, a column a caller. \"yes\": let through; \"hides\": let through, and shown nothing of
# the collection. Two words with a slash: on the caller's own collection, and on another. The same over REST, gRPC and
# gRPC-Web. \"bad\" is well-formed and unknown; viewer to owner have keys for one collection, admin for all;
# oidc is an editor of one collection, by a token.
";

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_makes_no_key_beyond_its_own_rights() {
    let server = Server::start().await;
    let mine = server.collection("Mine").await;
    let other = server.collection("Other").await;
    let body = json!({"name": "owner", "role": "owner", "collectionIds": [mine]});
    let owner = server.post("/api/v1/api-keys", body).await.ok()["secret"].as_str().unwrap().to_owned();
    let make =
        async |body: Value| send(server.anonymous("POST", "/api/v1/api-keys").bearer_auth(&owner).json(&body)).await;
    make(json!({"name": "n", "role": "admin", "collectionIds": [mine]})).await.error(403, "forbidden");
    make(json!({"name": "n", "role": "viewer", "collectionIds": [mine, other]})).await.error(403, "forbidden");
    let made = make(json!({"name": "n", "role": "viewer"})).await.ok();
    assert_eq!(made["apiKey"]["collectionIds"], json!([mine]));
    assert_eq!(made["apiKey"]["allCollections"], json!(false));
    make(json!({"name": "n", "role": "viewer", "collectionIds": []})).await.error(400, "invalid_argument");
    let listed = send(server.anonymous("GET", "/api/v1/api-keys").bearer_auth(&owner)).await.ok();
    assert_eq!(listed["apiKeys"].as_array().unwrap().len(), 2, "{listed}");
    assert!(!listed.to_string().contains(ADMIN_KEY));
}
