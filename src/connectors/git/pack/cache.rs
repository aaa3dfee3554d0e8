//! Objects that were decoded lately: the bases of the next deltas.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use gix_object::Kind;

/// Bytes kept.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// Objects kept.
const MOST_OBJECTS: usize = 4_096;

/// Keeps the latest.
#[derive(Debug, Default)]
pub(super) struct Cache {
    objects: HashMap<u32, (Kind, Arc<Vec<u8>>)>,
    order: VecDeque<u32>,
    bytes: usize,
}

impl Cache {
    pub(super) fn get(&self, index: u32) -> Option<(Kind, Arc<Vec<u8>>)> {
        self.objects.get(&index).cloned()
    }

    pub(super) fn put(&mut self, index: u32, kind: Kind, bytes: &Arc<Vec<u8>>) {
        if bytes.len() > MOST_BYTES / 2 || self.objects.contains_key(&index) {
            return;
        }
        self.bytes += bytes.len();
        self.objects.insert(index, (kind, bytes.clone()));
        self.order.push_back(index);
        while self.bytes > MOST_BYTES || self.order.len() > MOST_OBJECTS {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some((_, dropped)) = self.objects.remove(&oldest) {
                self.bytes -= dropped.len();
            }
        }
    }
}
