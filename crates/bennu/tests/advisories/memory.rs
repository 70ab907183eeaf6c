//! Memory: what all limits amount to, against what is really taken when all of them are reached at once, and
//! what single attacks take.
//!
//! An allocator that counts for each thread is under this test target, and these tests have a runtime of one
//! thread, so that what is counted is theirs: the server's part, and the pipes and requests of the clients, which
//! come on top and are small.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use allocation_counter::{AllocationInfo, measure};
use bennu::limits::WorstCase;
use bennu::socket::LongPollOptions;
use bennu::{
    Channel, ConnectParams, Context, Handle, Intercept, Joined, Limits, Payload, PubSub, RawEvent,
    Refused, Rejection, Reply, SocketService, Sockets, Stop,
};
use bennu_proto::websocket::{Opcode, masked_frame};
use bennu_testkit::TestEndpoint;
use bytes::Bytes;
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tower::ServiceExt;

const MASK: [u8; 4] = [1, 2, 3, 4];
/// What a pipe holds in each direction.
const PIPE_BYTES: usize = 1024;
/// For what stands around a connection and is the test's: two directions of a pipe, the task that runs the
/// connection, and the client's future.
const CLIENT_BYTES: usize = 2 * PIPE_BYTES + 3072;
/// A request of a client that polls, while it is answered: the HTTP server's part of it.
const REQUEST_BYTES: usize = 4 << 10;
/// A channel and what it is subscribed to.
const SESSION_BYTES: usize = 4 << 10;

/// A channel that can be made to hold whatever may be held.
struct Hog;

impl Channel for Hog {
    type Assigns = Arc<Semaphore>;
    type Params = Payload;
    type In = RawEvent;

    async fn join(cx: &mut Context<'_, Self>, _: Payload) -> Result<Joined<Self>, Rejection> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        // As many as may be, each to a topic of its own.
        while cx
            .subscribe(format!("s{}", NEXT.fetch_add(1, Ordering::Relaxed)))
            .is_ok()
        {}
        Ok(Hog.into())
    }

    async fn handle_in(&mut self, cx: &mut Context<'_, Self>, _: RawEvent) -> Result<Reply, Stop> {
        // For ever; the end of the test is the end of the connection.
        cx.assigns().acquire().await?.forget();
        Ok(Reply::none())
    }
}

impl Handle<bennu::channel::SubscribedBroadcast> for Hog {
    async fn handle(
        &mut self,
        _: &mut Context<'_, Self>,
        _: bennu::channel::SubscribedBroadcast,
    ) -> Result<(), Stop> {
        Ok(())
    }
}

impl Intercept for Hog {
    const EVENTS: &'static [&'static str] = &["held"];

    async fn handle_out(
        &mut self,
        _: &mut Context<'_, Self>,
        _: &str,
        _: Payload,
    ) -> Result<(), Stop> {
        Ok(())
    }
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.message_bytes_max = 64 << 10;
    limits.inbound_bytes_max = 64 << 10;
    limits.inbound_messages_max = 64;
    limits.mailbox_bytes_max = 64 << 10;
    limits.mailbox_messages_max = 64;
    limits.outbound_bytes_max = 64 << 10;
    limits.outbound_total_bytes_max = CONNECTIONS * (64 << 10);
    limits.joins_max = 8;
    limits.topic_bytes_max = 256;
    limits.subscriptions_max = 8;
    limits.query_bytes_max = 1024;
    limits.header_bytes_max = 1024;
    limits.post_bytes_max = 32 << 10;
    limits.posts_total_bytes_max = 256 << 10;
    limits.terminate_timeout = Duration::from_secs(1);
    limits
}

const CONNECTIONS: usize = 24;

fn kit(limits: Limits) -> TestEndpoint {
    let connect = async |_: ConnectParams| Ok::<_, Refused>(Arc::new(Semaphore::new(0)));
    let sockets = Sockets::new(PubSub::local(), connect)
        .with_limits(limits)
        .with_long_poll(LongPollOptions::new());
    TestEndpoint::new(sockets.channel::<Hog>("hog:*").intercept())
}

