//! The command line of the hostile neighbours: which attacks, how often, and what is done about one that fails.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing the results is the job"
)]

use bennu_bench::process::{raise_descriptor_limit, wake_up_in_time};
use bennu_bench::report::append_line;
use bennu_bench::scenario::hostile::Kind;
use bennu_bench::siege::verdict::Course;
use bennu_bench::siege::{self, Options};
use clap::Parser;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Pairs of the second try of an attack under which the neighbours were too slow.
const PAIRS_AGAIN: usize = 5;

/// Attacks a server, and measures what its other clients notice of it and what it costs in memory.
#[derive(Debug, Parser)]
#[command(name = "bennu-hostile")]
struct Arguments {
    /// The server: takes `--listen ADDRESS` and prints `listening on http://ADDRESS`.
    #[arg(long, default_value = "target/release/playground")]
    server: PathBuf,
    /// Only these attacks, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',')]
    kinds: Vec<Kind>,
    /// Pairs of windows, undisturbed and under attack, of each kind.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Seconds of a window.
    #[arg(long, default_value_t = 3.0)]
    window: f64,
    /// Well-behaved connections.
    #[arg(long, default_value_t = 50)]
    neighbours: usize,
    /// Pushes per second of each of them.
    #[arg(long, default_value_t = 20.0)]
    rate: f64,
    /// Also measure the neighbours while the same attack goes to another server: what the machine alone is to blame for.
    #[arg(long)]
    control: bool,
    /// Append the results to this file, one line of JSON per attack.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments = Arguments::parse();
    raise_descriptor_limit()?;
    wake_up_in_time()?;
    let programs = std::env::current_exe()?
        .parent()
        .ok_or("no directory")?
        .to_path_buf();
    if !arguments.server.is_file() {
        return Err(format!("there is no {}; build it", arguments.server.display()).into());
    }
    let options = Options {
        server: arguments.server,
        programs,
        pairs: arguments.pairs,
        window: Duration::try_from_secs_f64(arguments.window)?,
        neighbours: arguments.neighbours,
        rate: arguments.rate,
        control: arguments.control,
    };
    let kinds = if arguments.kinds.is_empty() {
        Kind::ALL.to_vec()
    } else {
        arguments.kinds
    };
    let begun = Instant::now();
    let mut courses = Vec::new();
    for kind in kinds {
        let course = play(&options, kind)?;
        if let Some(path) = &arguments.json {
            append_line(path, &course.json())?;
        }
        courses.push(course);
    }
    println!("{}", Course::head());
    for course in &courses {
        println!("{}", course.row());
    }
    println!("{:.0} s", begun.elapsed().as_secs_f64());
    Ok(if courses.iter().all(Course::is_ok) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Only time is measured twice: a wrong answer, a lost message or too much memory is no matter of noise.
fn play(options: &Options, kind: Kind) -> Result<Course, Box<dyn Error>> {
    let course = siege::play(options, kind)?;
    println!("{}", course.text());
    if !course.is_slow() || !course.wrongs().is_empty() {
        return Ok(course);
    }
    let again = Options {
        pairs: options.pairs.max(PAIRS_AGAIN),
        control: true,
        ..options.clone()
    };
    println!(
        "{}: once more with {} pairs and a control, which then counts",
        kind.name(),
        again.pairs
    );
    let course = siege::play(&again, kind)?;
    println!("{}", course.text());
    Ok(course)
}
