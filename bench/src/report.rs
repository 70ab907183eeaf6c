//! What a scenario found, as a table for people and as one line of JSON for the suite. A figure's unit is the end of its name.

use crate::latency::Latency;
use crate::ledger::Verdict;
use crate::process::Reading;
use serde_json::{Map, Value, json};
use std::io::Write;
use std::path::Path;

/// The figures of one run of a scenario.
#[derive(Debug)]
pub struct Report {
    scenario: &'static str,
    figures: Vec<(&'static str, f64)>,
    faults: Vec<String>,
}

impl Report {
    /// A report with no figures.
    pub fn new(scenario: &'static str) -> Self {
        Self {
            scenario,
            figures: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// Adds a figure.
    pub fn figure(&mut self, name: &'static str, value: f64) {
        self.figures.push((name, value));
    }

    /// Adds the server's CPU in all, and for each of `count` operations under these three names: both, user, system.
    pub fn cpu(&mut self, reading: &Reading, count: u64, names: [&'static str; 3]) {
        let per = |seconds: f64| {
            if count == 0 {
                0.0
            } else {
                seconds * 1e6 / count as f64
            }
        };
        let [both, user, system] = names;
        self.figure(both, per(reading.server.total()));
        self.figure(user, per(reading.server.user));
        self.figure(system, per(reading.server.system));
        self.figure("server_cpu_s", reading.server.total());
        self.figure("generator_cpu_s", reading.own.total());
        self.figure("wall_s", reading.seconds);
        self.figure("others_cpu_share", reading.others);
    }

    /// Adds the usual quantiles.
    pub fn latency(&mut self, latency: &Latency) {
        self.figure("latency_p50_us", latency.quantile_us(0.5));
        self.figure("latency_p90_us", latency.quantile_us(0.9));
        self.figure("latency_p99_us", latency.quantile_us(0.99));
        self.figure("latency_p999_us", latency.quantile_us(0.999));
        self.figure("latency_max_us", latency.max_us());
    }

    /// Adds the ledger's verdict; if it is not clean the report is a failure.
    pub fn verdict(&mut self, verdict: Verdict) {
        self.figure("ledger_delivered", verdict.delivered as f64);
        self.figure("ledger_missing", verdict.missing as f64);
        self.figure("ledger_duplicated", verdict.duplicated as f64);
        self.figure("ledger_reordered", verdict.reordered as f64);
        self.figure("ledger_invented", verdict.invented as f64);
        if !verdict.is_clean() {
            self.faults.push("the ledger is not clean".to_owned());
        }
        self.faults.extend(verdict.examples);
    }

    /// Adds something that makes the run a failure.
    pub fn fault(&mut self, text: String) {
        self.faults.push(text);
    }

    /// Whether nothing was wrong.
    pub fn is_ok(&self) -> bool {
        self.faults.is_empty()
    }

    /// The table.
    pub fn table(&self) -> String {
        let mut table = format!("{}\n", self.scenario);
        for (name, value) in &self.figures {
            let value = if value.fract() == 0.0 {
                format!("{value:.0}")
            } else {
                format!("{value:.3}")
            };
            table.push_str(&format!("  {name:<28} {value:>16}\n"));
        }
        for fault in &self.faults {
            table.push_str(&format!("  FAULT: {fault}\n"));
        }
        table
    }

    /// The JSON.
    pub fn json(&self) -> Value {
        let figures: Map<String, Value> = self
            .figures
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        json!({ "scenario": self.scenario, "ok": self.is_ok(), "faults": self.faults, "figures": figures })
    }
}

/// Appends one line of JSON to a file.
pub fn append_line(path: &Path, value: &Value) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)?;
    writeln!(file, "{value}")
}
