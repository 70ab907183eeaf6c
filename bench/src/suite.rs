//! The suite: which scenarios are played against which program, in which order. Programs are started and ended in `child.rs`, and
//! what comes out is put together in `summary.rs`.
//!
//! Within a run every scenario is played against the floor and at once against the server, so that a ratio compares two moments that
//! lie close together; noise that lasts longer than a minute cancels out. Scenarios over TLS have the same server without TLS in the
//! floor's place: there the question is what TLS adds.

pub mod certificate;
pub mod child;
pub mod summary;

use certificate::Certificate;
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
    /// The scenarios, by name; all without TLS if empty.
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
    /// The server under test without TLS, where the subject is TLS.
    Plain,
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
    /// Whom the server is compared with, if with anybody.
    pub against: Option<Subject>,
    /// The figures that go into the table.
    #[serde(skip)]
    pub figures: &'static [&'static str],
}

impl Item {
    /// Whether the server is to speak TLS.
    pub fn is_over_tls(&self) -> bool {
        self.against == Some(Subject::Plain)
    }
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
pub const SCENARIOS: [&str; 6] = ["idle", "echo", "fanout", "rooms", "churn", "tls"];

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
    let wanted = |item: &Item| {
        let scenario = item.arguments.first().map(String::as_str);
        let is_named = |name: &String| {
            name == item.name
                || if item.is_over_tls() {
                    name == "tls"
                } else {
                    scenario == Some(name)
                }
        };
        let is_asked_for = if options.only.is_empty() {
            !item.is_over_tls()
        } else {
            options.only.iter().any(is_named)
        };
        is_asked_for && (item.against == Some(Subject::Floor) || options.server.is_some())
    };
    let items = plain_items(options).into_iter().chain(tls_items(options));
    items.filter(wanted).collect()
}

fn plain_items(options: &Options) -> Vec<Item> {
    let (quick, cpu) = (options.quick, options.cpu_seconds_each());
    let idle = if quick {
        "2000 --hold 1 --heartbeat 1"
    } else {
        "19000 --hold 30"
    };
    let cycles = if quick { 3_000 } else { 20_000 };
    let seconds = if quick { 1 } else { 10 };
    let item = |name, command: String, figures| Item {
        // The floor's memory is no measure of anything.
        against: (name != "idle").then_some(Subject::Floor),
        ..Item::new(name, &command, figures)
    };
    let fanout =
        |name, rest: &str| item(name, format!("fanout {rest} --cpu-seconds {cpu}"), FANOUT);
    vec![
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
    ]
}

/// What is played against the server with and without TLS.
fn tls_items(options: &Options) -> Vec<Item> {
    let (quick, cpu) = (options.quick, options.cpu_seconds_each());
    let idle = if quick {
        "500 --hold 1 --heartbeat 1"
    } else {
        "5000 --hold 30"
    };
    let cycles = if quick { 500 } else { 10_000 };
    let item = |name, command: String, figures| Item {
        against: Some(Subject::Plain),
        ..Item::new(name, &command, figures)
    };
    vec![
        item("tls-idle", format!("idle --connections {idle}"), IDLE),
        item(
            "tls-echo",
            format!("echo --connections 1000 --cpu-seconds {cpu}"),
            ECHO,
        ),
        item(
            "tls-fanout-1000",
            format!("fanout --subscribers 1000 --cpu-seconds {cpu}"),
            FANOUT,
        ),
        item("tls-churn", format!("churn --cycles {cycles}"), CHURN),
    ]
}

impl Options {
    fn cpu_seconds_each(&self) -> f64 {
        if self.quick {
            self.cpu_seconds.min(1.0)
        } else {
            self.cpu_seconds
        }
    }
}

impl Item {
    fn new(name: &'static str, command: &str, figures: &'static [&'static str]) -> Self {
        Self {
            name,
            arguments: command.split_whitespace().map(str::to_owned).collect(),
            against: None,
            figures,
        }
    }
}

/// Plays everything; `progress` hears of each outcome as it comes.
pub fn run(
    options: &Options,
    plan: &[Item],
    progress: &mut dyn FnMut(&Outcome),
) -> Result<Vec<Outcome>, Box<dyn Error>> {
    let needs_tls = plan.iter().any(Item::is_over_tls);
    let certificate = needs_tls.then(Certificate::generate).transpose()?;
    let mut outcomes = Vec::new();
    for run in 1..=options.runs {
        for item in plan {
            for subject in item.against.into_iter().chain([Subject::Server]) {
                let program = match subject {
                    Subject::Floor => Some(options.programs.join("bennu-floor")),
                    Subject::Plain | Subject::Server => options.server.clone(),
                };
                let Some(program) = program else { continue };
                let listen = ["--listen", "127.0.0.1:0"];
                // A fresh process each time: no scenario inherits the memory of another.
                let child = match &certificate {
                    Some(certificate) if item.is_over_tls() && subject == Subject::Server => {
                        Child::start_with_tls(&program, &listen, certificate)?
                    }
                    _ => Child::start(&program, &listen)?,
                };
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
        let over_tls = ["tls-idle", "tls-echo", "tls-fanout-1000", "tls-churn"];
        assert_eq!(names(&["tls"], true), over_tls);
        assert_eq!(
            names(&["tls-churn", "echo"], true),
            ["echo", "echo-paced", "tls-churn"]
        );
        assert_eq!(names(&["tls"], false), [""; 0], "the floor speaks no TLS");
    }
}
