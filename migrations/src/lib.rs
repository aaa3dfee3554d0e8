//! Schema of Tributary's own stores. Migrations only go forward and keep data.
