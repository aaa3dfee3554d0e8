//! The body of an answer, given in small pieces, so that what the peer has not
//! taken stays here, where it is counted.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::Call;

/// Most that is given at a time: one frame of HTTP/2.
const PIECE: usize = 16 * 1024;

/// An answer on its way.
pub struct Answer<B> {
    body: B,
    /// What the body gave beyond the last piece.
    rest: Bytes,
    call: Call,
}

impl<B: Body<Data = Bytes>> Answer<B> {
    /// The answer of a call.
    pub fn new(body: B, mut call: Call) -> Self {
        call.keeps(known(&body));
        Self { body, rest: Bytes::new(), call }
    }

    fn give(&mut self, mut data: Bytes) -> Frame<Bytes> {
        self.rest = data.split_off(data.len().min(PIECE));
        self.call.keeps(known(&self.body) + self.rest.len());
        self.call.given();
        Frame::data(data)
    }
}

/// What of a body is certainly there; a stream makes its parts only when asked.
fn known<B: Body>(body: &B) -> usize {
    body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or_default()
}

impl<B> Body for Answer<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        // Who asks for more has taken what there was.
        self.call.taken();
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            return Poll::Ready(Some(Ok(self.give(rest))));
        }
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(match frame.into_data() {
                Ok(data) => self.give(data),
                Err(other) => other,
            }))),
            other => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};

    use super::super::Traffic;
    use super::*;

    #[tokio::test]
    async fn a_long_answer_comes_in_pieces_and_whole_and_counts_what_is_left() {
        let traffic = Traffic::default();
        let whole = Bytes::from((0..100_000u32).flat_map(u32::to_be_bytes).collect::<Vec<u8>>());
        let mut answer = Answer::new(Full::new(whole.clone()), traffic.begin(1 << 20).await);
        let mut seen = Vec::new();
        assert_eq!(answer.size_hint().exact(), Some(400_000));
        while let Some(frame) = answer.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            assert!(data.len() <= PIECE);
            seen.extend_from_slice(&data);
            assert_eq!(traffic.state().unread, whole.len() - seen.len());
        }
        assert_eq!(seen, whole);
        drop(answer);
        let state = traffic.state();
        assert_eq!((state.unread, state.calls), (0, 0));
    }
}
