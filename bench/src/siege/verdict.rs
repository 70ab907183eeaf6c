//! What came of an attack, and whether it is good enough.

use super::attacker::Report;
use super::memory::{Memory, mib};
use crate::scenario::hostile::Kind;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Under attack the neighbours' p99 may be so many times what it is without one, ...
const TIMES_MAX: f64 = 2.0;
/// ... or so many milliseconds more, whichever is more.
const MORE_MAX_MS: f64 = 5.0;
/// Undisturbed windows that differ by more than this say that the machine is noisy.
const NOISY_TIMES: f64 = 3.0;
const FAULTS_MAX: usize = 10;

/// The neighbours' p99 in windows that lie close together, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    /// Without an attack.
    pub undisturbed: f64,
    /// With it.
    pub attacked: f64,
    /// While the same attack went to another server.
    pub control: Option<f64>,
}

/// Everything about one kind of attack.
#[derive(Debug)]
pub struct Course {
    /// Which.
    pub kind: Kind,
    /// The windows.
    pub pairs: Vec<Pair>,
    /// The server's memory.
    pub memory: Memory,
    /// How late the neighbours' pushes left at worst, p99 of a window under attack, in milliseconds.
    pub lag: f64,
    /// What the attackers counted, all attacks together.
    pub counts: BTreeMap<String, f64>,
    /// What the attackers or the neighbours found wrong.
    pub faults: Vec<String>,
}

