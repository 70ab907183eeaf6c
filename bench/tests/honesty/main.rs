//! Whether the load generator notices: every scenario passes against the floor, and the same floor behind a proxy that loses, doubles,
//! swaps or alters a single frame fails.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod proxy;
mod tls;

use bennu_bench::failure::Failure;
use bennu_bench::floor::Floor;
use bennu_bench::report::Report;
use bennu_bench::scenario::{Run, Span, churn, echo, fanout, idle, rooms};
use bennu_bench::target::Target;
use proxy::{Fault, proxy};
use std::net::SocketAddr;
use std::time::Duration;

const SPAN: Span = Span {
    seconds: 0.1,
    cpu_seconds: 0.0,
};

fn floor() -> SocketAddr {
    let floor = Floor::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = floor.address();
    std::thread::spawn(move || floor.serve());
    address
}

/// A server without TLS.
fn at(address: SocketAddr) -> Target {
    Target::parse(&format!("ws://{address}/socket/websocket?vsn=2.0.0")).unwrap()
}

fn run(target: Target) -> Run {
    let mut run = Run::new(target, None, Duration::from_secs(20)).unwrap();
    run.patience = Duration::from_millis(500);
    run
}

fn play_fanout(target: Target, window: usize) -> Result<Report, Failure> {
    let settings = fanout::Fanout {
        subscribers: 5,
        messages: Some(20),
        span: SPAN,
        window,
        payload_bytes: 200,
    };
    fanout::play(&mut run(target), &settings)
}

fn play_echo(target: Target, rate: Option<f64>) -> Result<Report, Failure> {
    let settings = echo::Echo {
        connections: 5,
        span: SPAN,
        warm_up: Duration::ZERO,
        rate,
        in_flight: 3,
    };
    echo::play(&mut run(target), &settings)
}

fn play_churn(target: Target) -> Result<Report, Failure> {
    churn::play(
        &mut run(target),
        &churn::Churn {
            cycles: 50,
            concurrency: 4,
        },
    )
}

fn play_rooms(target: Target) -> Result<Report, Failure> {
    let settings = rooms::Rooms {
        rooms: 3,
        size: 4,
        rate: 1_000.0,
        seconds: 0.1,
        payload_bytes: 48,
    };
    rooms::play(&mut run(target), &settings)
}

fn clean(report: Result<Report, Failure>) {
    let report = report.unwrap();
    assert!(report.is_ok(), "{}", report.table());
}

fn caught(report: Result<Report, Failure>, sign: &str) {
    let text = match report {
        Ok(report) => {
            assert!(!report.is_ok(), "{}", report.table());
            report.table()
        }
        Err(failure) => failure.to_string(),
    };
    assert!(text.contains(sign), "{sign:?} is not in {text}");
}

fn play_idle(target: Target) -> Result<Report, Failure> {
    let settings = idle::Idle {
        connections: 150,
        hold: Duration::ZERO,
        shared_topic: false,
        heartbeat: Duration::from_millis(200),
    };
    idle::play(&mut run(target), &settings)
}

/// Every scenario, each against a fresh server.
fn all_pass(server: &dyn Fn() -> Target) {
    clean(play_idle(server()));
    clean(play_echo(server(), None));
    clean(play_echo(server(), Some(2_000.0)));
    clean(play_fanout(server(), 1));
    clean(play_fanout(server(), 5));
    clean(play_rooms(server()));
    clean(play_churn(server()));
}

#[test]
fn every_scenario_passes_against_the_floor() {
    all_pass(&|| at(floor()));
}

/// The floor behind a proxy that spoils the frame at `position`.
fn spoiled(position: usize, fault: Fault) -> Target {
    at(proxy(floor(), position, fault))
}

#[test]
fn an_honest_proxy_passes() {
    clean(play_fanout(spoiled(usize::MAX, Fault::Lose), 5));
    clean(play_churn(spoiled(usize::MAX, Fault::Lose)));
}

#[test]
fn a_lost_delivery_is_missing() {
    caught(
        play_fanout(spoiled(7, Fault::Lose), 1),
        "stream 2: 7 published, the last to come was number 5",
    );
}

#[test]
fn a_doubled_delivery_is_a_duplicate() {
    caught(
        play_fanout(spoiled(7, Fault::Double), 1),
        "stream 2: message 6 came again",
    );
    // The very last one, which nothing follows: 3 rounds of warm-up, then 20 messages, after the join.
    caught(
        play_fanout(spoiled(23, Fault::Double), 1),
        "stream 2: message 22 came again",
    );
}

#[test]
fn swapped_deliveries_are_reordered() {
    caught(
        play_fanout(spoiled(7, Fault::SwapWithNext), 5),
        "stream 2: message 6 came after message 7",
    );
}

#[test]
fn an_altered_delivery_is_refused() {
    caught(
        play_fanout(spoiled(7, Fault::Alter("xxx", "xyx")), 1),
        "expected",
    );
    caught(
        play_fanout(spoiled(7, Fault::Alter("room:fan", "room:fun")), 1),
        "expected",
    );
    caught(
        play_fanout(spoiled(7, Fault::Alter("shout", "snort")), 1),
        "expected",
    );
}

#[test]
fn wrong_replies_are_refused() {
    caught(play_echo(spoiled(4, Fault::Lose), None), "expected");
    caught(play_echo(spoiled(4, Fault::Double), None), "expected");
    caught(play_echo(spoiled(4, Fault::SwapWithNext), None), "expected");
    caught(
        play_echo(spoiled(4, Fault::Alter("ok", "no")), Some(2_000.0)),
        "expected",
    );
    caught(
        play_echo(spoiled(0, Fault::Alter("\"1\"", "\"2\"")), None),
        "expected",
    );
}

#[test]
fn a_connection_that_ends_is_a_failure() {
    caught(play_fanout(spoiled(7, Fault::Cut), 1), "connection 2");
    caught(play_rooms(spoiled(7, Fault::Cut)), "connection 2");
}

#[test]
fn a_life_out_of_order_is_a_failure() {
    // Frames of a life: join's reply, leave's reply, phx_close, close frame.
    caught(play_churn(spoiled(1, Fault::SwapWithNext)), "expected");
    caught(play_churn(spoiled(2, Fault::Lose)), "connection 2");
    caught(
        play_churn(spoiled(3, Fault::Double)),
        "nothing after the close frame",
    );
}

#[test]
fn rooms_are_checked_per_sender() {
    caught(play_rooms(spoiled(5, Fault::Lose)), "missing");
    caught(play_rooms(spoiled(5, Fault::Double)), "came again");
    caught(
        play_rooms(spoiled(5, Fault::Alter("room:r0", "room:r1"))),
        "expected",
    );
}
