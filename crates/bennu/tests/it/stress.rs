//! Joins and leaves while others shout, on several threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bennu::pubsub::{Local, PubSubOptions};
use bennu::{
    Channel, Context, Joined, Payload, PubSub, RawEvent, Refused, Rejection, Reply, Sockets, Stop,
};
use bennu_testkit::{TestEndpoint, TestSocket};
use serde_json::json;
use tokio::task::yield_now;

/// How often each client joins.
const JOINS: usize = 300;
/// How many broadcasts are looked at after each join.
const LOOKS: u64 = 5;

struct Room;

impl Channel for Room {
    type Assigns = ();
    type Params = Payload;
    type In = RawEvent;

    async fn join(_: &mut Context<'_, Self>, _: Payload) -> Result<Joined<Self>, Rejection> {
        yield_now().await;
        Ok(Room.into())
    }

    async fn handle_in(&mut self, _: &mut Context<'_, Self>, _: RawEvent) -> Result<Reply, Stop> {
        Ok(Reply::none())
    }
}

/// Broadcasts numbers until it is told to stop. `begun` and `made` are the last number that was begun, and
/// the last whose broadcast has returned.
#[derive(Default)]
struct Shouter {
    begun: AtomicU64,
    made: AtomicU64,
    stop: AtomicBool,
}

impl Shouter {
    async fn run(self: Arc<Self>, endpoint: bennu::Endpoint) {
        for n in 1.. {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            self.begun.store(n, Ordering::SeqCst);
            let payload = Payload::json(&json!({ "n": n })).unwrap();
            endpoint.broadcast_raw("room:1", "n", payload).unwrap();
            self.made.store(n, Ordering::SeqCst);
            yield_now().await;
        }
    }
}

/// Joins, and looks at what comes: the reply first, then every number without a gap, from one that was not
/// yet begun when the reply was seen or an earlier one.
async fn join_and_look(socket: &TestSocket, shouter: &Shouter) {
    let _join = socket.push("room:1", "phx_join", &json!({})).await;
    let reply = socket.next_message().await;
    let begun = shouter.begun.load(Ordering::SeqCst);
    assert_eq!(reply.event, "phx_reply", "{reply}");
    assert_eq!(reply.status.as_deref(), Some("ok"));
    let first = socket.next_message().await.json()["n"].as_u64().unwrap();
    assert!(
        first <= begun + 1,
        "{first} came first, {begun} was under way: one was missed"
    );
    for n in first + 1..first + LOOKS {
        assert_eq!(socket.next_message().await.json()["n"], n);
    }
}

/// Each client looks at its joins over connections that are fresh every time.
async fn stress(options: &PubSubOptions, crowd: usize) {
    let pubsub = PubSub::with_options(Arc::new(Local::default()), options);
    let sockets = Sockets::new(pubsub, async || Ok::<_, Refused>(())).channel::<Room>("room:*");
    let kit = Arc::new(TestEndpoint::new(sockets).with_timeout(Duration::from_secs(20)));
    let mut members = Vec::new();
    for _ in 0..crowd {
        let socket = kit.connect(&[]).await.unwrap();
        socket.join("room:0", &json!({})).await.unwrap();
        members.push(kit.subscribe("room:1"));
    }
    let shouter = Arc::new(Shouter::default());
    let shouting = tokio::spawn(Arc::clone(&shouter).run(kit.endpoint().clone()));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (kit, shouter) = (Arc::clone(&kit), Arc::clone(&shouter));
            tokio::spawn(async move {
                for _ in 0..JOINS {
                    let socket = kit.connect(&[]).await.unwrap();
                    join_and_look(&socket, &shouter).await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    shouter.stop.store(true, Ordering::Relaxed);
    shouting.await.unwrap();
    assert!(shouter.made.load(Ordering::SeqCst) > LOOKS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_join_reply_precedes_broadcasts_and_nothing_after_it_is_missed() {
    stress(&PubSubOptions::default(), 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_on_a_topic_that_is_served_by_lanes() {
    stress(&PubSubOptions::default().with_in_place_max(1), 4).await;
}
