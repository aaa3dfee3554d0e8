//! Makes the sample database: the same rows in the same order every time.

use std::path::Path;

use chrono::{Duration, NaiveDate, NaiveDateTime, NaiveTime};
use rusqlite::{Connection, Result, Transaction, params};

use super::words::{FAMILY, GIVEN, KINDS, REVIEWS, SUPPLIERS, TICKETS, TOWNS, VARIANTS};

const CUSTOMERS: i64 = 420;
const ORDERS: i64 = 900;
const TICKET_COUNT: i64 = 320;
const REVIEW_COUNT: i64 = 460;

const SCHEMA: &str = "
CREATE TABLE suppliers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, description TEXT NOT NULL);
CREATE TABLE products (
    id INTEGER PRIMARY KEY, supplier_id INTEGER NOT NULL REFERENCES suppliers (id), name TEXT NOT NULL,
    category TEXT NOT NULL, colour TEXT NOT NULL, price REAL NOT NULL, stock INTEGER NOT NULL,
    description TEXT NOT NULL, created_at TEXT NOT NULL);
CREATE TABLE customers (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL, town TEXT NOT NULL, country TEXT NOT NULL,
    created_at TEXT NOT NULL);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers (id), status TEXT NOT NULL,
    note TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL);
CREATE TABLE order_items (
    order_id INTEGER NOT NULL REFERENCES orders (id), line INTEGER NOT NULL,
    product_id INTEGER NOT NULL REFERENCES products (id), product_name TEXT NOT NULL, quantity INTEGER NOT NULL,
    price REAL NOT NULL, PRIMARY KEY (order_id, line)) WITHOUT ROWID;
CREATE TABLE support_tickets (
    id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers (id),
    product_id INTEGER NOT NULL REFERENCES products (id), subject TEXT NOT NULL, message TEXT NOT NULL,
    status TEXT NOT NULL, created_at TEXT NOT NULL, updated_at TEXT NOT NULL);
CREATE TABLE reviews (
    id INTEGER PRIMARY KEY, product_id INTEGER NOT NULL REFERENCES products (id),
    customer_id INTEGER NOT NULL REFERENCES customers (id), stars INTEGER NOT NULL, title TEXT NOT NULL,
    text TEXT NOT NULL, created_at TEXT NOT NULL);
";

/// Writes the database into a file that does not exist yet.
pub(super) fn database(path: &Path) -> Result<()> {
    let mut connection = Connection::open(path)?;
    connection.execute_batch("PRAGMA page_size=4096; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;")?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    let mut chance = Chance(2009);
    let products = products(&transaction, &mut chance)?;
    customers(&transaction, &mut chance)?;
    orders(&transaction, &mut chance, &products)?;
    tickets(&transaction, &mut chance, &products)?;
    reviews(&transaction, &mut chance, &products)?;
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error)
}

/// A sequence that looks random and is always the same.
struct Chance(u64);

impl Chance {
    /// From 0 to `below` - 1; `below` is positive.
    fn below(&mut self, below: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let drawn = i64::from((self.0 >> 33) as u32);
        drawn % below
    }

    fn one_of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as i64) as usize]
    }

    /// A time in the three years from 2022.
    fn time(&mut self) -> NaiveDateTime {
        let begin = NaiveDate::from_ymd_opt(2022, 1, 1).unwrap_or_default().and_time(NaiveTime::MIN);
        begin + Duration::seconds(self.below(3 * 365 * 24 * 60) * 60)
    }
}

