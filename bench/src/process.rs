//! What the kernel knows about a process: CPU time, memory, descriptors. Read from `/proc`, never estimated.

use crate::failure::Failure;
use rustix::process::{Resource, Rlimit};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// CPU time of a process so far.
#[derive(Debug, Clone, Default)]
pub struct Cpu {
    user_ticks: u64,
    system_ticks: u64,
    /// Nanoseconds on a CPU for each living thread.
    threads: BTreeMap<String, u64>,
}

impl Cpu {
    /// Reads it for a process.
    pub fn of(pid: u32) -> Result<Self, Failure> {
        let stat = read(&format!("/proc/{pid}/stat"))?;
        // The name, in brackets, may hold anything; what follows the last bracket are numbers. The first is field 3 of proc(5).
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let field = |number: usize| {
            fields
                .split_whitespace()
                .nth(number - 3)
                .and_then(|text| text.parse().ok())
                .unwrap_or(0)
        };
        let mut threads = BTreeMap::new();
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task"))
            .map_err(Failure::io("reading the threads of the server"))?;
        for task in tasks.flatten() {
            // A thread may end between the listing and the reading.
            if let Ok(schedstat) = std::fs::read_to_string(task.path().join("schedstat")) {
                let nanos = schedstat
                    .split_whitespace()
                    .next()
                    .and_then(|text| text.parse().ok())
                    .unwrap_or(0);
                threads.insert(task.file_name().to_string_lossy().into_owned(), nanos);
            }
        }
        Ok(Self {
            user_ticks: field(14),
            system_ticks: field(15),
            threads,
        })
    }

    /// What was used since `earlier`. The total is exact to the nanosecond unless a thread ended in between, then to the clock tick.
    /// How it splits into user and system is the kernel's sample, one per timer tick.
    pub fn since(&self, earlier: &Self) -> Usage {
        let (user, system) = (
            self.user_ticks - earlier.user_ticks,
            self.system_ticks - earlier.system_ticks,
        );
        let ticks = (user + system) as f64;
        let total = if earlier
            .threads
            .keys()
            .all(|thread| self.threads.contains_key(thread))
        {
            let sum = |cpu: &Self| cpu.threads.values().sum::<u64>();
            (sum(self) - sum(earlier)) as f64 / 1e9
        } else {
            ticks / rustix::param::clock_ticks_per_second() as f64
        };
        let user_share = if ticks > 0.0 {
            user as f64 / ticks
        } else {
            0.0
        };
        Usage {
            user: total * user_share,
            system: total * (1.0 - user_share),
        }
    }
}

/// CPU seconds between two readings.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Outside the kernel.
    pub user: f64,
    /// In the kernel.
    pub system: f64,
}

impl Usage {
    /// Both together.
    pub fn total(&self) -> f64 {
        self.user + self.system
    }
}

/// Resident memory of a process, in bytes; the one figure that is cheap to read often.
pub fn resident(pid: u32) -> Result<u64, Failure> {
    Ok(kilobytes(&read(&format!("/proc/{pid}/status"))?, "VmRSS:"))
}

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// Resident.
    pub rss: u64,
    /// Resident and not backed by a file: heap and stacks.
    pub rss_anon: u64,
    /// Resident, shared pages counted in proportion.
    pub pss: u64,
}

impl Memory {
    /// Reads it for a process.
    pub fn of(pid: u32) -> Result<Self, Failure> {
        let status = read(&format!("/proc/{pid}/status"))?;
        let rollup = read(&format!("/proc/{pid}/smaps_rollup"))?;
        Ok(Self {
            rss: kilobytes(&status, "VmRSS:"),
            rss_anon: kilobytes(&status, "RssAnon:"),
            pss: kilobytes(&rollup, "Pss:"),
        })
    }
}

fn kilobytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next())
        .and_then(|number| number.parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}

/// Measures a stretch of time: the server's CPU, our own, and everybody else's.
#[derive(Debug)]
pub struct Meter {
    pid: Option<u32>,
    server: Cpu,
    own: Cpu,
    machine_ticks: u64,
    started: Instant,
}

