//! A mount with its types, behind the traits through which transports and drivers see it.

use std::sync::Arc;
use std::time::SystemTime;

use bennu_proto::payload::Payload;
use bennu_proto::topic::Router;
use bennu_pubsub::Subscriber;
use http::request::Parts;

use super::{ConnectFn, Door, ExpiryFn, IdFn, RefreshFn, Refused};
use crate::channel::Rejection;
use crate::channel::context::Core;
use crate::channel::runner::{BoxFuture, Factory, JoinOutcome, contain};
use crate::connection::Address;
use crate::driver::Session;
use crate::endpoint::Hub;

/// Everything behind one mount.
pub(crate) struct Mount<A> {
    pub(crate) hub: Arc<Hub>,
    pub(crate) door: Door,
    pub(crate) connect: ConnectFn<A>,
    pub(crate) id: Option<IdFn<A>>,
    pub(crate) expiry: Option<ExpiryFn<A>>,
    pub(crate) refresh: Option<RefreshFn<A>>,
    pub(crate) router: Router,
    pub(crate) factories: Vec<Box<dyn Factory<A>>>,
}

/// A mount without its types.
pub(crate) trait Mounted: Send + Sync {
    fn hub(&self) -> &Arc<Hub>;
    fn door(&self) -> &Door;
    fn connect(self: Arc<Self>, parts: Parts) -> BoxFuture<Result<Admitted, Refused>>;
}

/// A client that may connect.
pub(crate) struct Admitted {
    pub(crate) session: Box<dyn Session>,
    pub(crate) id: Option<String>,
}

impl<A: Send + Sync + 'static> Mounted for Mount<A> {
    fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    fn door(&self) -> &Door {
        &self.door
    }

    fn connect(self: Arc<Self>, parts: Parts) -> BoxFuture<Result<Admitted, Refused>> {
        Box::pin(async move {
            let assigns = (self.connect)(parts).await?;
            let id = self.id.as_ref().and_then(|id| id(&assigns));
            let session = Box::new(SocketSession {
                mount: self,
                assigns: Arc::new(assigns),
            });
            Ok(Admitted { session, id })
        })
    }
}

struct SocketSession<A> {
    mount: Arc<Mount<A>>,
    assigns: Arc<A>,
}

impl<A: Send + Sync + 'static> Session for SocketSession<A> {
    fn router(&self) -> &Router {
        &self.mount.router
    }

    fn join(&self, route: usize, core: Core, params: Payload) -> Option<BoxFuture<JoinOutcome>> {
        let factory = self.mount.factories.get(route)?;
        Some(factory.join(core, Arc::clone(&self.assigns), params))
    }

    fn expires_at(&self) -> Option<SystemTime> {
        let expiry = self.mount.expiry.as_ref()?;
        // A panic in it ends the socket at once: its time is not known.
        contain(|| expiry(&self.assigns)).unwrap_or(Some(SystemTime::UNIX_EPOCH))
    }

    fn can_refresh(&self) -> bool {
        self.mount.refresh.is_some()
    }

    fn refresh(
        &self,
        payload: Payload,
    ) -> Option<BoxFuture<Result<Option<SystemTime>, Rejection>>> {
        let refresh = self.mount.refresh.as_ref()?;
        Some(refresh(Arc::clone(&self.assigns), payload))
    }

    fn sink(&self, route: usize, address: Address) -> Option<Arc<dyn Subscriber>> {
        Some(self.mount.factories.get(route)?.sink(address))
    }
}
