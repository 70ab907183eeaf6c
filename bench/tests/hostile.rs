//! Whether the attacks notice: the floor has no manners, and each attack that asks for some says so.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bennu_bench::floor::Floor;
use bennu_bench::scenario::hostile::{self, Hostile, Kind};
use bennu_bench::target::Target;
use std::time::Duration;

fn attack_floor(kind: Kind) -> String {
    let floor = Floor::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("ws://{}/socket/websocket?vsn=2.0.0", floor.address());
    // It may end under the attack.
    std::thread::spawn(move || floor.serve());
    let hostile = Hostile {
        kind,
        connections: Some(1),
        time: Duration::from_millis(50),
        nice: 0,
    };
    let report = hostile::play(
        Target::parse(&url).unwrap(),
        &hostile,
        Duration::from_secs(20),
    );
    report.unwrap().table()
}

#[test]
fn fragments_that_end_in_another_way_than_1009() {
    let table = attack_floor(Kind::TinyFragments);
    assert!(table.contains("FAULT"), "{table}");
    assert!(table.contains("1009"), "{table}");
}

#[test]
fn a_join_that_does_not_crash() {
    let table = attack_floor(Kind::PanicLoop);
    assert!(table.contains("FAULT: a crash in join"), "{table}");
}

#[test]
fn more_channels_than_a_socket_may_have() {
    let table = attack_floor(Kind::EndlessJoins);
    assert!(table.contains("channels on one socket"), "{table}");
}