impl Course {
    /// Nothing yet.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            pairs: Vec::new(),
            memory: Memory::default(),
            lag: 0.0,
            counts: BTreeMap::new(),
            faults: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, report: Report) {
        for (name, count) in report.counts {
            *self.counts.entry(name).or_default() += count;
        }
        self.faults.extend(report.faults);
        self.faults.truncate(FAULTS_MAX);
    }

    /// Median without an attack.
    pub fn undisturbed(&self) -> f64 {
        median(self.pairs.iter().map(|pair| pair.undisturbed))
    }

    /// Median under attack.
    pub fn attacked(&self) -> f64 {
        median(self.pairs.iter().map(|pair| pair.attacked))
    }

    /// Median while another server was attacked; 0 if that was not played.
    pub fn control(&self) -> f64 {
        median(self.pairs.iter().filter_map(|pair| pair.control))
    }

    /// The most that the median under attack may be.
    pub fn allowed(&self) -> f64 {
        let undisturbed = self.undisturbed();
        (undisturbed * TIMES_MAX).max(undisturbed + MORE_MAX_MS)
    }

    /// Whether the latency counts. A thousand readers on the machine of the server leave little of it for others, whoever the server is.
    pub fn is_timed(&self) -> bool {
        self.kind != Kind::Shouter
    }

    /// Whether the neighbours noticed too much.
    pub fn is_slow(&self) -> bool {
        self.is_timed() && self.attacked() > self.allowed()
    }

    /// What is wrong apart from the latency: noise is no excuse for it.
    pub fn wrongs(&self) -> Vec<String> {
        let mut wrongs = self.faults.clone();
        wrongs.extend(self.memory.faults());
        if self.pairs.is_empty() && wrongs.is_empty() {
            wrongs.push("nothing was measured".to_owned());
        }
        wrongs
    }

    /// Whether everything is as it should be.
    pub fn is_ok(&self) -> bool {
        !self.is_slow() && self.wrongs().is_empty()
    }

    /// Whether the undisturbed windows agree with one another so little that the machine must be busy with something else.
    pub fn is_noisy(&self) -> bool {
        let all = || self.pairs.iter().map(|pair| pair.undisturbed);
        all().fold(0.0, f64::max) > NOISY_TIMES * all().fold(f64::INFINITY, f64::min)
    }

    /// Everything in words.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.kind.name());
        for (number, pair) in self.pairs.iter().enumerate() {
            let control = pair
                .control
                .map(|control| format!(", another server attacked {control:.2} ms"))
                .unwrap_or_default();
            let _ = writeln!(
                text,
                "  pair {}: p99 undisturbed {:.2} ms{control}, attacked {:.2} ms",
                number + 1,
                pair.undisturbed,
                pair.attacked
            );
        }
        let _ = writeln!(
            text,
            "  median: undisturbed {:.2} ms, attacked {:.2} ms, {} {:.2} ms; pushes late by up to {:.2} ms",
            self.undisturbed(),
            self.attacked(),
            if self.is_timed() {
                "allowed"
            } else {
                "not judged; would be"
            },
            self.allowed(),
            self.lag
        );
        let memory = &self.memory;
        let peaks: Vec<String> = memory.peaks.iter().map(|peak| mib(*peak)).collect();
        let _ = writeln!(
            text,
            "  memory: start {}, peak {} (after each attack {}), bound {}, {} after {:.1} s",
            mib(memory.start),
            mib(memory.peak),
            peaks.join(", "),
            mib(memory.bound),
            mib(memory.end),
            memory.settled_in.as_secs_f64()
        );
        let counts = self
            .counts
            .iter()
            .filter(|(name, _)| *name != "connections");
        let counts: Vec<String> = counts
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        let _ = writeln!(text, "  attackers: {}", counts.join(", "));
        if self.is_noisy() {
            let _ = writeln!(text, "  NOISY: the undisturbed windows differ widely");
        }
        if self.is_slow() {
            let _ = writeln!(
                text,
                "  FAULT: the neighbours' p99 is beyond what is allowed"
            );
        }
        for wrong in self.wrongs() {
            let _ = writeln!(text, "  FAULT: {wrong}");
        }
        text
    }

    /// One line of the table.
    pub fn row(&self) -> String {
        let control = if self.pairs.iter().any(|pair| pair.control.is_some()) {
            format!("{:.2}", self.control())
        } else {
            "-".to_owned()
        };
        let verdict = match (self.is_ok(), self.is_timed(), self.is_noisy()) {
            (false, ..) => "FAULT",
            (true, false, _) => "ok (latency not judged)",
            (true, true, true) => "ok (noisy)",
            (true, true, false) => "ok",
        };
        format!(
            "| {} | {:.2} | {control} | {:.2} | {:.2} | {} | {} | {} | {verdict} |",
            self.kind.name(),
            self.undisturbed(),
            self.attacked(),
            self.allowed(),
            mib(self.memory.peak),
            mib(self.memory.bound),
            mib(self.memory.end)
        )
    }

    /// The heads of the columns of [`row`](Self::row).
    pub fn head() -> &'static str {
        "| attack | undisturbed p99, ms | other server attacked | attacked | allowed | peak memory | bound | at the end | verdict |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |"
    }

    /// The JSON.
    pub fn json(&self) -> Value {
        let pairs: Vec<Value> = self
            .pairs
            .iter()
            .map(|pair| json!([pair.undisturbed, pair.attacked, pair.control]))
            .collect();
        json!({
            "kind": self.kind.name(),
            "ok": self.is_ok(),
            "pairs_undisturbed_attacked_control_ms": pairs,
            "rss_start_bytes": self.memory.start,
            "rss_peak_bytes": self.memory.peak,
            "rss_peaks_bytes": self.memory.peaks,
            "rss_end_bytes": self.memory.end,
            "rss_bound_bytes": self.memory.bound,
            "lag_ms": self.lag,
            "attackers": self.counts,
            "faults": self.wrongs(),
        })
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.as_slice() {
        [] => 0.0,
        odd if odd.len() % 2 == 1 => odd[middle],
        even => f64::midpoint(even[middle - 1], even[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(kind: Kind, pairs: &[(f64, f64)]) -> Course {
        let mut course = Course::new(kind);
        course.pairs = pairs
            .iter()
            .map(|&(undisturbed, attacked)| Pair {
                undisturbed,
                attacked,
                control: None,
            })
            .collect();
        course
    }

    #[test]
    fn the_median_decides_and_not_the_worst() {
        let fine = course(Kind::Garbage, &[(1.0, 2.0), (1.0, 900.0), (1.0, 5.9)]);
        assert!((fine.attacked() - 5.9).abs() < 1e-9);
        assert!(fine.is_ok() && !fine.is_noisy());
        assert!(course(Kind::Garbage, &[(1.0, 6.1)]).is_slow());
        assert!(!course(Kind::Garbage, &[(20.0, 39.0), (20.0, 39.5)]).is_slow());
    }

    #[test]
    fn a_shouter_is_not_judged_by_the_clock_but_by_its_faults() {
        let mut shouter = course(Kind::Shouter, &[(1.0, 900.0)]);
        assert!(shouter.is_ok());
        shouter.faults.push("one is missing".to_owned());
        assert!(!shouter.is_ok());
    }

    #[test]
    fn noise_is_told() {
        assert!(course(Kind::Garbage, &[(1.0, 1.0), (3.1, 1.0)]).is_noisy());
    }

    #[test]
    fn nothing_measured_is_a_fault() {
        assert!(!Course::new(Kind::Garbage).is_ok());
    }
}
