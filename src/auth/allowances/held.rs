//! A place among the calls at once, and the body of an answer that has it.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::UnderWay;

/// A place; free again when this is dropped.
pub(in crate::auth) struct Holding {
    under_way: Arc<Mutex<HashMap<String, UnderWay>>>,
    key: String,
    is_stream: bool,
}

impl Holding {
    pub(super) fn new(under_way: Arc<Mutex<HashMap<String, UnderWay>>>, key: String, is_stream: bool) -> Self {
        Self { under_way, key, is_stream }
    }

    /// The answer, which has the place until its last byte is taken.
    pub(in crate::auth) fn until_the_end_of(self, response: Response) -> Response {
        response.map(|body| Body::new(Held { body, _holding: self }))
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_key) = under_way.get_mut(&self.key) {
            if self.is_stream {
                of_key.streams -= 1;
            } else {
                of_key.calls -= 1;
            }
            if of_key.calls + of_key.streams == 0 {
                under_way.remove(&self.key);
            }
        }
    }
}

/// A body that has its call's place until it is dropped.
struct Held {
    body: Body,
    _holding: Holding,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