/// Runs on a thread and a clock of its own, and counts; `warm` runs before and is not counted.
fn counted<T, F: Future>(
    warm: impl AsyncFnOnce() -> T,
    run: impl FnOnce(T) -> F,
) -> AllocationInfo {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build().unwrap();
    let warmed = runtime.block_on(warm());
    measure(|| {
        runtime.block_on(run(warmed));
    })
}

/// What is written in every attack, made before anything is counted.
#[derive(Clone)]
struct Script {
    /// Joins of four times as many channels as there may be, with topics and references as long as may be.
    joins: Arc<Vec<Vec<u8>>>,
    topics: Arc<Vec<String>>,
    /// Makes each channel that there may be wait.
    waits: Arc<Vec<Vec<u8>>>,
    /// Messages that then wait, up to the limit, small ones and one large.
    inbound: Arc<Vec<u8>>,
    /// A message of which the end never comes.
    pieces: Arc<Vec<u8>>,
}

fn text(text: &str) -> Vec<u8> {
    masked_frame(true, Opcode::Text, MASK, text.as_bytes()).to_vec()
}

impl Script {
    fn new(limits: &Limits, client: usize) -> Self {
        let reference = "7".repeat(1500);
        let prefix = format!("hog:{client}:");
        let topic = |n: usize| {
            let fill = "x".repeat(limits.topic_bytes_max - prefix.len() - 3);
            format!("{prefix}{fill}{n:03}")
        };
        let topics: Vec<_> = (0..4 * limits.joins_max).map(topic).collect();
        let message = |topic: &str, event: &str, payload: &str| {
            text(&format!(
                r#"["{reference}","{reference}","{topic}","{event}",{payload}]"#
            ))
        };
        let each = |event: &str| {
            topics
                .iter()
                .map(|topic| message(topic, event, "{}"))
                .collect()
        };
        let (joins, mut waits): (_, Vec<_>) = (each("phx_join"), each("wait"));
        waits.truncate(limits.joins_max);
        // 128 are counted for each message that waits, with its names: some hundred of them, and then one
        // as large as may be.
        let mut inbound = Vec::new();
        for n in 0..10 {
            let topic = &topics[n % limits.joins_max];
            inbound.extend(text(&format!(
                r#"["{reference}",null,"{topic}","wait",{{}}]"#
            )));
        }
        let large = "y".repeat(40 << 10);
        inbound.extend(text(&format!(
            r#"["{reference}",null,"{}","wait","{large}"]"#,
            topics[0]
        )));
        let mut pieces = masked_frame(false, Opcode::Text, MASK, b"").to_vec();
        for _ in 0..63 {
            let piece = masked_frame(false, Opcode::Continuation, MASK, &[b'z'; 1000]);
            pieces.extend_from_slice(&piece);
        }
        Self {
            joins: Arc::new(joins),
            topics: Arc::new(topics),
            waits: Arc::new(waits),
            inbound: Arc::new(inbound),
            pieces: Arc::new(pieces),
        }
    }
}

/// A client that does everything that is expensive and reads nothing, once it has joined.
async fn hog(
    kit: &TestEndpoint,
    script: &Script,
    deliver: &[Bytes],
) -> (DuplexStream, JoinHandle<()>) {
    let (mut client, server) = tokio::io::duplex(PIPE_BYTES);
    let request = TestEndpoint::request(&[]).body(()).unwrap();
    let connection = kit.service().serve_stream(request, server).await.unwrap();
    let task = tokio::spawn(connection);
    let mut sink = [0; 512];
    for join in &*script.joins {
        let (mut reader, mut writer) = tokio::io::split(client);
        writer.write_all(join).await.unwrap();
        // An answer is longer than its request, and ends with this.
        let mut tail = Vec::with_capacity(8);
        while !tail.ends_with(b"}}]") {
            let len = reader.read(&mut sink).await.unwrap();
            let keep = len.min(8);
            tail.clear();
            tail.extend_from_slice(&sink[len - keep..len]);
        }
        client = reader.unsplit(writer);
    }
    for wait in &*script.waits {
        client.write_all(wait).await.unwrap();
    }
    client.write_all(&script.inbound).await.unwrap();
    client.write_all(&script.pieces).await.unwrap();
    // Let the server take what is in the pipe.
    tokio::time::sleep(Duration::from_millis(1)).await;
    let endpoint = kit.endpoint();
    // To one channel, which waits and so does not take them, and to the client, which does not read.
    for (n, payload) in deliver.iter().enumerate() {
        let payload = Payload::from_json_text(payload.clone()).unwrap();
        let event = if n % 2 == 0 { "held" } else { "told" };
        endpoint
            .broadcast_raw(script.topics[0].as_str(), event, payload)
            .unwrap();
    }
    (client, task)
}

