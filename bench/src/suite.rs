//! The suite: which scenarios are played against which program, in which order. Programs are started and ended in `child.rs`, and
//! what comes out is put together in `summary.rs`.
//!
//! Within a run every scenario is played against the floor and at once against the server, so that a ratio compares two moments that
//! lie close together; noise that lasts longer than a minute cancels out.

pub mod child;
pub mod summary;

use child::{Child, play};
use serde::Serialize;
use serde_json::{Map, Value};
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

/// What the suite is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// The server under test; `None` plays the floor alone.
    pub server: Option<PathBuf>,
    /// How often everything is played.
    pub runs: usize,
    /// The short version.
    pub quick: bool,
    /// The scenarios, by name; all if empty.
    pub only: Vec<String>,
    /// Seconds of CPU that each program uses up in each run of echo and fan-out.
    pub cpu_seconds: f64,
    /// Where `bennu-load` and `bennu-floor` are.
    pub programs: PathBuf,
}

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// The bare program.
    Floor,
    /// The server under test.
    Server,
}

/// One scenario with its settings.
#[derive(Debug, Clone, Serialize)]
pub struct Item {
    /// Its name in the table.
    pub name: &'static str,
    /// The subcommand and its options.
    pub arguments: Vec<String>,
    /// Whether it is played against the floor too.
    pub has_floor: bool,
    /// The figures that go into the table.
    #[serde(skip)]
    pub figures: &'static [&'static str],
}

/// What one playing of one item gave.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Which run, from 1.
    pub run: usize,
    /// The item's name.
    pub item: &'static str,
    /// Who was measured.
    pub subject: Subject,
    /// Whether everything was as it should be.
    pub ok: bool,
    /// What was not.
    pub faults: Vec<String>,
    /// Every figure of the scenario.
    pub figures: Map<String, Value>,
}

impl Outcome {
    /// One figure, if the scenario got so far.
    pub fn figure(&self, name: &str) -> Option<f64> {
        self.figures.get(name).and_then(Value::as_f64)
    }
}

/// The names that `--only` takes.
pub const SCENARIOS: [&str; 5] = ["idle", "echo", "fanout", "rooms", "churn"];

const IDLE: &[&str] = &[
    "anon_per_connection_bytes",
    "anon_after_heartbeat_bytes",
    "pss_after_heartbeat_bytes",
    "cpu_us_per_open_and_join",
];
const ECHO: &[&str] = &[
    "cpu_us_per_echo",
    "user_us_per_echo",
    "system_us_per_echo",
    "echoes_per_s",
];
const ECHO_PACED: &[&str] = &[
    "cpu_us_per_echo",
    "latency_p50_us",
    "latency_p99_us",
    "latency_p999_us",
];
const FANOUT: &[&str] = &[
    "cpu_us_per_delivery",
    "user_us_per_delivery",
    "system_us_per_delivery",
    "latency_p50_us",
    "latency_p99_us",
];
const ROOMS: &[&str] = &[
    "cpu_us_per_delivery",
    "latency_p50_us",
    "latency_p99_us",
    "latency_p999_us",
];
const CHURN: &[&str] = &[
    "cpu_us_per_cycle",
    "user_us_per_cycle",
    "system_us_per_cycle",
    "latency_p50_us",
    "latency_p99_us",
];

/// The items that the options ask for.
pub fn plan(options: &Options) -> Vec<Item> {
    let quick = options.quick;
    let cpu = if quick {
        options.cpu_seconds.min(1.0)
    } else {
        options.cpu_seconds
    };
    let idle = if quick {
        "2000 --hold 1 --heartbeat 1"
    } else {
        "19000 --hold 30"
    };
    let cycles = if quick { 3_000 } else { 20_000 };
    let seconds = if quick { 1 } else { 10 };
    let item = |name, command: String, figures: &'static [&'static str]| Item {
        name,
        arguments: command.split_whitespace().map(str::to_owned).collect(),
        // The floor's memory is no measure of anything.
        has_floor: name != "idle",
        figures,
    };
    let fanout =
        |name, rest: &str| item(name, format!("fanout {rest} --cpu-seconds {cpu}"), FANOUT);
    let items = [
        item("idle", format!("idle --connections {idle}"), IDLE),
        item(
            "echo",
            format!("echo --connections 1000 --cpu-seconds {cpu}"),
            ECHO,
        ),
        item(
            "echo-paced",
            format!("echo --connections 1000 --rate 5000 --seconds {seconds}"),
            ECHO_PACED,
        ),
        fanout("fanout-1000", "--subscribers 1000"),
        fanout("fanout-10000", "--subscribers 10000"),
        fanout("fanout-burst", "--subscribers 1000 --window 10"),
        item(
            "rooms",
            format!("rooms --rooms 100 --size 10 --rate 1000 --seconds {seconds}"),
            ROOMS,
        ),
        item("churn", format!("churn --cycles {cycles}"), CHURN),
    ];
    let wanted = |item: &Item| {
        let scenario = item.arguments.first();
        options.only.is_empty()
            || options
                .only
                .iter()
                .any(|name| item.name == name || scenario == Some(name))
    };
    items
        .into_iter()
        .filter(|item| wanted(item) && (item.has_floor || options.server.is_some()))
        .collect()
}

/// Plays everything; `progress` hears of each outcome as it comes.
pub fn run(
    options: &Options,
    plan: &[Item],
    progress: &mut dyn FnMut(&Outcome),
) -> Result<Vec<Outcome>, Box<dyn Error>> {
    let mut outcomes = Vec::new();
    for run in 1..=options.runs {
        for item in plan {
            let floor = item.has_floor.then(|| options.programs.join("bennu-floor"));
            let subjects = [
                (Subject::Floor, floor),
                (Subject::Server, options.server.clone()),
            ];
            for (subject, program) in subjects {
                let Some(program) = program else { continue };
                // A fresh process each time: no scenario inherits the memory of another.
                let child = Child::start(&program, &["--listen", "127.0.0.1:0"])?;
                let outcome = play(
                    &options.programs.join("bennu-load"),
                    &child,
                    run,
                    subject,
                    item,
                )?;
                progress(&outcome);
                outcomes.push(outcome);
                drop(child);
                std::thread::sleep(Duration::from_millis(200));
            }
        }
    }
    Ok(outcomes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(only: &[&str], server: bool) -> Options {
        Options {
            server: server.then(|| PathBuf::from("playground")),
            runs: 1,
            quick: true,
            only: only.iter().map(|name| (*name).to_owned()).collect(),
            cpu_seconds: 20.0,
            programs: PathBuf::new(),
        }
    }

    #[test]
    fn picks_items_by_scenario_or_by_name() {
        let names = |only: &[&str], server| {
            plan(&options(only, server))
                .iter()
                .map(|item| item.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            names(&["fanout"], true),
            ["fanout-1000", "fanout-10000", "fanout-burst"]
        );
        assert_eq!(
            names(&["fanout-1000", "idle"], true),
            ["idle", "fanout-1000"]
        );
        assert_eq!(
            names(&["idle"], false),
            [""; 0],
            "there is no floor for memory"
        );
        assert_eq!(names(&[], true).len(), 8);
    }
}
