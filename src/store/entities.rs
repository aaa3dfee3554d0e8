//! The tables as SeaORM sees them. Nothing of this leaves the store.

#![allow(unreachable_pub)]

pub mod api_key {
    //! Table `api_keys`.
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "api_keys")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub name: String,
        pub role: String,
        pub all_collections: bool,
        pub hash: Vec<u8>,
        pub created_at: i64,
        pub expires_at: Option<i64>,
        pub last_used_at: Option<i64>,
        pub revoked_at: Option<i64>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod audit_event {
    //! Table `audit_events`.
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "audit_events")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub occurred_at: i64,
        pub last_at: i64,
        pub times: i64,
        pub actor_kind: String,
        pub actor: String,
        pub peer: Option<String>,
        pub method: String,
        pub request_id: Option<String>,
        pub collection_id: Option<String>,
        pub connection_id: Option<String>,
        pub sync_id: Option<String>,
        pub key_id: Option<String>,
        pub outcome: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod collection {
    //! Table `collections`.
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "collections")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub name: String,
        pub description: Option<String>,
        pub created_at: i64,
        pub updated_at: i64,
        pub version: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod connection {
    //! Table `connections`.
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "connections")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub collection_id: String,
        pub source: String,
        pub name: String,
        pub description: Option<String>,
        pub auth_method: String,
        pub config: String,
        pub config_version: i64,
        pub credentials_version: i64,
        pub credentials_updated_at: Option<i64>,
        pub credential_fields: String,
        pub schedule_cron: Option<String>,
        pub schedule_continuous: bool,
        pub schedule_time_zone: Option<String>,
        pub next_run_at: Option<i64>,
        pub paused: bool,
        pub lifecycle: String,
        pub auth: String,
        pub outcome: String,
        pub status_message: Option<String>,
        pub hold_items: Option<i64>,
        pub hold_indexed_items: Option<i64>,
        pub hold_sync_id: Option<String>,
        pub hold_created_at: Option<i64>,
        pub created_at: i64,
        pub updated_at: i64,
        pub version: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod key_grant {
    //! Table `key_grants`.
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "key_grants")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub key_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub collection_id: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod object_mark {
    //! Table `object_marks`.
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "object_marks")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub connection_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub object: String,
        pub mark: Option<String>,
        pub salt: String,
        pub records: i64,
        pub digest: String,
        pub proved_at: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod request {
    //! Table `requests`.
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "requests")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub caller: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub method: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub request_id: String,
        pub payload_hash: Vec<u8>,
        pub begun_at: i64,
        pub response: Option<Vec<u8>>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod sealed_credential {
    //! Table `sealed_credentials`.
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "sealed_credentials")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub connection_id: String,
        pub credentials_version: i64,
        pub key_id: String,
        pub wrapped_key: Vec<u8>,
        pub ciphertext: Vec<u8>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod setting {
    //! Table `settings`.
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "settings")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub name: String,
        pub value: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod sync {
    //! Table `syncs`.
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "syncs")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub connection_id: String,
        pub collection_id: String,
        pub kind: String,
        pub state: String,
        pub started_by: String,
        pub full_pass: bool,
        pub release_deletions: bool,
        pub config_version: i64,
        pub credentials_version: i64,
        pub attempt: i32,
        pub crashes: i32,
        pub fence: i64,
        pub owner: Option<String>,
        pub lease_expires_at: Option<i64>,
        pub measured_at: Option<i64>,
        pub due_at: i64,
        pub created_at: i64,
        pub started_at: Option<i64>,
        pub finished_at: Option<i64>,
        pub waiting_until: Option<i64>,
        pub waiting_reason: Option<String>,
        pub sequence: i64,
        pub items_read: i64,
        pub items_inserted: i64,
        pub items_updated: i64,
        pub items_deleted: i64,
        pub items_unchanged: i64,
        pub items_failed: i64,
        pub bytes_read: i64,
        pub items_out_of_scope: i64,
        pub progress: String,
        pub checkpoint: String,
        pub warnings: String,
        pub error_reason: Option<String>,
        pub error_message: Option<String>,
        pub traceparent: Option<String>,
        pub elapsed_ms: i64,
        pub errors_kept: i64,
        pub lines_kept: i64,
        pub progress_noted: i64,
        pub events_expired: bool,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod sync_error {
    //! Table `sync_errors`.
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "sync_errors")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub sync_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub number: i64,
        pub occurred_at: i64,
        pub object: String,
        pub source_key: String,
        pub stage: String,
        pub code: String,
        pub message: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod sync_line {
    //! Table `sync_log`.
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "sync_log")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub sync_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub number: i64,
        pub sequence: i64,
        pub occurred_at: i64,
        pub level: String,
        pub message: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod follower {
    //! Table `followers`.
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "followers")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub connection_id: String,
        pub owner: Option<String>,
        pub fence: i64,
        pub lease_expires_at: Option<i64>,
        pub state: String,
        pub message: Option<String>,
        pub in_step: bool,
        pub config_version: i64,
        pub credentials_version: i64,
        pub ground: Option<String>,
        pub position: Option<String>,
        pub kept_bytes: i64,
        pub given_up_at_version: Option<i64>,
        pub synced_at: Option<i64>,
        pub updated_at: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod sync_progress {
    //! Table `sync_progress`.
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "sync_progress")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub sync_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub number: i64,
        pub sequence: i64,
        pub occurred_at: i64,
        pub elapsed_ms: i64,
        pub items_read: i64,
        pub items_inserted: i64,
        pub items_updated: i64,
        pub items_deleted: i64,
        pub items_unchanged: i64,
        pub items_failed: i64,
        pub bytes_read: i64,
        pub items_out_of_scope: i64,
        pub progress: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
