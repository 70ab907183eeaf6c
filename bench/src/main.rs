//! The suite's command line: starts the programs, plays the scenarios, prints the table and writes the results. It builds nothing.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing the table and the progress is the job"
)]

use bennu_bench::process::raise_descriptor_limit;
use bennu_bench::suite::summary::{Machine, Results, rows, table, verdicts};
use bennu_bench::suite::{self, Item, Outcome, plan};
use clap::Parser;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

/// Measures a server against the floor, in turns, and writes the results. Or what TLS adds to it, with --only tls.
#[derive(Debug, Parser)]
#[command(name = "bennu-bench")]
struct Options {
    /// The server under test: takes `--listen ADDRESS` and prints `listening on http://ADDRESS`; with `--tls-cert FILE --tls-key FILE`
    /// it speaks TLS and says https.
    #[arg(long, default_value = "target/release/playground")]
    server: PathBuf,
    /// Measure the floor alone.
    #[arg(long)]
    floor_only: bool,
    /// How often everything is played; 5, or 1 with --quick.
    #[arg(long)]
    runs: Option<usize>,
    /// Fewer connections and less time: under a minute, and only good to see that everything works.
    #[arg(long)]
    quick: bool,
    /// Only these scenarios, separated by commas: idle, echo, fanout, rooms, churn, tls, or a name of the table. Without it all but tls.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Seconds of CPU that each program uses up in each run of echo and fan-out.
    #[arg(long, default_value_t = 10.0)]
    cpu_seconds: f64,
    /// The name of the results; `latest`, or `tls` if there is TLS in them.
    #[arg(long)]
    name: Option<String>,
    /// Where the results go.
    #[arg(long, default_value = "bench/results")]
    results: PathBuf,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let options = Options::parse();
    raise_descriptor_limit()?;
    let programs = std::env::current_exe()?
        .parent()
        .ok_or("no directory")?
        .to_path_buf();
    if !options.floor_only && !options.server.is_file() {
        return Err(format!(
            "there is no {}; build it, or say --floor-only",
            options.server.display()
        )
        .into());
    }
    let suite = suite::Options {
        server: (!options.floor_only).then_some(options.server),
        runs: options.runs.unwrap_or(if options.quick { 1 } else { 5 }),
        quick: options.quick,
        only: options.only,
        cpu_seconds: options.cpu_seconds,
        programs,
    };
    let plan = plan(&suite);
    if plan.is_empty() {
        return Err(format!(
            "nothing to play; --only takes {}",
            suite::SCENARIOS.join(", ")
        )
        .into());
    }
    let usual_name = if plan.iter().any(Item::is_over_tls) {
        "tls"
    } else {
        "latest"
    };
    let name = options.name.as_deref().unwrap_or(usual_name);
    let mut machine = Machine::look();
    let outcomes = suite::run(&suite, &plan, &mut |outcome| {
        report(outcome, suite.runs, &plan);
    })?;
    machine.look_again();
    print!(
        "\n{}\n{}",
        table(&rows(&plan, &outcomes)),
        verdicts(&outcomes)
    );
    let results = Results {
        name,
        options: &suite,
        machine: &machine,
        plan: &plan,
        outcomes: &outcomes,
    };
    results.write(&options.results)?;
    println!("{}/{name}.md and .json", options.results.display());
    Ok(if outcomes.iter().all(|outcome| outcome.ok) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn report(outcome: &Outcome, runs: usize, plan: &[Item]) {
    let figure = plan
        .iter()
        .find(|item| item.name == outcome.item)
        .and_then(|item| item.figures.first());
    let value = figure
        .and_then(|figure| Some(format!("{figure} {:.2}", outcome.figure(figure)?)))
        .unwrap_or_default();
    let verdict = if outcome.ok { "" } else { " FAULT" };
    let subject = format!("{:?}", outcome.subject).to_lowercase();
    eprintln!(
        "run {}/{runs} {} {subject}: {value}{verdict}",
        outcome.run, outcome.item
    );
    for fault in &outcome.faults {
        eprintln!("  {fault}");
    }
}
