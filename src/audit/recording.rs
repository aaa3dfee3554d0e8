//! One call on its way through the log.

use std::sync::{Arc, OnceLock};

use super::Audit;
use crate::error::{Error, Reason};
use crate::ids::AuditEventId;
use crate::store::audit::{NewEvent, Resources};

/// A call that may get an event.
pub struct Recording {
    audit: Arc<Audit>,
    event: NewEvent,
    id: OnceLock<AuditEventId>,
}

impl Recording {
    /// Of this call; nothing is written yet.
    pub fn new(audit: Arc<Audit>, event: NewEvent) -> Arc<Self> {
        Arc::new(Self { audit, event, id: OnceLock::new() })
    }

    /// Writes that the call is about to be acted on. When this fails, it must not
    /// be.
    pub async fn begin(&self, about: Resources) -> Result<(), Error> {
        let id = AuditEventId::mint();
        let event = NewEvent { about, ..self.event.clone() };
        self.audit.store.begin_audit(&id, &event).await?;
        // A call begins once; a second event of it would never end.
        let _ = self.id.set(id);
        Ok(())
    }

    /// True once it has an event.
    pub fn has_begun(&self) -> bool {
        self.id.get().is_some()
    }

    /// What was asked for, without resources.
    pub fn event(&self) -> &NewEvent {
        &self.event
    }
}

/// A recording whose end is owed: when this is dropped before [`Under::end`], the
/// caller has gone away, and that is its end.
pub struct Under(Option<Arc<Recording>>);

impl Under {
    /// Owes the end of a recording.
    pub fn new(recording: Arc<Recording>) -> Self {
        Self(Some(recording))
    }

    /// Writes how the call ended and what it has made, if it had begun.
    pub async fn end(mut self, outcome: &str, made: &Resources) {
        let Some(recording) = self.0.take() else { return };
        if let Some(id) = recording.id.get() {
            // Whoever goes away while this is written must not stop it.
            let (recording, id) = (recording.clone(), id.clone());
            let (outcome, made) = (outcome.to_owned(), made.clone());
            let tasks = recording.audit.tasks.clone();
            let _ = tasks.spawn(async move { recording.audit.end(&id, &outcome, &made).await }).await;
        }
    }
}

impl Drop for Under {
    fn drop(&mut self) {
        if let Some(recording) = self.0.take()
            && let Some(id) = recording.id.get().cloned()
        {
            let tasks = recording.audit.tasks.clone();
            tasks.spawn(async move {
                recording.audit.end(&id, Reason::Cancelled.name(), &Resources::default()).await;
            });
        }
    }
}
