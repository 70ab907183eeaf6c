//! [`Connect`]: functions that decide who may connect.

use std::future::Future;
use std::sync::Arc;

use http::request::Parts;

use super::Refused;
use crate::channel::runner::BoxFuture;

/// An async function that admits a client, establishing what its channels will know about it, or
/// refuses it.
///
/// It is implemented for functions of up to eight extractors of axum's and of ours, [`ConnectParams`]
/// and [`ConnectInfo`]; without the feature `axum`, for functions of these two, in this order, either,
/// or none. You do not implement it yourself. A panic in it is an HTTP 500.
///
/// [`ConnectParams`]: super::ConnectParams
/// [`ConnectInfo`]: super::ConnectInfo
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot decide who connects",
    label = "not a connect function",
    note = "a connect function is async, takes extractors that need no body (such as `ConnectParams`, `ConnectInfo` or `HeaderMap`), and returns `Result<Assigns, Refused>`"
)]
pub trait Connect<Args, A>: Clone + Send + Sync + 'static {
    /// Decides about one request.
    fn connect(self, parts: Parts) -> impl Future<Output = Result<A, Refused>> + Send;
}

pub(crate) type ConnectFn<A> = Arc<dyn Fn(Parts) -> BoxFuture<Result<A, Refused>> + Send + Sync>;

pub(super) fn erase<Args, A: 'static>(connect: impl Connect<Args, A>) -> ConnectFn<A> {
    Arc::new(move |parts| {
        let connect = connect.clone();
        Box::pin(async move { connect.connect(parts).await })
    })
}

#[cfg(feature = "axum")]
mod extractors {
    use std::future::Future;

    use axum::extract::FromRequestParts;
    use axum::response::{IntoResponse, Response};
    use http::request::Parts;
    use http_body_util::BodyExt;

    use super::{Connect, Refused};

    macro_rules! implement {
        ($($extractor:ident),*) => {
            impl<F, Fut, A, $($extractor,)*> Connect<($($extractor,)*), A> for F
            where
                F: FnOnce($($extractor,)*) -> Fut + Clone + Send + Sync + 'static,
                Fut: Future<Output = Result<A, Refused>> + Send,
                A: Send + 'static,
                $($extractor: FromRequestParts<()> + Send,)*
            {
                #[allow(non_snake_case, unused_mut, unused_variables, reason = "one macro for all arities")]
                async fn connect(self, mut parts: Parts) -> Result<A, Refused> {
                    $(
                        let extracted = $extractor::from_request_parts(&mut parts, &()).await;
                        let $extractor = match extracted.map_err(IntoResponse::into_response) {
                            Ok(extracted) => extracted,
                            Err(response) => return Err(refused(response).await),
                        };
                    )*
                    self($($extractor,)*).await
                }
            }
        };
    }

    implement!();
    implement!(T1);
    implement!(T1, T2);
    implement!(T1, T2, T3);
    implement!(T1, T2, T3, T4);
    implement!(T1, T2, T3, T4, T5);
    implement!(T1, T2, T3, T4, T5, T6);
    implement!(T1, T2, T3, T4, T5, T6, T7);
    implement!(T1, T2, T3, T4, T5, T6, T7, T8);

    /// An extractor's own refusal.
    async fn refused(rejection: Response) -> Refused {
        let (parts, body) = rejection.into_parts();
        let body = body
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes);
        Refused::response(http::Response::from_parts(parts, body.unwrap_or_default()))
    }
}

#[cfg(not(feature = "axum"))]
mod extractors {
    use std::future::Future;

    use http::StatusCode;
    use http::request::Parts;

    use super::{Connect, Refused};
    use crate::socket::{ConnectInfo, ConnectParams};

    macro_rules! implement {
        ($($argument:ident),*) => {
            impl<F, Fut, A> Connect<($($argument,)*), A> for F
            where
                F: FnOnce($($argument,)*) -> Fut + Clone + Send + Sync + 'static,
                Fut: Future<Output = Result<A, Refused>> + Send,
                A: Send + 'static,
            {
                #[allow(unused_variables, reason = "one macro for all arities")]
                async fn connect(self, parts: Parts) -> Result<A, Refused> {
                    self($(extract::<$argument>(&parts)?,)*).await
                }
            }
        };
    }

    implement!();
    implement!(ConnectParams);
    implement!(ConnectInfo);
    implement!(ConnectParams, ConnectInfo);

    /// A mount has put both there.
    fn extract<T: Clone + Send + Sync + 'static>(parts: &Parts) -> Result<T, Refused> {
        let argument = parts.extensions.get::<T>().cloned();
        argument.ok_or(Refused::status(StatusCode::INTERNAL_SERVER_ERROR))
    }
}
