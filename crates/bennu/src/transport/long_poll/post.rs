//! A POST: its body is received within bounds and handed to the session, and the answer waits until the
//! session has handled it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bennu_proto::long_poll;
use bytes::{Buf, Bytes};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use super::{LongPolling, answer};
use crate::connection::{Connection, HandInError, Post, PostError, Progress};

/// What one permit for the memory of bodies stands for.
pub(super) const PERMIT_BYTES: usize = 1024;

/// How many permits so many bytes are.
pub(super) fn permits(bytes: usize) -> usize {
    bytes.div_ceil(PERMIT_BYTES).min(Semaphore::MAX_PERMITS)
}

/// Receives a body, hands it in, and waits until its messages are handled.
pub(super) async fn receive<B>(
    polling: &LongPolling,
    connection: &Connection,
    headers: &HeaderMap,
    body: B,
) -> Response<Full<Bytes>>
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let receiving = read(polling, headers, body);
    let (bytes, memory) = match timeout(polling.options.window, receiving).await {
        Ok(Ok(received)) => received,
        Ok(Err(error)) => return refusal(&error),
        Err(_) => {
            return answer::fault(
                StatusCode::REQUEST_TIMEOUT,
                "the body did not arrive in time",
            );
        }
    };
    let (done, handled) = oneshot::channel();
    let progress = Arc::new(Progress::default());
    let post = Post {
        body: long_poll::Body::new(content_type, bytes),
        progress: Arc::clone(&progress),
        done,
        _memory: memory,
    };
    match connection.hand_in(post) {
        Ok(()) => wait(polling, handled, &progress).await,
        Err(HandInError::Full) => answer::later(StatusCode::TOO_MANY_REQUESTS),
        Err(HandInError::Ended) => answer::status(410),
    }
}

/// A body was not received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum ReadError {
    #[error("the body is longer than {max} bytes")]
    TooLarge { max: usize },
    #[error("the body is incomplete")]
    Incomplete,
    #[error("there is no room for the body")]
    NoRoom,
}

fn refusal(error: &ReadError) -> Response<Full<Bytes>> {
    let status = match error {
        ReadError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        ReadError::Incomplete => StatusCode::BAD_REQUEST,
        ReadError::NoRoom => return answer::later(StatusCode::SERVICE_UNAVAILABLE),
    };
    answer::fault(status, &error.to_string())
}

/// Waits until all is handled; as long as messages are, the window begins anew.
async fn wait(
    polling: &LongPolling,
    mut handled: oneshot::Receiver<Result<(), PostError>>,
    progress: &Progress,
) -> Response<Full<Bytes>> {
    let mut before = 0;
    loop {
        match timeout(polling.options.window, &mut handled).await {
            Ok(Ok(Ok(()))) => return answer::status(200),
            Ok(Ok(Err(error))) => {
                return answer::fault(StatusCode::BAD_REQUEST, &error.to_string());
            }
            // The session has ended.
            Ok(Err(_)) => return answer::status(410),
            Err(_) => {
                let now = progress.handled.load(Ordering::Acquire);
                if now == before {
                    progress.withdraw();
                    return answer::status(408);
                }
                before = now;
            }
        }
    }
}

/// Receives a body of at most the size that is accepted, with a share of the memory for bodies.
async fn read<B>(
    polling: &LongPolling,
    headers: &HeaderMap,
    body: B,
) -> Result<(Bytes, OwnedSemaphorePermit), ReadError>
where
    B: Body + Send,
{
    let max = polling.limits.post_bytes_max;
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    // Without an announcement it may become as long as it likes.
    let len_max = announced.unwrap_or(max);
    if len_max > max {
        return Err(ReadError::TooLarge { max });
    }
    let mut received = Received::new(polling)?;
    let mut body = std::pin::pin!(body);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(ReadError::Incomplete);
        };
        let Ok(mut data) = frame.into_data() else {
            continue;
        };
        if received.bytes.len() + data.remaining() > max {
            return Err(ReadError::TooLarge { max });
        }
        received.make_room(data.remaining(), len_max)?;
        while data.has_remaining() {
            let chunk = data.chunk();
            received.bytes.extend_from_slice(chunk);
            let len = chunk.len();
            data.advance(len);
        }
    }
    Ok((received.bytes.into(), received.memory))
}

/// What has arrived of a body, with its share of the memory for bodies.
struct Received {
    bytes: Vec<u8>,
    memory: OwnedSemaphorePermit,
    /// The semaphore that the share is of.
    all: Arc<Semaphore>,
}

impl Received {
    fn new(polling: &LongPolling) -> Result<Self, ReadError> {
        let all = Arc::clone(&polling.memory);
        let memory = share(&all, 0)?;
        let bytes = Vec::new();
        Ok(Self { bytes, memory, all })
    }

    /// Makes room for what has arrived. The buffer doubles, but not beyond what is still to come, and takes
    /// its share as it grows: whoever only announces much, or sends it slowly, keeps nobody else out. Nor
    /// does it wait for others, who might be waiting for it.
    fn make_room(&mut self, arrived: usize, len_max: usize) -> Result<(), ReadError> {
        let needed = self.bytes.len().saturating_add(arrived);
        if needed > self.bytes.capacity() {
            let doubled = self.bytes.capacity().saturating_mul(2);
            let capacity = doubled.min(len_max).max(needed);
            let more = permits(capacity).saturating_sub(self.memory.num_permits());
            self.memory.merge(share(&self.all, more)?);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        Ok(())
    }
}

fn share(all: &Arc<Semaphore>, permits: usize) -> Result<OwnedSemaphorePermit, ReadError> {
    let permits = u32::try_from(permits).unwrap_or(u32::MAX);
    let share = Arc::clone(all).try_acquire_many_owned(permits);
    share.map_err(|_| ReadError::NoRoom)
}
