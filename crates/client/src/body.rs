//! The body of requests and responses, the same over a socket and in process.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;

/// Any error of a transport or of a body's producer.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Bytes in frames. A frame passes from the producer to the reader uncopied: in process, a watch event is the very
/// slice that the server shares among its watchers.
#[derive(Default)]
pub struct Body(Inner);

#[derive(Default)]
enum Inner {
    #[default]
    Empty,
    Full(Bytes),
    /// Several slices known beforehand: a list is a concatenation of shared bytes.
    Frames(std::collections::VecDeque<Bytes>),
    Incoming(hyper::body::Incoming),
    Stream(Pin<Box<dyn Stream<Item = Result<Bytes, BoxError>> + Send>>),
    Boxed(Pin<Box<dyn HttpBody<Data = Bytes, Error = BoxError> + Send>>),
}

/// A body was longer than its reader allows.
#[derive(Debug, thiserror::Error)]
#[error("body is larger than {limit_bytes} bytes")]
pub struct TooLarge {
    /// The reader's limit.
    pub limit_bytes: usize,
}

// === impl Body ===

impl Body {
    /// No bytes.
    pub fn empty() -> Body {
        Body(Inner::Empty)
    }

    /// One frame.
    pub fn full(bytes: impl Into<Bytes>) -> Body {
        let bytes = bytes.into();
        if bytes.is_empty() { Body::empty() } else { Body(Inner::Full(bytes)) }
    }

    /// These frames, of known total length.
    pub fn frames(frames: impl IntoIterator<Item = Bytes>) -> Body {
        Body(Inner::Frames(frames.into_iter().filter(|frame| !frame.is_empty()).collect()))
    }

    /// Frames as they come; an error ends the body (and breaks the connection, where there is one).
    pub fn stream(frames: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static) -> Body {
        Body(Inner::Stream(Box::pin(frames)))
    }

    /// Any other body.
    pub fn new<B>(body: B) -> Body
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Body(Inner::Boxed(Box::pin(body.map_err(Into::into))))
    }

    /// The bytes, if this body is one frame or none (what a request that can be repeated has).
    pub fn try_clone(&self) -> Option<Body> {
        match &self.0 {
            Inner::Empty => Some(Body::empty()),
            Inner::Full(bytes) => Some(Body::full(bytes.clone())),
            Inner::Frames(frames) => Some(Body(Inner::Frames(frames.clone()))),
            _ => None,
        }
    }

    /// All bytes. A body of one frame is not copied.
    ///
    /// # Errors
    /// [`TooLarge`] once more than `limit_bytes` have come, else the producer's error.
    pub async fn collect(mut self, limit_bytes: usize) -> Result<Bytes, BoxError> {
        let mut first = Bytes::new();
        let mut all: Vec<u8> = Vec::new();
        while let Some(frame) = self.next_data().await {
            let frame = frame?;
            if first.len() + all.len() + frame.len() > limit_bytes {
                return Err(TooLarge { limit_bytes }.into());
            }
            match (first.is_empty(), all.is_empty()) {
                (true, true) => first = frame,
                (false, _) => {
                    all.reserve(first.len() + frame.len());
                    all.extend_from_slice(&first);
                    all.extend_from_slice(&frame);
                    first = Bytes::new();
                }
                (true, false) => all.extend_from_slice(&frame),
            }
        }
        Ok(if all.is_empty() { first } else { all.into() })
    }

    /// The next frame of data; trailers are dropped.
    pub async fn next_data(&mut self) -> Option<Result<Bytes, BoxError>> {
        loop {
            match std::future::poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await? {
                Ok(frame) => {
                    if let Ok(data) = frame.into_data() {
                        return Some(Ok(data));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Inner::Empty => Poll::Ready(None),
            Inner::Full(bytes) => {
                let frame = Frame::data(std::mem::take(bytes));
                self.0 = Inner::Empty;
                Poll::Ready(Some(Ok(frame)))
            }
            Inner::Frames(frames) => Poll::Ready(frames.pop_front().map(|bytes| Ok(Frame::data(bytes)))),
            Inner::Incoming(incoming) => Pin::new(incoming).poll_frame(cx).map_err(Into::into),
            Inner::Stream(stream) => stream.as_mut().poll_next(cx).map(|next| next.map(|data| data.map(Frame::data))),
            Inner::Boxed(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Empty => true,
            Inner::Full(_) | Inner::Stream(_) => false,
            Inner::Frames(frames) => frames.is_empty(),
            Inner::Incoming(incoming) => incoming.is_end_stream(),
            Inner::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Empty => SizeHint::with_exact(0),
            Inner::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Frames(frames) => SizeHint::with_exact(frames.iter().map(|frame| frame.len() as u64).sum()),
            Inner::Incoming(incoming) => incoming.size_hint(),
            Inner::Stream(_) => SizeHint::default(),
            Inner::Boxed(body) => body.size_hint(),
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match &self.0 {
            Inner::Empty => "empty",
            Inner::Full(_) => "full",
            Inner::Frames(_) => "frames",
            Inner::Incoming(_) => "incoming",
            Inner::Stream(_) => "stream",
            Inner::Boxed(_) => "boxed",
        };
        write!(f, "Body({kind}, {:?})", self.size_hint())
    }
}

impl From<hyper::body::Incoming> for Body {
    fn from(incoming: hyper::body::Incoming) -> Body {
        Body(Inner::Incoming(incoming))
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Body {
        Body::full(bytes)
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Body {
        Body::full(bytes)
    }
}

impl From<String> for Body {
    fn from(text: String) -> Body {
        Body::full(text)
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Body {
        Body::full(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_frame_is_not_copied() {
        let bytes = Bytes::from(vec![7u8; 64]);
        let collected = Body::full(bytes.clone()).collect(64).await.unwrap();
        assert_eq!(collected.as_ptr(), bytes.as_ptr());
    }

    #[tokio::test]
    async fn frames_are_joined_in_order_and_their_length_is_known() {
        let body = Body::frames(["ab", "", "c", "def"].map(Bytes::from));
        assert_eq!(body.size_hint().exact(), Some(6));
        assert_eq!(body.collect(6).await.unwrap(), "abcdef");
    }

    #[tokio::test]
    async fn a_body_past_its_limit_is_refused() {
        let error = Body::frames(["ab", "cd"].map(Bytes::from)).collect(3).await.unwrap_err();
        assert_eq!(error.downcast_ref::<TooLarge>().unwrap().limit_bytes, 3);
    }
}
