//! What comes out of the suite: the table with medians and ranges, the machine it was measured on, and the two files.

use super::{Item, Options, Outcome, Subject};
use serde::Serialize;
use serde_json::json;
use std::fmt::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Median, least and greatest of some values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The value in the middle, or the mean of both.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// `None` of no values.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { median, min, max })
    }
}

/// One line of the table.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The item.
    pub item: &'static str,
    /// The figure.
    pub figure: &'static str,
    /// Whom the server is compared with.
    pub against: Option<Subject>,
    /// Of whom it is compared with.
    pub base: Option<Spread>,
    /// Of the server.
    pub server: Option<Spread>,
    /// Server to base, run by run.
    pub ratio: Option<Spread>,
}

/// The table.
pub fn rows(plan: &[Item], outcomes: &[Outcome]) -> Vec<Row> {
    let mut rows = Vec::new();
    for item in plan {
        for figure in item.figures {
            let of = |subject| {
                move |outcome: &&Outcome| {
                    outcome.item == item.name
                        && Some(outcome.subject) == subject
                        && outcome.figure(figure).is_some()
                }
            };
            let values = |subject| {
                outcomes
                    .iter()
                    .filter(of(subject))
                    .filter_map(|outcome| outcome.figure(figure))
                    .collect()
            };
            let ratios = outcomes
                .iter()
                .filter(of(Some(Subject::Server)))
                .filter_map(|server| {
                    let base = outcomes
                        .iter()
                        .filter(of(item.against))
                        .find(|base| base.run == server.run)?;
                    let base = base.figure(figure).filter(|base| *base > 0.0)?;
                    Some(server.figure(figure)? / base)
                });
            rows.push(Row {
                item: item.name,
                figure,
                against: item.against,
                base: Spread::of(values(item.against)),
                server: Spread::of(values(Some(Subject::Server))),
                ratio: Spread::of(ratios.collect()),
            });
        }
    }
    rows
}

/// The table in Markdown, which people can read as it stands; what was compared with the server without TLS has a table of its own.
pub fn table(rows: &[Row]) -> String {
    let (tls, plain): (Vec<&Row>, Vec<&Row>) = rows
        .iter()
        .partition(|row| row.against == Some(Subject::Plain));
    let tables = [
        (plain, ["server", "floor", "server / floor"]),
        (tls, ["TLS", "plain", "TLS / plain"]),
    ];
    let tables: Vec<String> = tables
        .iter()
        .filter(|(rows, _)| !rows.is_empty())
        .map(|(rows, subjects)| table_of(rows, *subjects))
        .collect();
    tables.join("\n")
}

