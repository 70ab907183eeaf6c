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
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::timeout;

use super::{LongPolling, answer};
use crate::connection::{Connection, HandInError, Post, PostError, Progress};

/// What one permit for the memory of bodies stands for.
pub(super) const PERMIT_BYTES: usize = 1024;

/// How many permits so many bytes are.
pub(super) fn permits(bytes: usize) -> usize {
    bytes
        .div_ceil(PERMIT_BYTES)
        .min(tokio::sync::Semaphore::MAX_PERMITS)
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
        Ok(Err(refused)) => return refused,
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
) -> Result<(Bytes, OwnedSemaphorePermit), Response<Full<Bytes>>>
where
    B: Body + Send,
{
    let max = polling.limits.post_bytes_max;
    let too_large = || {
        let reason = format!("the body is longer than {max} bytes");
        answer::fault(StatusCode::PAYLOAD_TOO_LARGE, &reason)
    };
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    // Without an announcement it may become as long as it likes.
    let reserved = announced.unwrap_or(max);
    if reserved > max {
        return Err(too_large());
    }
    // A body that alone is more than all may have waits for all of it.
    let share = permits(reserved).min(permits(polling.limits.posts_total_bytes_max));
    let share = u32::try_from(share).unwrap_or(u32::MAX);
    let Ok(memory) = Arc::clone(&polling.memory).acquire_many_owned(share).await else {
        return Err(answer::later(StatusCode::SERVICE_UNAVAILABLE));
    };
    let mut received = Vec::new();
    let mut body = std::pin::pin!(body);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(answer::fault(
                StatusCode::BAD_REQUEST,
                "the body is incomplete",
            ));
        };
        let Ok(mut data) = frame.into_data() else {
            continue;
        };
        if received.len() + data.remaining() > max {
            return Err(too_large());
        }
        make_room(&mut received, data.remaining(), reserved);
        while data.has_remaining() {
            let chunk = data.chunk();
            received.extend_from_slice(chunk);
            let len = chunk.len();
            data.advance(len);
        }
    }
    Ok((received.into(), memory))
}

/// Makes room for what has arrived. The buffer doubles, but not beyond `reserved`, which is what its share of the
/// memory for bodies was taken for.
fn make_room(received: &mut Vec<u8>, arrived: usize, reserved: usize) {
    let needed = received.len().saturating_add(arrived);
    if needed > received.capacity() {
        let doubled = received.capacity().saturating_mul(2);
        let capacity = doubled.min(reserved).max(needed);
        received.reserve_exact(capacity - received.len());
    }
}
