//! The load generator's command line; what it plays is in `scenario/`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing the results is the job"
)]

use bennu_bench::failure::Failure;
use bennu_bench::process::{raise_descriptor_limit, wake_up_in_time};
use bennu_bench::report::{Report, append_line};
use bennu_bench::scenario::hostile::{self, Hostile, Kind};
use bennu_bench::scenario::{Run, Span, churn, echo, fanout, idle, rooms};
use bennu_bench::target::Target;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Plays clients of a Phoenix server, checks every answer, and reports what it cost the server.
#[derive(Debug, Parser)]
#[command(name = "bennu-load")]
struct Options {
    /// The server's socket.
    #[arg(
        long,
        global = true,
        default_value = "ws://127.0.0.1:4100/socket/websocket?vsn=2.0.0"
    )]
    url: String,
    /// For a URL with wss://: the certificates to trust, in PEM. One that signed itself may be its own authority.
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The server's process id; without it there are no figures of CPU and memory.
    #[arg(long, global = true)]
    pid: Option<u32>,
    /// Append the results to this file, as one line of JSON.
    #[arg(long, global = true)]
    json: Option<PathBuf>,
    /// Give up after so many seconds.
    #[arg(long, global = true, default_value = "300", value_parser = parse_seconds)]
    timeout: Duration,
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Joined connections that do nothing: memory of each.
    Idle {
        #[arg(long, default_value_t = 19_000)]
        connections: usize,
        /// Seconds to hold them; never less than one round of heartbeats.
        #[arg(long, default_value = "30", value_parser = parse_seconds)]
        hold: Duration,
        /// `own`: a topic per connection; `shared`: one for all.
        #[arg(long, default_value = "own", value_parser = ["own", "shared"])]
        topic: String,
        /// Seconds between two heartbeats of a connection.
        #[arg(long, default_value = "30", value_parser = parse_seconds)]
        heartbeat: Duration,
    },
    /// Pushes that are answered: CPU and latency of each.
    Echo {
        #[arg(long, default_value_t = 1_000)]
        connections: usize,
        #[command(flatten)]
        span: SpanOptions,
        /// Seconds to play before measuring.
        #[arg(long, default_value = "1", value_parser = parse_seconds)]
        warm_up: Duration,
        /// Pushes per second over all connections, or `max`: each connection sends when it was answered.
        #[arg(long, default_value = "max", value_parser = parse_rate)]
        rate: Rate,
        /// With `--rate max`: pushes on the way per connection.
        #[arg(long, default_value_t = 1)]
        in_flight: usize,
    },
    /// One topic, many subscribers: CPU and latency of a delivery.
    Fanout {
        #[arg(long, default_value_t = 1_000)]
        subscribers: usize,
        /// Publish so many messages and stop, whatever the span.
        #[arg(long)]
        messages: Option<u64>,
        #[command(flatten)]
        span: SpanOptions,
        /// Messages that are published at once.
        #[arg(long, default_value_t = 1)]
        window: usize,
        /// Size of the payload, about.
        #[arg(long, default_value_t = 48)]
        payload_bytes: usize,
    },
    /// Rooms whose members shout in turn, by the clock.
    Rooms {
        #[arg(long, default_value_t = 100)]
        rooms: usize,
        #[arg(long, default_value_t = 10)]
        size: usize,
        /// Shouts per second over all rooms.
        #[arg(long, default_value_t = 1_000.0)]
        rate: f64,
        #[arg(long, default_value_t = 10.0)]
        seconds: f64,
        /// Size of the payload, about.
        #[arg(long, default_value_t = 48)]
        payload_bytes: usize,
    },
    /// Whole lives: connect, upgrade, join, leave, close.
    Churn {
        #[arg(long, default_value_t = 10_000)]
        cycles: u64,
        #[arg(long, default_value_t = 32)]
        concurrency: usize,
    },
    /// Attacks: what the server's other clients notice is measured by `bennu-hostile`.
    Hostile {
        #[arg(long, value_enum)]
        kind: Kind,
        /// How many connections attack (of the shouter: listen to it); each kind has its own number.
        #[arg(long)]
        connections: Option<usize>,
        /// For how long.
        #[arg(long, default_value = "3", value_parser = parse_seconds)]
        seconds: Duration,
        /// How far to stand back for everybody else on this machine.
        #[arg(long, default_value_t = 0)]
        nice: i32,
    },
}

