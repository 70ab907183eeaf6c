//! What a server's clients notice of a hostile neighbour: their latency with and without an attack, in turns, and the server's
//! memory meanwhile. The attacks are `scenario/hostile.rs`, each in a process of its own; the neighbours play in this one.

mod attacker;
pub mod memory;
pub mod neighbours;
pub mod verdict;

use crate::scenario::hostile::Kind;
use crate::suite::child::Child;
use crate::target::Target;
use attacker::Attacker;
use memory::Watch;
use neighbours::Neighbours;
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;
use verdict::{Course, Pair};

/// How long an attack lasts before the window begins, and after it should have ended.
const LEAD: Duration = Duration::from_millis(250);
/// How long the neighbours play before anything is measured.
const WARM_UP: Duration = Duration::from_millis(500);
/// Between an attack and the undisturbed window after it.
const CALM: Duration = Duration::from_millis(250);
/// How long the memory may take to come back.
const SETTLE_MAX: Duration = Duration::from_secs(10);
/// jemalloc as the playground has it gives freed pages back only when it is asked for more, so that a server at rest keeps them: no
/// leak, but nothing that could be told from one. This makes a thread of its own give them back within a second. Other allocators do
/// not know the variable.
const ALLOCATOR: (&str, &str) = (
    "_RJEM_MALLOC_CONF",
    "background_thread:true,dirty_decay_ms:1000",
);
const SETTLE_STEP: Duration = Duration::from_millis(500);
/// How far a server's attackers stand back. The crowd around a shouter does not: it must be able to read.
const NICE: i32 = 19;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// The server under attack.
    pub server: PathBuf,
    /// Where `bennu-load` is.
    pub programs: PathBuf,
    /// Pairs of windows.
    pub pairs: usize,
    /// The length of a window.
    pub window: Duration,
    /// How many neighbours.
    pub neighbours: usize,
    /// Pushes per second of each.
    pub rate: f64,
    /// Whether every pair has a third window, in which the same attack goes to another server beside the one that is measured.
    pub control: bool,
}

/// Plays one kind of attack against a fresh server.
pub fn play(options: &Options, kind: Kind) -> Result<Course, Box<dyn Error>> {
    let listen = ["--listen", "127.0.0.1:0"];
    let server = Child::start_quietly(&options.server, &listen, &[ALLOCATOR])?;
    let decoy = if options.control {
        Some(Child::start_quietly(
            &options.server,
            &listen,
            &[ALLOCATOR],
        )?)
    } else {
        None
    };
    let mut course = Course::new(kind);
    let target = Target::parse(&server.url())?;
    let mut neighbours = Neighbours::join(target, options.neighbours, options.rate)?;
    let watch = Watch::start(server.pid())?;
    let outcome = besiege(
        options,
        &server,
        decoy.as_ref(),
        &mut neighbours,
        &watch,
        &mut course,
    );
    // Whatever ended it early is a fault of this kind and no reason to leave out the others.
    if let Err(error) = outcome {
        course.faults.push(error.to_string());
    }
    course.memory.peak = watch.peak();
    Ok(course)
}

fn besiege(
    options: &Options,
    server: &Child,
    decoy: Option<&Child>,
    neighbours: &mut Neighbours,
    watch: &Watch,
    course: &mut Course,
) -> Result<(), Box<dyn Error>> {
    neighbours.play(WARM_UP)?;
    course.memory.start = watch.now()?;
    course.memory.bound = memory::bound(course.kind, course.memory.start);
    for _ in 0..options.pairs {
        let undisturbed = neighbours.play(options.window)?.p99();
        let control = match decoy {
            Some(decoy) => Some(attacked(options, decoy, neighbours, course)?),
            None => None,
        };
        let attacked = attacked(options, server, neighbours, course)?;
        course.pairs.push(Pair {
            undisturbed,
            attacked,
            control,
        });
        course.memory.peaks.push(watch.peak());
        neighbours.play(CALM)?;
    }
    let mut waited = Duration::ZERO;
    loop {
        course.memory.end = watch.now()?;
        if course.memory.is_back() || waited >= SETTLE_MAX {
            course.memory.settled_in = waited;
            return Ok(());
        }
        neighbours.play(SETTLE_STEP)?;
        waited += SETTLE_STEP;
    }
}

/// One window under attack: the neighbours' p99, in milliseconds.
fn attacked(
    options: &Options,
    victim: &Child,
    neighbours: &mut Neighbours,
    course: &mut Course,
) -> Result<f64, Box<dyn Error>> {
    let kind = course.kind;
    let nice = if kind == Kind::Shouter { 0 } else { NICE };
    let attacker = Attacker::start(
        &options.programs.join("bennu-load"),
        &victim.url(),
        kind,
        options.window + LEAD * 2,
        nice,
    )?;
    neighbours.play(LEAD)?;
    let window = neighbours.play(options.window)?;
    // Neighbours that say nothing for long would be idle; they go on until the attack has been wound up.
    while !attacker.is_done() {
        neighbours.play(CALM)?;
    }
    let report = attacker.finish()?;
    course.add(report);
    course.lag = course.lag.max(window.lag_p99());
    Ok(window.p99())
}