fn table_of(rows: &[&Row], subjects: [&str; 3]) -> String {
    let cell = |spread: Option<Spread>| {
        spread.map_or_else(String::new, |Spread { median, min, max }| {
            let digits = match median.abs() {
                small if small < 100.0 => 2,
                _ => 0,
            };
            format!("{median:.digits$} ({min:.digits$}–{max:.digits$})")
        })
    };
    let [server, base, ratio] = subjects;
    let head = ["scenario", "figure", server, base, ratio].map(str::to_owned);
    let mut lines = vec![head, std::array::from_fn(|_| "---".to_owned())];
    for row in rows {
        lines.push([
            row.item.to_owned(),
            row.figure.to_owned(),
            cell(row.server),
            cell(row.base),
            cell(row.ratio),
        ]);
    }
    let width = |column: usize| {
        lines
            .iter()
            .map(|line| line[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: [usize; 5] = std::array::from_fn(width);
    let mut table = String::new();
    for line in &lines {
        for (text, width) in line.iter().zip(widths) {
            let _ = write!(table, "| {text:width$} ");
        }
        table.push_str("|\n");
    }
    table
}

/// Verdicts in words: one line if all is well, otherwise every fault.
pub fn verdicts(outcomes: &[Outcome]) -> String {
    let bad: Vec<_> = outcomes.iter().filter(|outcome| !outcome.ok).collect();
    let delivered: f64 = outcomes
        .iter()
        .filter_map(|outcome| outcome.figure("ledger_delivered"))
        .sum();
    if bad.is_empty() {
        return format!(
            "Every answer was right in all {} playings, and the ledger is clean: {delivered:.0} deliveries, each exactly once and in order.\n",
            outcomes.len()
        );
    }
    let mut text = format!(
        "FAULTS in {} of {} playings:\n\n",
        bad.len(),
        outcomes.len()
    );
    for outcome in bad {
        for fault in &outcome.faults {
            let _ = writeln!(
                text,
                "- run {}, {}, {:?}: {fault}",
                outcome.run, outcome.item, outcome.subject
            );
        }
    }
    text
}

/// Where and when it was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    date: String,
    processor: String,
    processors: usize,
    memory_kilobytes: String,
    kernel: String,
    load_average_before: String,
    load_average_after: String,
}

impl Machine {
    /// Looks at this machine, before the suite.
    pub fn look() -> Self {
        let field = |path: &str, name: &str| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let line = text
                .lines()
                .find(|line| line.starts_with(name))
                .unwrap_or_default();
            line.split_once(':')
                .map_or_else(String::new, |(_, value)| value.trim().to_owned())
        };
        Self {
            date: date(
                SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |since| since.as_secs()),
            ),
            processor: field("/proc/cpuinfo", "model name"),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            memory_kilobytes: field("/proc/meminfo", "MemTotal"),
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")
                .unwrap_or_default()
                .trim()
                .to_owned(),
            load_average_before: load_average(),
            load_average_after: String::new(),
        }
    }

    /// Looks at the load once more, after the suite.
    pub fn look_again(&mut self) {
        self.load_average_after = load_average();
    }
}

