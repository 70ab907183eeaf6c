//! [`TestEndpoint`]: sockets of an application under test, and the clients that connect to them.

use std::fmt::Write;
use std::time::Duration;

use bennu::{Endpoint, Refused, SocketService, Sockets, Topic};
use http::Request;
use http::request::Builder;
use tokio::sync::watch;

use crate::socket::TestSocket;
use crate::subscription::TestSubscription;
use crate::wire::TestWire;

/// How long an assertion waits where nothing else is said.
const TIMEOUT: Duration = Duration::from_millis(100);
/// What a pipe holds in each direction: about what a socket of the kernel would.
const PIPE_BYTES: usize = 64 * 1024;

/// Serves your [`Sockets`] to clients of a test. See the [crate](crate) for an example.
#[derive(Debug)]
pub struct TestEndpoint {
    service: SocketService,
    endpoint: Endpoint,
    timeout: Duration,
    pipe_bytes: usize,
}

impl TestEndpoint {
    /// Serves these sockets.
    #[must_use]
    pub fn new<A: Send + Sync + 'static, C>(sockets: Sockets<A, C>) -> Self {
        Self {
            endpoint: sockets.endpoint(),
            service: sockets.into_service(),
            timeout: TIMEOUT,
            pipe_bytes: PIPE_BYTES,
        }
    }

    /// Sets how long assertions of clients that connect from now on wait. Default 100 ms.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Sets how much fits into the pipe of a connection, in each direction: what a client that does not read
    /// leaves unread before the server notices. Default 64 KiB.
    #[must_use]
    pub fn with_pipe_bytes(self, pipe_bytes: usize) -> Self {
        Self { pipe_bytes, ..self }
    }

    /// The endpoint of the sockets, to broadcast and to disconnect.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The sockets as a service, for tests of its HTTP answers.
    #[must_use]
    pub fn service(&self) -> SocketService {
        self.service.clone()
    }

    /// Subscribes the test to a topic, as any other part of the program could be.
    #[must_use]
    pub fn subscribe(&self, topic: &str) -> TestSubscription {
        TestSubscription::new(self.endpoint.pubsub(), &Topic::from(topic), self.timeout)
    }

    /// Connects a client with these parameters. `connect` of the application decides, as it would for a real
    /// one.
    ///
    /// # Errors
    /// [`Refused`] when it refuses.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn connect(&self, params: &[(&str, &str)]) -> Result<TestSocket, Refused> {
        let Ok(request) = request(params).body(()) else {
            panic!("these parameters make no query string: {params:?}");
        };
        self.connect_with(request).await
    }

    /// Connects a client by a request of yours, for `connect` functions that look at more than parameters.
    /// [`TestEndpoint::request`] begins one.
    ///
    /// # Errors
    /// As for [`TestEndpoint::connect`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn connect_with<B>(&self, request: Request<B>) -> Result<TestSocket, Refused> {
        let (wire, server) = self.serve(request).await?;
        Ok(TestSocket::new(wire, server, &self.endpoint, self.timeout))
    }

    /// Connects a client that speaks frame by frame.
    ///
    /// # Errors
    /// As for [`TestEndpoint::connect`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn connect_wire<B>(&self, request: Request<B>) -> Result<TestWire, Refused> {
        Ok(self.serve(request).await?.0)
    }

    /// Begins a connect request with these parameters. `vsn` is `2.0.0` unless they say something else.
    #[must_use]
    pub fn request(params: &[(&str, &str)]) -> Builder {
        request(params)
    }

    async fn serve<B>(&self, request: Request<B>) -> Result<(TestWire, ServerEnd), Refused> {
        let (client, server) = tokio::io::duplex(self.pipe_bytes);
        let request = request.map(drop);
        let connection = self.service.serve_stream(request, server).await?;
        let (ended, end) = watch::channel(false);
        tokio::spawn(async move {
            connection.await;
            // Nobody waits for it in many tests.
            ended.send_replace(true);
        });
        Ok((TestWire::over(client), end))
    }
}

/// True once the server is done with a connection; without its sender if its task panicked.
pub(crate) type ServerEnd = watch::Receiver<bool>;

fn request(params: &[(&str, &str)]) -> Builder {
    let mut uri = String::from("/websocket?");
    for (name, value) in params {
        encode(&mut uri, name);
        uri.push('=');
        encode(&mut uri, value);
        uri.push('&');
    }
    if !params.iter().any(|(name, _)| *name == "vsn") {
        uri.push_str("vsn=2.0.0");
    }
    Request::builder().uri(uri).header("host", "localhost")
}

/// Percent-encodes, as the official client does.
fn encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => {
                // Writing to a string does not fail.
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}
