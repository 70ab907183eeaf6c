//! The steps of a run: their order, their timing, and the summary at the end.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use crate::{Options, setup, shell::Workspace, steps, tidy};

/// How a step ended, if it did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// With the reason, which the summary repeats: what was not checked must not look like it was.
    Skipped(String),
}

type Action = Box<dyn Fn(&Workspace) -> Result<Outcome, String>>;

/// Steps that run one after the other until one fails.
pub(crate) struct Suite {
    steps: Vec<(&'static str, Action)>,
    from: Option<String>,
    only: Vec<String>,
    list: bool,
}

impl Suite {
    pub(crate) fn everything(options: &Options) -> Self {
        let fuzz_seconds = options.fuzz_seconds;
        Self::new(options)
            .step("setup", |workspace| setup::run(workspace).map(passed))
            .step("fmt", steps::fmt)
            .step("tidy", |workspace| tidy::run(workspace).map(passed))
            .step("clippy", steps::clippy)
            .step("deny", steps::deny)
            .step("advisories", steps::advisories)
            .step("nextest", steps::nextest)
            .step("doctest", steps::doctest)
            .step("rustdoc", steps::rustdoc)
            .step("proto", steps::proto)
            .step("wasm", steps::wasm)
            .step("readme", steps::readme)
            .step("fuzz", move |workspace| {
                steps::fuzz(workspace, fuzz_seconds)
            })
            .step("playground", steps::playground)
            .step("hostile", steps::hostile)
            .step("interop", steps::interop)
            .step("browser", steps::browser)
    }

    pub(crate) fn interop(options: &Options) -> Self {
        Self::new(options)
            .step("setup", |workspace| setup::run(workspace).map(passed))
            .step("playground", steps::playground)
            .step("interop", steps::interop)
            .step("browser", steps::browser)
    }

    pub(crate) fn fuzz(options: &Options) -> Self {
        let fuzz_seconds = options.fuzz_seconds;
        Self::new(options).step("fuzz", move |workspace| {
            steps::fuzz(workspace, fuzz_seconds)
        })
    }

    fn new(options: &Options) -> Self {
        Self {
            steps: Vec::new(),
            from: options.from.clone(),
            only: options.only.clone(),
            list: options.list,
        }
    }

    fn step(
        mut self,
        name: &'static str,
        action: impl Fn(&Workspace) -> Result<Outcome, String> + 'static,
    ) -> Self {
        self.steps.push((name, Box::new(action)));
        self
    }

    pub(crate) fn run(self, workspace: &Workspace) -> Result<(), String> {
        if self.list {
            self.steps.iter().for_each(|(name, _)| println!("{name}"));
            return Ok(());
        }
        let begun = Instant::now();
        let mut lines = Vec::new();
        let mut failure = None;
        for (name, action) in self.chosen()? {
            println!(
                "\n━━━ {name} {}",
                "━".repeat(72_usize.saturating_sub(name.len()))
            );
            let step = Instant::now();
            let outcome = action(workspace);
            lines.push((*name, outcome.clone(), step.elapsed()));
            if let Err(message) = outcome {
                failure = Some(format!("{name}: {message}"));
                break;
            }
        }
        println!("\n{}", summary(&lines, begun.elapsed()));
        failure.map_or(Ok(()), Err)
    }

    /// The steps that were asked for, in our order.
    fn chosen(&self) -> Result<Vec<&(&'static str, Action)>, String> {
        let known = |wanted: &String| self.steps.iter().any(|(name, _)| name == wanted);
        if let Some(unknown) = self
            .from
            .iter()
            .chain(&self.only)
            .find(|wanted| !known(wanted))
        {
            return Err(format!("no step `{unknown}`; --list names them"));
        }
        let from = self
            .steps
            .iter()
            .position(|(name, _)| Some(*name) == self.from.as_deref())
            .unwrap_or(0);
        let wanted = |(name, _): &&(&'static str, Action)| {
            self.only.is_empty() || self.only.iter().any(|only| only == name)
        };
        Ok(self.steps[from..].iter().filter(wanted).collect())
    }
}

fn passed((): ()) -> Outcome {
    Outcome::Passed
}

fn summary(lines: &[(&str, Result<Outcome, String>, Duration)], total: Duration) -> String {
    let mut text = String::from("step         result        seconds\n");
    for (name, outcome, took) in lines {
        let (result, why) = match outcome {
            Ok(Outcome::Passed) => ("passed", String::new()),
            Ok(Outcome::Skipped(why)) => ("skipped", format!("  {why}")),
            Err(message) => (
                "FAILED",
                format!("  {}", message.lines().next().unwrap_or_default()),
            ),
        };
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{name:<12} {result:<12} {:>8.1}{why}",
            took.as_secs_f64()
        );
    }
    let _ = write!(
        text,
        "{:<12} {:<12} {:>8.1}",
        "all",
        "",
        total.as_secs_f64()
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite(from: Option<&str>, only: &[&str]) -> Suite {
        let options = Options {
            fuzz_seconds: 0,
            from: from.map(str::to_owned),
            only: only.iter().map(|&step| step.to_owned()).collect(),
            list: false,
        };
        Suite::everything(&options)
    }

    fn names(suite: &Suite) -> Result<Vec<&'static str>, String> {
        suite
            .chosen()
            .map(|steps| steps.iter().map(|(name, _)| *name).collect())
    }

    #[test]
    fn from_leaves_out_what_comes_before() {
        assert_eq!(
            names(&suite(Some("interop"), &[])),
            Ok(vec!["interop", "browser"])
        );
    }

    #[test]
    fn only_keeps_our_order() {
        assert_eq!(
            names(&suite(None, &["clippy", "fmt"])),
            Ok(vec!["fmt", "clippy"])
        );
    }

    #[test]
    fn an_unknown_step_is_named() {
        assert_eq!(
            names(&suite(None, &["frm"])),
            Err("no step `frm`; --list names them".to_owned())
        );
    }

    #[test]
    fn the_summary_tells_what_was_left_out() {
        let lines = [
            ("fmt", Ok(Outcome::Passed), Duration::from_millis(1250)),
            (
                "wasm",
                Ok(Outcome::Skipped("no target".to_owned())),
                Duration::ZERO,
            ),
            (
                "deny",
                Err("no licence\nmore".to_owned()),
                Duration::from_secs(2),
            ),
        ];
        let text = summary(&lines, Duration::from_secs(4));
        let table: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(table[1], ["fmt", "passed", "1.2"]);
        assert_eq!(table[2], ["wasm", "skipped", "0.0", "no", "target"]);
        assert_eq!(table[3], ["deny", "FAILED", "2.0", "no", "licence"]);
        assert_eq!(table[4], ["all", "4.0"]);
    }
}