fn load_average() -> String {
    std::fs::read_to_string("/proc/loadavg")
        .unwrap_or_default()
        .split_whitespace()
        .take(3)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Year, month and day of a Unix time, in UTC.
fn date(seconds: u64) -> String {
    // Days since 1 March of year 0, so that a leap day ends its year.
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

/// Everything that a results file holds.
#[derive(Debug)]
pub struct Results<'a> {
    /// The name of the files.
    pub name: &'a str,
    /// What was asked for.
    pub options: &'a Options,
    /// Where it was measured.
    pub machine: &'a Machine,
    /// The items.
    pub plan: &'a [Item],
    /// What they gave.
    pub outcomes: &'a [Outcome],
}

impl Results<'_> {
    /// Writes `NAME.md` and `NAME.json` into a directory.
    pub fn write(&self, directory: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(directory)?;
        std::fs::write(directory.join(format!("{}.md", self.name)), self.markdown())?;
        let json = json!({
            "name": self.name,
            "machine": self.machine,
            "server": self.options.server,
            "runs": self.options.runs,
            "plan": self.plan,
            "summary": rows(self.plan, self.outcomes),
            "outcomes": self.outcomes,
        });
        std::fs::write(
            directory.join(format!("{}.json", self.name)),
            format!("{json:#}\n"),
        )
    }

    fn markdown(&self) -> String {
        let Machine {
            date,
            processor,
            processors,
            memory_kilobytes,
            kernel,
            load_average_before,
            load_average_after,
        } = self.machine;
        let server = self
            .options
            .server
            .as_ref()
            .map_or_else(|| "none".to_owned(), |server| server.display().to_string());
        let noise = self
            .outcomes
            .iter()
            .filter_map(|outcome| outcome.figure("others_cpu_share"));
        let noise = Spread::of(noise.collect()).map_or_else(String::new, |Spread { median, max, .. }| {
            format!("other processes took {:.0} % of the machine in the middle and {:.0} % at worst", median * 100.0, max * 100.0)
        });
        let mut text = format!(
            "# Results: {name}\n\n{date}, {runs} run(s), median (least–greatest). Server: `{server}`.\n\n{table}\n{verdicts}\n\
             ## Machine\n\n- {processor}, {processors} processors, {memory_kilobytes}\n- Linux {kernel}\n\
             - load average {load_average_before} before, {load_average_after} after; while measuring, {noise}\n\n\
             ## Commands\n\nEach against a fresh process, with `--url` and `--pid` of that process:\n\n```\n",
            name = self.name,
            runs = self.options.runs,
            table = table(&rows(self.plan, self.outcomes)),
            verdicts = verdicts(self.outcomes),
        );
        for item in self.plan {
            let note = if item.is_over_tls() {
                " # without TLS, and with wss:// and --ca"
            } else {
                ""
            };
            let _ = writeln!(text, "bennu-load {}{note}", item.arguments.join(" "));
        }
        text.push_str("```\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(run: usize, subject: Subject, value: f64) -> Outcome {
        let figures = [("cpu".to_owned(), json!(value))].into_iter().collect();
        Outcome {
            run,
            item: "echo",
            subject,
            ok: true,
            faults: Vec::new(),
            figures,
        }
    }

    #[test]
    fn ratios_are_paired_by_run() {
        let plan = [Item {
            name: "echo",
            arguments: Vec::new(),
            against: Some(Subject::Floor),
            figures: &["cpu"],
        }];
        let outcomes = [
            outcome(1, Subject::Floor, 5.0),
            outcome(1, Subject::Server, 10.0),
            outcome(2, Subject::Floor, 10.0),
            outcome(2, Subject::Server, 20.0),
            outcome(3, Subject::Floor, 6.0),
            outcome(3, Subject::Server, 9.0),
        ];
        let rows = rows(&plan, &outcomes);
        assert_eq!(
            rows[0].base,
            Some(Spread {
                median: 6.0,
                min: 5.0,
                max: 10.0
            })
        );
        assert_eq!(
            rows[0].server,
            Some(Spread {
                median: 10.0,
                min: 9.0,
                max: 20.0
            })
        );
        assert_eq!(
            rows[0].ratio,
            Some(Spread {
                median: 2.0,
                min: 1.5,
                max: 2.0
            })
        );
        assert!(
            table(&rows).contains("| 2.00 (1.50–2.00) |"),
            "{}",
            table(&rows)
        );
    }

    #[test]
    fn tls_is_compared_with_the_same_without() {
        let item = |name, against| Item {
            name,
            arguments: Vec::new(),
            against: Some(against),
            figures: &["cpu"],
        };
        let plan = [
            item("echo", Subject::Floor),
            item("tls-echo", Subject::Plain),
        ];
        let over_tls = |subject, value| Outcome {
            item: "tls-echo",
            ..outcome(1, subject, value)
        };
        let outcomes = [
            outcome(1, Subject::Floor, 5.0),
            outcome(1, Subject::Server, 10.0),
            over_tls(Subject::Plain, 10.0),
            over_tls(Subject::Server, 13.0),
        ];
        let table = table(&rows(&plan, &outcomes));
        let (floor, plain) = table.split_once("\n\n").unwrap();
        assert!(
            floor.contains("| server / floor ") && floor.contains("| 2.00 (2.00–2.00) |"),
            "{table}"
        );
        assert!(
            plain.contains("| TLS / plain ") && plain.contains("| 1.30 (1.30–1.30) |"),
            "{table}"
        );
    }

    #[test]
    fn a_fault_is_never_left_out() {
        let mut bad = outcome(1, Subject::Server, 1.0);
        bad.ok = false;
        bad.faults.push("stream 3: message 4 came again".to_owned());
        let text = verdicts(&[outcome(1, Subject::Floor, 1.0), bad]);
        assert!(
            text.contains("FAULTS in 1 of 2") && text.contains("stream 3: message 4 came again")
        );
    }

    #[test]
    fn dates() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(951_782_400), "2000-02-29");
        assert_eq!(date(1_798_675_200), "2026-12-31");
    }
}
