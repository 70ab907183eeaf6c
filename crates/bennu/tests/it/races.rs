//! Moments that are easy to miss: a close that comes between a turn and the sleep after it, a channel
//! that is replaced while it waits; and costs that are easy to overlook: empty pings, long names.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use bennu::{
    Channel, Context, Endpoint, Joined, Payload, PubSub, Refused, Rejection, Reply, Sockets, Stop,
};
use bennu_proto::websocket::Opcode;
use bennu_testkit::{TestEndpoint, TestWire, WireEvent};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use crate::support::Bench;

/// A transport that disconnects its own socket at one of its flushes, as another thread might.
struct Treacherous {
    inner: DuplexStream,
    endpoint: Endpoint,
    flushes_left: Arc<AtomicUsize>,
}

impl AsyncRead for Treacherous {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Treacherous {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<std::io::Result<()>> {
        if self.flushes_left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.endpoint.disconnect("user:ada").unwrap();
        }
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn a_disconnect_at_any_moment_of_a_turn_is_seen() {
    for moment in 1..=5 {
        let bench = Bench::new();
        let (client, server) = tokio::io::duplex(4096);
        let flushes_left = Arc::new(AtomicUsize::new(usize::MAX));
        let transport = Treacherous {
            inner: server,
            endpoint: bench.kit.endpoint().clone(),
            flushes_left: Arc::clone(&flushes_left),
        };
        let request = TestEndpoint::request(&[("user_id", "ada")]).body(());
        let service = bench.kit.service();
        let connection = service.serve_stream(request.unwrap(), transport);
        tokio::spawn(connection.await.unwrap());
        let mut wire = TestWire::over(client);
        wire.send_text(r#"[null,"1","phoenix","heartbeat",{}]"#)
            .await;
        wire.next_text().await;

        flushes_left.store(moment, Ordering::Relaxed);
        wire.send_text(r#"[null,"2","phoenix","heartbeat",{}]"#)
            .await;
        let mut events = Vec::new();
        while events.last() != Some(&WireEvent::Close(Some(1001))) {
            // With a turn that has fewer flushes, the next message brings the moment.
            let next = tokio::time::timeout(Duration::from_secs(3), wire.next()).await;
            match next {
                Ok(event) => events.push(event.expect("a close frame before the end")),
                Err(_) if (1..=moment).contains(&flushes_left.load(Ordering::Relaxed)) => {
                    wire.send_text(r#"[null,"3","phoenix","heartbeat",{}]"#)
                        .await;
                }
                Err(_) => panic!("moment {moment}: the disconnect was lost after {events:?}"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_many_pings_that_wait_for_an_answer_the_last_is_answered() {
    let mut bench = Bench::with_limits(|limits| limits.outbound_bytes_max = 2000);
    bench.kit = bench.kit.with_pipe_bytes(64);
    let mut wire = bench.kit.connect_wire(request()).await.unwrap();
    for n in 0..500_u16 {
        wire.send_frame(Opcode::Ping, &n.to_be_bytes()).await;
    }
    wire.send_text(r#"[null,"1","phoenix","heartbeat",{}]"#)
        .await;
    let mut pongs = Vec::new();
    loop {
        match wire.next().await {
            Some(WireEvent::Pong(payload)) => pongs.push(payload),
            Some(WireEvent::Text(_)) => break,
            other => panic!("the server should have kept up: {other:?}"),
        }
    }
    assert_eq!(pongs.last().unwrap()[..], 499_u16.to_be_bytes());
    assert!(pongs.len() < 100, "{} pongs", pongs.len());
}

#[tokio::test(start_paused = true)]
async fn long_names_of_events_that_wait_are_counted() {
    let mut bench = Bench::with_limits(|limits| limits.inbound_bytes_max = 10_000);
    bench.kit = bench.kit.with_pipe_bytes(64);
    let mut wire = bench.kit.connect_wire(request()).await.unwrap();
    wire.send_text(r#"["1","1","lab:1","phx_join",{}]"#).await;
    wire.next_text().await;
    wire.send_text(r#"["1","2","lab:1","wait",{}]"#).await;
    let name = "n".repeat(1000);
    let mut sent = 0;
    let flood = async {
        loop {
            wire.send_text(&format!(r#"["1","3","lab:1","{name}",{{}}]"#))
                .await;
            sent += 1;
        }
    };
    let stuck = tokio::time::timeout(Duration::from_secs(5), flood).await;
    assert!(stuck.is_err());
    // What is being read at the time comes on top.
    assert!(
        (8..40).contains(&sent),
        "{sent} messages of 1 KB were taken"
    );
}

/// Greets everybody when it has joined, and then waits for ever in its handler.
struct Greeter;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum In {
    Wait,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Out {
    Hello,
}

impl Channel for Greeter {
    type Assigns = ();
    type Params = Payload;
    type In = In;

    async fn join(_: &mut Context<'_, Self>, _: Payload) -> Result<Joined<Self>, Rejection> {
        Ok(Greeter.into())
    }

    async fn joined(&mut self, cx: &mut Context<'_, Self>) -> Result<(), Stop> {
        cx.broadcast(&Out::Hello)?;
        Ok(())
    }

    async fn handle_in(&mut self, _: &mut Context<'_, Self>, _: In) -> Result<Reply, Stop> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_waits_hears_nothing_once_it_is_replaced() {
    let sockets = Sockets::new(PubSub::local(), async || Ok::<_, Refused>(()));
    let kit = TestEndpoint::new(sockets.channel::<Greeter>("greeter"));
    let socket = kit.connect(&[]).await.unwrap();
    let first = socket
        .subscribe_and_join("greeter", &json!({}))
        .await
        .unwrap();
    first.push("wait", &json!({})).await;
    let _second = socket
        .subscribe_and_join("greeter", &json!({}))
        .await
        .unwrap();
    let hellos = socket.messages().await;
    let hellos = hellos
        .iter()
        .filter(|message| message.to_string().contains("hello"));
    assert_eq!(hellos.count(), 2, "one for each join");
}

fn request() -> http::Request<()> {
    TestEndpoint::request(&[]).body(()).unwrap()
}
