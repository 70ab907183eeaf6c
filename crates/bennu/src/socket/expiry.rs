//! How long a socket may live, and how its client makes it live longer.

use std::future::Future;
use std::sync::Arc;
use std::time::SystemTime;

use bennu_proto::payload::Payload;

use crate::channel::Rejection;
use crate::channel::runner::BoxFuture;

/// When a socket with these assigns must end; `None` for never.
pub(crate) type ExpiryFn<A> = Arc<dyn Fn(&A) -> Option<SystemTime> + Send + Sync>;

/// Decides about what a client presents to stay.
pub(crate) type RefreshFn<A> =
    Arc<dyn Fn(Arc<A>, Payload) -> BoxFuture<Result<Option<SystemTime>, Rejection>> + Send + Sync>;

pub(super) fn erase<A, F, Fut>(refresh: F) -> RefreshFn<A>
where
    A: Send + Sync + 'static,
    F: Fn(Arc<A>, Payload) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Option<SystemTime>, Rejection>> + Send + 'static,
{
    let refresh = Arc::new(refresh);
    // Called inside of the future, where panics are caught.
    Arc::new(move |assigns, payload| {
        let refresh = Arc::clone(&refresh);
        Box::pin(async move { refresh(assigns, payload).await })
    })
}