impl Meter {
    /// Starts now. Without a process id the server's part stays zero.
    pub fn start(pid: Option<u32>) -> Result<Self, Failure> {
        Ok(Self {
            pid,
            server: pid.map_or_else(|| Ok(Cpu::default()), Cpu::of)?,
            own: Cpu::of(std::process::id())?,
            machine_ticks: machine_ticks()?,
            started: Instant::now(),
        })
    }

    /// What the server has used since the start.
    pub fn server(&self) -> Result<Usage, Failure> {
        self.pid.map_or_else(
            || Ok(Usage::default()),
            |pid| Ok(Cpu::of(pid)?.since(&self.server)),
        )
    }

    /// How long ago the start was.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Everything since the start.
    pub fn read(&self) -> Result<Reading, Failure> {
        let server = self.server()?;
        let own = Cpu::of(std::process::id())?.since(&self.own);
        let seconds = self.elapsed().as_secs_f64();
        let busy = machine_ticks()?.saturating_sub(self.machine_ticks) as f64
            / rustix::param::clock_ticks_per_second() as f64;
        let cpus = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let others = (busy - server.total() - own.total()).max(0.0) / (seconds * cpus);
        Ok(Reading {
            server,
            own,
            seconds,
            others,
        })
    }
}

/// What a [`Meter`] found.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// The server's CPU.
    pub server: Usage,
    /// The load generator's CPU.
    pub own: Usage,
    /// The time that passed.
    pub seconds: f64,
    /// The share of the machine that neither of both used: a measure of the noise.
    pub others: f64,
}

fn machine_ticks() -> Result<u64, Failure> {
    let stat = read("/proc/stat")?;
    let ticks: Vec<u64> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|text| text.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal; guest time is part of user.
    Ok(ticks.iter().take(8).sum::<u64>() - ticks.iter().skip(3).take(2).sum::<u64>())
}

fn read(path: &str) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(Failure::io("reading /proc of the server"))
}

/// Raises the limit of open descriptors to what the system allows; children inherit it. Returns the limit.
pub fn raise_descriptor_limit() -> Result<u64, Failure> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    rustix::process::setrlimit(Resource::Nofile, raised)
        .map_err(Failure::io("raising the descriptor limit"))?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// Lets waits end when they should: by default the kernel may add 50 µs to each.
pub fn wake_up_in_time() -> Result<(), Failure> {
    let nanosecond = std::num::NonZeroU64::MIN;
    rustix::thread::set_current_timer_slack(Some(nanosecond))
        .map_err(Failure::io("setting the timer slack"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_itself() {
        let meter = Meter::start(Some(std::process::id())).unwrap();
        let mut sum = 0u64;
        while meter.elapsed() < Duration::from_millis(120) {
            sum = sum.wrapping_mul(31).wrapping_add(1);
        }
        assert_ne!(sum, 1);
        assert!(meter.read().unwrap().seconds >= 0.12);
        let memory = Memory::of(std::process::id()).unwrap();
        assert!(memory.rss >= memory.rss_anon && memory.rss_anon > 0 && memory.pss > 0);
    }

    #[test]
    fn splits_a_difference() {
        let before = Cpu {
            user_ticks: 10,
            system_ticks: 10,
            threads: BTreeMap::from([("1".to_owned(), 500)]),
        };
        let threads = BTreeMap::from([
            ("1".to_owned(), 1_000_000_500),
            ("2".to_owned(), 1_000_000_000),
        ]);
        let after = Cpu {
            user_ticks: 60,
            system_ticks: 160,
            threads,
        };
        let usage = after.since(&before);
        assert!((usage.total() - 2.0).abs() < 1e-9);
        assert!((usage.user - 0.5).abs() < 1e-9);
        let ended = Cpu {
            threads: BTreeMap::new(),
            ..after
        };
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        assert!((ended.since(&before).total() - 200.0 / ticks).abs() < 1e-9);
    }
}
