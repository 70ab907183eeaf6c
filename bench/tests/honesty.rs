//! Whether the load generator notices: every scenario passes against the floor, and the same floor behind a proxy that loses, doubles,
//! swaps or alters a single frame fails.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bennu_bench::failure::Failure;
use bennu_bench::floor::Floor;
use bennu_bench::frame;
use bennu_bench::report::Report;
use bennu_bench::scenario::{Run, Span, churn, echo, fanout, idle, rooms};
use bennu_bench::target::Target;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
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

fn run(address: SocketAddr) -> Run {
    let target = Target::parse(&format!("ws://{address}/socket/websocket?vsn=2.0.0")).unwrap();
    let mut run = Run::new(target, None, Duration::from_secs(20)).unwrap();
    run.patience = Duration::from_millis(500);
    run
}

fn play_fanout(address: SocketAddr, window: usize) -> Result<Report, Failure> {
    let settings = fanout::Fanout {
        subscribers: 5,
        messages: Some(20),
        span: SPAN,
        window,
        payload_bytes: 200,
    };
    fanout::play(&mut run(address), &settings)
}

fn play_echo(address: SocketAddr, rate: Option<f64>) -> Result<Report, Failure> {
    let settings = echo::Echo {
        connections: 5,
        span: SPAN,
        warm_up: Duration::ZERO,
        rate,
        in_flight: 3,
    };
    echo::play(&mut run(address), &settings)
}

fn play_churn(address: SocketAddr) -> Result<Report, Failure> {
    churn::play(
        &mut run(address),
        &churn::Churn {
            cycles: 50,
            concurrency: 4,
        },
    )
}

fn play_rooms(address: SocketAddr) -> Result<Report, Failure> {
    let settings = rooms::Rooms {
        rooms: 3,
        size: 4,
        rate: 1_000.0,
        seconds: 0.1,
        payload_bytes: 48,
    };
    rooms::play(&mut run(address), &settings)
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

#[test]
fn every_scenario_passes_against_the_floor() {
    let settings = idle::Idle {
        connections: 150,
        hold: Duration::ZERO,
        shared_topic: false,
        heartbeat: Duration::from_millis(200),
    };
    clean(idle::play(&mut run(floor()), &settings));
    clean(play_echo(floor(), None));
    clean(play_echo(floor(), Some(2_000.0)));
    clean(play_fanout(floor(), 1));
    clean(play_fanout(floor(), 5));
    clean(play_rooms(floor()));
    clean(play_churn(floor()));
}

/// What the proxy does to one frame.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Lose,
    Double,
    SwapWithNext,
    /// Replaces the first byte pattern by the second, which is as long.
    Alter(&'static str, &'static str),
    /// Closes TCP.
    Cut,
}

/// A proxy that spoils the frame at `position` (the join's reply is 0) of the third connection from the server to the client.
fn proxy(server: SocketAddr, position: usize, fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (number, client) in listener.incoming().map_while(Result::ok).enumerate() {
            let upstream = TcpStream::connect(server).unwrap();
            let (mut from_client, mut to_server) =
                (client.try_clone().unwrap(), upstream.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from_client, &mut to_server);
                let _ = to_server.shutdown(Shutdown::Write);
            });
            let position = if number == 2 { position } else { usize::MAX };
            std::thread::spawn(move || spoil(upstream, &client, position, fault));
        }
    });
    address
}

