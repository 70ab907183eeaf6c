//! An attack as a process of its own: `bennu-load hostile`, from its first word to its report.

use crate::scenario::hostile::Kind;
use crate::suite::child::Owned;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long it may take until everything is in place.
const READY_MAX: Duration = Duration::from_secs(60);
/// How long it may take, once time is up, until the last answer has come.
const WIND_UP_MAX: Duration = Duration::from_secs(60);

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// What an attack says it did, and what it found wrong.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Counts by name.
    pub counts: BTreeMap<String, f64>,
    /// In words.
    pub faults: Vec<String>,
}

/// An attack under way.
#[derive(Debug)]
pub(super) struct Attacker {
    process: RefCell<Owned>,
    json: PathBuf,
    until: Instant,
}

impl Attacker {
    /// Starts it, and waits until it is in place.
    pub(super) fn start(
        load: &Path,
        url: &str,
        kind: Kind,
        time: Duration,
        nice: i32,
    ) -> Result<Self, Box<dyn Error>> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let json = std::env::temp_dir().join(format!(
            "bennu-hostile-{}-{number}.json",
            std::process::id()
        ));
        let process = Command::new(load)
            .args(["hostile", "--kind", kind.name(), "--url", url])
            .args(["--seconds", &time.as_secs_f64().to_string()])
            .args(["--nice", &nice.to_string()])
            .arg("--json")
            .arg(&json)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("starting {}: {error}", load.display()))?;
        let mut process = Owned(process);
        let output = process.0.stdout.take().ok_or("no standard output")?;
        let (sender, receiver) = mpsc::channel();
        // Goes on reading to the end, so that the attack never waits for us to.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if line == "attacking" {
                    let _ = sender.send(());
                }
            }
        });
        // An attack that ends before it begins has a report that says why; the channel closes then.
        if receiver.recv_timeout(READY_MAX) == Err(mpsc::RecvTimeoutError::Timeout) {
            return Err(format!("{} was not in place within {READY_MAX:?}", kind.name()).into());
        }
        Ok(Self {
            process: RefCell::new(process),
            json,
            until: Instant::now() + time + WIND_UP_MAX,
        })
    }

    /// Whether it has ended, or should have long ago.
    pub(super) fn is_done(&self) -> bool {
        let ended = self.process.borrow_mut().0.try_wait();
        !matches!(ended, Ok(None)) || Instant::now() > self.until
    }

    /// What it says at the end.
    pub(super) fn finish(self) -> Result<Report, Box<dyn Error>> {
        let Some(status) = self.process.borrow_mut().0.try_wait()? else {
            return Err("the attack did not end".into());
        };
        let text = std::fs::read_to_string(&self.json)
            .map_err(|error| format!("an attack ended with {status} and no report: {error}"))?;
        std::fs::remove_file(&self.json)?;
        let report: Value = serde_json::from_str(&text)?;
        let counts = report["figures"].as_object().into_iter().flatten();
        let faults = report["faults"].as_array().into_iter().flatten();
        Ok(Report {
            counts: counts
                .filter_map(|(name, count)| Some((name.clone(), count.as_f64()?)))
                .collect(),
            faults: faults
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
        })
    }
}