/// A client that polls, with a channel that waits, and posts that wait behind it.
async fn posting(service: SocketService, topic: String, body: Bytes) -> Vec<JoinHandle<u16>> {
    let send = async |method: &str, query: &str, body: Bytes| {
        let request = Request::builder()
            .method(method)
            .uri(format!("/longpoll?vsn=2.0.0{query}"))
            .header("content-type", "application/x-ndjson")
            .header("content-length", body.len())
            .body(Full::new(body))
            .unwrap();
        service.clone().oneshot(request).await.unwrap()
    };
    let begun = send("GET", "", Bytes::new()).await;
    let begun = begun.into_body().collect().await.unwrap().to_bytes();
    let begun: serde_json::Value = serde_json::from_slice(&begun).unwrap();
    let query = format!("&token={}", begun["token"].as_str().unwrap());
    let join = format!(r#"["1","1","{topic}","phx_join",{{}}]"#);
    let wait = format!(r#"["1","2","{topic}","wait",{{}}]"#);
    send("POST", &query, format!("{join}\n{wait}").into()).await;
    (0..4)
        .map(|_| {
            let (service, query) = (service.clone(), query.clone());
            let body = body.clone();
            tokio::spawn(async move {
                let request = Request::post(format!("/longpoll?vsn=2.0.0{query}"))
                    .header("content-type", "application/x-ndjson")
                    .header("content-length", body.len());
                // In pieces, as it would come over a connection, and each the same memory.
                let pieces = (0..body.len()).step_by(1000).map(move |at| {
                    let piece = body.slice(at..(at + 1000).min(body.len()));
                    Ok::<_, std::convert::Infallible>(Frame::data(piece))
                });
                let body = StreamBody::new(futures_util::stream::iter(pieces));
                let request = request.body(body).unwrap();
                service.oneshot(request).await.unwrap().status().as_u16()
            })
        })
        .collect()
}

/// The whole promise of the limits: clients that do everything expensive at once take no more than
/// `worst_case()` says, at no time, and when they are gone it is free. A server without such a sum is what
/// every advisory of this page's first class is about.
#[test]
fn everything_expensive_at_once() {
    let limits = limits();
    let scripts: Vec<_> = (0..=CONNECTIONS)
        .map(|client| Script::new(&limits, client))
        .collect();
    // What is broadcast is a different text for each client, so that nothing is shared.
    let payloads = |client: usize| -> Vec<Bytes> {
        (0..26)
            .map(|n| format!(r#"{{"b":"{client} {n} {}"}}"#, "b".repeat(4500)).into())
            .collect()
    };
    let all: Vec<_> = (0..=CONNECTIONS).map(payloads).collect();
    let kit = Arc::new(kit(limits.clone()));
    let warm = async || {
        let (client, task) = hog(&kit, &scripts[CONNECTIONS], &all[CONNECTIONS][..2]).await;
        drop(client);
        task.await.unwrap();
    };
    let mut held = 0;
    let memory = counted(warm, |()| {
        let (kit, scripts, all, held) = (Arc::clone(&kit), &scripts, &all, &mut held);
        async move {
            let inner = async {
                let mut clients = Vec::with_capacity(CONNECTIONS);
                for n in 0..CONNECTIONS {
                    // The payloads count as soon as they wait: they are copied here for that.
                    let own: Vec<_> = all[n]
                        .iter()
                        .map(|text| Bytes::copy_from_slice(text))
                        .collect();
                    clients.push(hog(&kit, &scripts[n], &own).await);
                }
                clients
            };
            let clients = inner.await;
            *held = kit.endpoint().connection_count();
            for (client, task) in clients {
                drop(client);
                task.await.unwrap();
            }
        }
    });
    assert_eq!(held, CONNECTIONS, "nobody was cut off for it");
    let bound = bound(&limits, CONNECTIONS);
    let allowed = u64::try_from(bound + CONNECTIONS * CLIENT_BYTES).unwrap();
    // Most of what may be taken is taken: a bound that is far from what can be is no bound.
    let at_least = u64::try_from(CONNECTIONS * 350_000).unwrap();
    assert!(memory.bytes_max < allowed, "{memory:?}, {allowed} allowed");
    assert!(
        memory.bytes_max > at_least,
        "{memory:?}, {at_least} intended"
    );
    assert!(memory.bytes_current < 64 << 10, "{memory:?}");
}

/// What so many connections may take, without compression, which nobody has here.
fn bound(limits: &Limits, connections: usize) -> usize {
    let worst_case: WorstCase = limits.worst_case();
    worst_case.total_bytes(connections) - worst_case.shared_bytes
}

/// The same of clients that poll: bodies of posts that wait.
#[test]
fn posts_that_wait() {
    const CLIENTS: usize = 8;
    let limits = limits();
    let kit = Arc::new(kit(limits.clone()));
    let line = r#"["1","3","hog:1","wait",{}]"#;
    let body = Bytes::from(format!("{line}\n").repeat((17 << 10) / line.len()));
    let warm = async || {
        let posts = posting(kit.service(), "hog:warm".to_owned(), Bytes::new()).await;
        drop(posts);
    };
    let memory = counted(warm, |()| {
        let kit = Arc::clone(&kit);
        async move {
            let mut posts = Vec::new();
            for n in 0..CLIENTS {
                posts.extend(posting(kit.service(), format!("hog:{n}"), body.clone()).await);
            }
            for post in posts {
                post.await.unwrap();
            }
            while kit.endpoint().connection_count() > 0 {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    });
    let posts = limits.posts_total_bytes_max;
    let requests = CLIENTS * 4 * REQUEST_BYTES;
    // Of each session: what any connection is, and its messages that wait.
    let worst_case = limits.worst_case();
    let session = worst_case.idle_bytes + limits.inbound_messages_max * 256 + SESSION_BYTES;
    let allowed = u64::try_from(posts + requests + CLIENTS * session).unwrap();
    assert!(memory.bytes_max < allowed, "{memory:?}, {allowed} allowed");
    assert!(
        memory.bytes_max > u64::try_from(posts).unwrap(),
        "{memory:?}"
    );
    assert!(memory.bytes_current < 64 << 10, "{memory:?}");
}

/// CVE-2022-35922, CVE-2026-31812 and every length that is believed: what is announced takes no memory. 64
/// connections announce a gigabyte each, by a limit that would allow it.
#[test]
fn announced_lengths() {
    const CLIENTS: usize = 64;
    let mut limits = Limits::default();
    limits.message_bytes_max = 1 << 30;
    let kit = Arc::new(kit(limits));
    let mut frame = vec![0x82, 0x80 | 127];
    frame.extend((1_u64 << 30).to_be_bytes());
    frame.extend(MASK);
    frame.extend([0; 100]);
    let memory = counted(
        async || {},
        |()| {
            let kit = Arc::clone(&kit);
            async move {
                let mut clients = Vec::with_capacity(CLIENTS);
                for _ in 0..CLIENTS {
                    let (mut client, server) = tokio::io::duplex(PIPE_BYTES);
                    let request = TestEndpoint::request(&[]).body(()).unwrap();
                    let connection = kit.service().serve_stream(request, server).await.unwrap();
                    let task = tokio::spawn(connection);
                    client.write_all(&frame).await.unwrap();
                    clients.push((client, task));
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
                for (client, task) in clients {
                    drop(client);
                    task.await.unwrap();
                }
            }
        },
    );
    let allowed = u64::try_from(CLIENTS * (CLIENT_BYTES + 4096) + (64 << 10)).unwrap();
    assert!(memory.bytes_max < allowed, "{memory:?}");
}