fn spoil(mut server: TcpStream, mut client: &TcpStream, position: usize, fault: Fault) {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    let (mut is_open, mut frames, mut held) = (false, 0, Vec::new());
    while let Ok(received @ 1..) = server.read(&mut chunk) {
        bytes.extend_from_slice(&chunk[..received]);
        if !is_open {
            let Some(end) = bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
                continue;
            };
            client.write_all(&bytes[..end + 4]).unwrap();
            bytes.drain(..end + 4);
            is_open = true;
        }
        while let Some(size) = frame::parse(&bytes).unwrap().map(|frame| frame.size) {
            let mut frame: Vec<u8> = bytes.drain(..size).collect();
            if frames == position {
                match fault {
                    Fault::Lose => frame.clear(),
                    Fault::Double => frame.extend_from_within(..),
                    Fault::SwapWithNext => held = std::mem::take(&mut frame),
                    Fault::Alter(from, to) => {
                        let at = frame
                            .windows(from.len())
                            .position(|bytes| bytes == from.as_bytes())
                            .unwrap();
                        frame.splice(at..at + from.len(), to.bytes());
                    }
                    Fault::Cut => {
                        let _ = client.shutdown(Shutdown::Both);
                        return;
                    }
                }
            } else {
                frame.append(&mut held);
            }
            frames += 1;
            if client.write_all(&frame).is_err() {
                return;
            }
        }
    }
    let _ = client.shutdown(Shutdown::Both);
}

#[test]
fn an_honest_proxy_passes() {
    clean(play_fanout(proxy(floor(), usize::MAX, Fault::Lose), 5));
    clean(play_churn(proxy(floor(), usize::MAX, Fault::Lose)));
}

#[test]
fn a_lost_delivery_is_missing() {
    caught(
        play_fanout(proxy(floor(), 7, Fault::Lose), 1),
        "stream 2: 7 published, the last to come was number 5",
    );
}

#[test]
fn a_doubled_delivery_is_a_duplicate() {
    caught(
        play_fanout(proxy(floor(), 7, Fault::Double), 1),
        "stream 2: message 6 came again",
    );
    // The very last one, which nothing follows: 3 rounds of warm-up, then 20 messages, after the join.
    caught(
        play_fanout(proxy(floor(), 23, Fault::Double), 1),
        "stream 2: message 22 came again",
    );
}

#[test]
fn swapped_deliveries_are_reordered() {
    caught(
        play_fanout(proxy(floor(), 7, Fault::SwapWithNext), 5),
        "stream 2: message 6 came after message 7",
    );
}

#[test]
fn an_altered_delivery_is_refused() {
    caught(
        play_fanout(proxy(floor(), 7, Fault::Alter("xxx", "xyx")), 1),
        "expected",
    );
    caught(
        play_fanout(proxy(floor(), 7, Fault::Alter("room:fan", "room:fun")), 1),
        "expected",
    );
    caught(
        play_fanout(proxy(floor(), 7, Fault::Alter("shout", "snort")), 1),
        "expected",
    );
}

#[test]
fn wrong_replies_are_refused() {
    caught(play_echo(proxy(floor(), 4, Fault::Lose), None), "expected");
    caught(
        play_echo(proxy(floor(), 4, Fault::Double), None),
        "expected",
    );
    caught(
        play_echo(proxy(floor(), 4, Fault::SwapWithNext), None),
        "expected",
    );
    caught(
        play_echo(proxy(floor(), 4, Fault::Alter("ok", "no")), Some(2_000.0)),
        "expected",
    );
    caught(
        play_echo(proxy(floor(), 0, Fault::Alter("\"1\"", "\"2\"")), None),
        "expected",
    );
}

#[test]
fn a_connection_that_ends_is_a_failure() {
    caught(
        play_fanout(proxy(floor(), 7, Fault::Cut), 1),
        "connection 2",
    );
    caught(play_rooms(proxy(floor(), 7, Fault::Cut)), "connection 2");
}

#[test]
fn a_life_out_of_order_is_a_failure() {
    // Frames of a life: join's reply, leave's reply, phx_close, close frame.
    caught(
        play_churn(proxy(floor(), 1, Fault::SwapWithNext)),
        "expected",
    );
    caught(play_churn(proxy(floor(), 2, Fault::Lose)), "connection 2");
    caught(
        play_churn(proxy(floor(), 3, Fault::Double)),
        "nothing after the close frame",
    );
}

#[test]
fn rooms_are_checked_per_sender() {
    caught(play_rooms(proxy(floor(), 5, Fault::Lose)), "missing");
    caught(play_rooms(proxy(floor(), 5, Fault::Double)), "came again");
    caught(
        play_rooms(proxy(floor(), 5, Fault::Alter("room:r0", "room:r1"))),
        "expected",
    );
}