/// How long to measure: until both are reached, if both are given.
#[derive(Debug, Args)]
struct SpanOptions {
    /// Seconds to measure at least.
    #[arg(long)]
    seconds: Option<f64>,
    /// Seconds of CPU that the server should have used at least; 20 if neither this nor --seconds is given, which makes the split
    /// into user and system, sampled by the kernel, good to a few percent.
    #[arg(long)]
    cpu_seconds: Option<f64>,
}

impl SpanOptions {
    fn span(&self, pid: Option<u32>) -> Span {
        match (self.seconds, self.cpu_seconds) {
            // Without a process to watch only the clock can end the run.
            (None, _) if pid.is_none() => Span {
                seconds: 10.0,
                cpu_seconds: 0.0,
            },
            (None, None) => Span {
                seconds: 0.0,
                cpu_seconds: 20.0,
            },
            (seconds, cpu_seconds) => Span {
                seconds: seconds.unwrap_or(0.0),
                cpu_seconds: cpu_seconds.unwrap_or(0.0),
            },
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Rate(Option<f64>);

fn parse_rate(text: &str) -> Result<Rate, String> {
    match text {
        "max" => Ok(Rate(None)),
        number => number
            .parse()
            .map(|rate| Rate(Some(rate)))
            .map_err(|_| "a number or `max`".to_owned()),
    }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| "a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    let options = Options::parse();
    let name = options.scenario.name();
    let json = options.json.clone();
    let report = play(options).unwrap_or_else(|failure| {
        let mut report = Report::new(name);
        report.fault(failure.to_string());
        report
    });
    print!("{}", report.table());
    if let Some(path) = &json
        && let Err(error) = append_line(path, &report.json())
    {
        eprintln!("{}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    if report.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

impl Scenario {
    fn name(&self) -> &'static str {
        match self {
            Self::Idle { .. } => "idle",
            Self::Echo { .. } => "echo",
            Self::Fanout { .. } => "fanout",
            Self::Rooms { .. } => "rooms",
            Self::Churn { .. } => "churn",
            Self::Hostile { .. } => "hostile",
        }
    }
}

#[expect(
    clippy::too_many_lines,
    reason = "one arm per scenario that hands its options on, and nothing else"
)]
fn play(options: Options) -> Result<Report, Failure> {
    raise_descriptor_limit()?;
    wake_up_in_time()?;
    let pid = options.pid;
    let target = match &options.ca {
        None => Target::parse(&options.url)?,
        Some(authority) => Target::parse_tls(&options.url, authority)?,
    };
    let run = &mut Run::new(target.clone(), pid, options.timeout)?;
    match options.scenario {
        Scenario::Idle {
            connections,
            hold,
            topic,
            heartbeat,
        } => {
            let shared_topic = topic == "shared";
            idle::play(
                run,
                &idle::Idle {
                    connections,
                    hold,
                    shared_topic,
                    heartbeat,
                },
            )
        }
        Scenario::Echo {
            connections,
            span,
            warm_up,
            rate: Rate(rate),
            in_flight,
        } => {
            let span = span.span(pid);
            echo::play(
                run,
                &echo::Echo {
                    connections,
                    span,
                    warm_up,
                    rate,
                    in_flight,
                },
            )
        }
        Scenario::Fanout {
            subscribers,
            messages,
            span,
            window,
            payload_bytes,
        } => {
            let span = span.span(pid);
            fanout::play(
                run,
                &fanout::Fanout {
                    subscribers,
                    messages,
                    span,
                    window,
                    payload_bytes,
                },
            )
        }
        Scenario::Rooms {
            rooms,
            size,
            rate,
            seconds,
            payload_bytes,
        } => rooms::play(
            run,
            &rooms::Rooms {
                rooms,
                size,
                rate,
                seconds,
                payload_bytes,
            },
        ),
        Scenario::Churn {
            cycles,
            concurrency,
        } => churn::play(
            run,
            &churn::Churn {
                cycles,
                concurrency,
            },
        ),
        Scenario::Hostile {
            kind,
            connections,
            seconds,
            nice,
        } => hostile::play(
            target,
            &Hostile {
                kind,
                connections,
                time: seconds,
                nice,
            },
            options.timeout,
        ),
    }
}
