//! The body of a response, sent in pieces. A thread that writes tens of megabytes to a socket at once would delay the
//! clients that it serves too.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// The bytes of a piece. Hyper writes a piece at once; a system call that copies this much takes about 50 µs.
const PIECE: usize = 128 << 10;

/// The rest of a body.
#[derive(Debug)]
pub(super) struct Pieces {
    rest: Bytes,
    /// Whether other tasks had their turn since the last piece.
    has_yielded: bool,
}

impl From<String> for Pieces {
    fn from(body: String) -> Self {
        Self { rest: body.into(), has_yielded: true }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        self.has_yielded = !self.has_yielded;
        if self.has_yielded {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let len = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(len)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    /// Every second poll yields to other tasks.
    #[test]
    fn a_long_body_comes_in_pieces() {
        let whole = "0123456789abcdef".repeat(PIECE / 4);
        let mut body = Pieces::from(whole.clone());
        let mut context = Context::from_waker(Waker::noop());
        let mut got = Vec::new();
        for turn in 0.. {
            let left = body.size_hint().exact();
            assert_eq!(left, Some((whole.len() - got.len()) as u64));
            match Pin::new(&mut body).poll_frame(&mut context) {
                Poll::Pending => assert_eq!(turn % 2, 1),
                Poll::Ready(Some(Ok(frame))) => {
                    assert_eq!(turn % 2, 0);
                    let piece = frame.into_data().unwrap();
                    assert!(piece.len() <= PIECE);
                    got.extend_from_slice(&piece);
                }
                Poll::Ready(None) => break,
                Poll::Ready(Some(Err(never))) => match never {},
            }
        }
        assert_eq!(got, whole.as_bytes());
        assert!(body.is_end_stream());
    }
}
