//! The statements of `docs/sources/postgresql.md`, on a real server: what they grant
//! is enough, and no more than enough.

use tributary::report::Report;

use super::*;

/// The SQL of the page, block by block, for a role, an owner and a database of the
/// test.
fn documented(role: &str, database: &str) -> Vec<String> {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/sources/postgresql.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let blocks = page.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    let named = |block: &str| {
        let block = block.replace("tributary_reader", role).replace("DATABASE shop ", &format!("DATABASE {database} "));
        block.replace("shop_owner", &format!("{role}_owner"))
    };
    blocks.map(named).collect()
}

fn login(database: &Database, role: &str) -> Value {
    let mut login = credentials(database);
    login["username"] = json!(role);
    login["password"] = json!("choose-a-long-one");
    login
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_statements_let_a_role_read_and_nothing_else() {
    let sql = "CREATE TABLE customers (id int PRIMARY KEY, name text, country text, secret text);
               INSERT INTO customers VALUES (1, 'Ada', 'UK', 'hidden')";
    let database = database(sql).await;
    let role = format!("documented_{}", database.name);
    let [readable, later, columns, statistics, replication] =
        <[String; 5]>::try_from(documented(&role, &database.name)).expect("five blocks");
    let admin = database.connect().await;
    admin
        .batch_execute(&format!("CREATE ROLE {role}_owner; GRANT CREATE ON SCHEMA public TO {role}_owner"))
        .await
        .unwrap();
    for block in [readable, later, statistics, replication] {
        admin.batch_execute(&block).await.unwrap_or_else(|error| panic!("{error}: {block}"));
    }
    let made = format!("SET ROLE {role}_owner; CREATE TABLE later (id int PRIMARY KEY); RESET ROLE");
    admin.batch_execute(&made).await.unwrap();
    let mut report = Report::default();
    open(login(&database, &role), json!({"tables": ["public.*"]})).check(&mut report).await.unwrap();
    assert!(report.passed(), "{report:?}");
    let read = report.stages.iter().filter_map(|stage| stage.object.as_deref());
    assert!(
        read.clone().any(|object| object == "public.customers") && read.clone().any(|object| object == "public.later")
    );
    for (allowed, privilege) in [(true, "SELECT"), (false, "INSERT"), (false, "UPDATE"), (false, "DELETE")] {
        let sql = format!("SELECT has_table_privilege('{role}', 'customers', '{privilege}')");
        let found: bool = admin.query_one(&sql, &[]).await.unwrap().get(0);
        assert_eq!(found, allowed, "{privilege}");
    }

    // Columns instead of tables.
    let other = format!("{role}_columns");
    let grants = format!("CREATE ROLE {other} LOGIN PASSWORD 'choose-a-long-one'; {}", columns.replace(&role, &other));
    admin.batch_execute(&grants).await.unwrap_or_else(|error| panic!("{error}: {grants}"));
    let session = open(login(&database, &other), json!({"tables": ["public.customers"]}));
    let pass = read_with(&session, ReadRequest::default()).await;
    let document = pass.read["public.customers"].only();
    assert_eq!(document.metadata["name"], "Ada");
    assert!(!document.metadata.contains_key("secret"), "{document:?}");
}