fn text(time: NaiveDateTime) -> String {
    time.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// Name and price, in the order of the ids.
type Product = (String, f64);

fn products(transaction: &Transaction<'_>, chance: &mut Chance) -> Result<Vec<Product>> {
    for (index, (name, description)) in SUPPLIERS.iter().enumerate() {
        transaction
            .execute("INSERT INTO suppliers VALUES (?1, ?2, ?3)", params![index as i64 + 1, name, description])?;
    }
    let mut products: Vec<Product> = Vec::new();
    let mut insert = transaction.prepare("INSERT INTO products VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?;
    for (supplier, category, name, cents, description) in KINDS {
        for colour in VARIANTS {
            let full = format!("{name}, {colour}");
            let price = *cents as f64 / 100.0;
            products.push((full.clone(), price));
            let (stock, created) = (chance.below(60), text(chance.time()));
            let id = products.len() as i64;
            insert.execute(params![id, supplier, full, category, colour, price, stock, description, created])?;
        }
    }
    Ok(products)
}

fn customers(transaction: &Transaction<'_>, chance: &mut Chance) -> Result<()> {
    let mut insert = transaction.prepare("INSERT INTO customers VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for id in 1..=CUSTOMERS {
        let (given, family) = (chance.one_of(GIVEN), chance.one_of(FAMILY));
        let (town, country) = chance.one_of(TOWNS);
        let email = format!("{}.{}{id}@example.com", given.to_lowercase(), family.to_lowercase());
        insert.execute(params![id, format!("{given} {family}"), email, town, country, text(chance.time())])?;
    }
    Ok(())
}

fn orders(transaction: &Transaction<'_>, chance: &mut Chance, products: &[Product]) -> Result<()> {
    const NOTES: &[Option<&str>] =
        &[None, None, None, Some("Please leave it with the neighbour"), Some("It is a present, without the invoice")];
    let mut order = transaction.prepare("INSERT INTO orders VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    let mut item = transaction.prepare("INSERT INTO order_items VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for id in 1..=ORDERS {
        let customer = chance.below(CUSTOMERS) + 1;
        let status = chance.one_of(&["paid", "shipped", "shipped", "delivered", "delivered", "delivered", "returned"]);
        let (note, created) = (chance.one_of(NOTES), chance.time());
        let updated = created + Duration::hours(chance.below(240));
        order.execute(params![id, customer, status, note, text(created), text(updated)])?;
        for line in 1..=(chance.below(3) + 1) {
            let product = chance.below(products.len() as i64);
            let (name, price) = &products[product as usize];
            item.execute(params![id, line, product + 1, name, chance.below(3) + 1, price])?;
        }
    }
    Ok(())
}

fn tickets(transaction: &Transaction<'_>, chance: &mut Chance, products: &[Product]) -> Result<()> {
    let mut insert = transaction.prepare("INSERT INTO support_tickets VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
    for id in 1..=TICKET_COUNT {
        let (subject, message) = chance.one_of(TICKETS);
        // A tent's zip and seams are asked about for tents, the first five kinds.
        let of_tent = subject.contains("tent") || subject.contains("seams");
        let product = chance.below(if of_tent { 5 * VARIANTS.len() as i64 } else { products.len() as i64 });
        let message = message.replace("{}", &products[product as usize].0);
        let (customer, status) = (chance.below(CUSTOMERS) + 1, chance.one_of(&["open", "waiting", "solved", "solved"]));
        let created = chance.time();
        let updated = created + Duration::hours(chance.below(300));
        insert.execute(params![id, customer, product + 1, subject, message, status, text(created), text(updated)])?;
    }
    Ok(())
}

fn reviews(transaction: &Transaction<'_>, chance: &mut Chance, products: &[Product]) -> Result<()> {
    let mut insert = transaction.prepare("INSERT INTO reviews VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    for id in 1..=REVIEW_COUNT {
        let (stars, title, review) = chance.one_of(REVIEWS);
        let of_tent = title.contains("dry");
        let product = chance.below(if of_tent { 5 * VARIANTS.len() as i64 } else { products.len() as i64 });
        let review = review.replace("{}", &products[product as usize].0);
        let customer = chance.below(CUSTOMERS) + 1;
        insert.execute(params![id, product + 1, customer, stars, title, review, text(chance.time())])?;
    }
    Ok(())
}
