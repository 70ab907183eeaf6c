//! Child processes of the suite: a program under test, and the load generator that is turned on it. Each is ended by its own id,
//! whatever happens.

use super::certificate::Certificate;
use super::{Item, Outcome, Subject};
use serde_json::{Map, Value};
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long a program may take to listen.
const START_MAX: Duration = Duration::from_secs(15);
/// How long one scenario may take; the load generator keeps to it by itself.
const PLAY_MAX: Duration = Duration::from_secs(300);

/// A process that does not outlive this value.
#[derive(Debug)]
pub(crate) struct Owned(pub(crate) std::process::Child);

impl Drop for Owned {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A program under test that listens.
#[derive(Debug)]
pub struct Child {
    process: Owned,
    address: String,
    /// Whom clients must trust, if it speaks TLS.
    authority: Option<PathBuf>,
}

impl Child {
    /// Starts it and waits for its line `listening on http://ADDRESS`.
    pub fn start(program: &Path, arguments: &[&str]) -> Result<Self, Box<dyn Error>> {
        Self::spawn(Command::new(program).args(arguments), "http")
    }

    /// The same with TLS, asked for by `--tls-cert FILE --tls-key FILE`; its line must then say `https`. It must not outlive the
    /// certificate.
    pub fn start_with_tls(
        program: &Path,
        arguments: &[&str],
        certificate: &Certificate,
    ) -> Result<Self, Box<dyn Error>> {
        let authority = certificate.chain();
        let mut command = Command::new(program);
        command.args(arguments).arg("--tls-cert").arg(&authority);
        command.arg("--tls-key").arg(certificate.key());
        Ok(Self {
            authority: Some(authority),
            ..Self::spawn(&mut command, "https")?
        })
    }

    /// The same, with nowhere for its log to go, since an attack may make it say a lot, and with these variables.
    pub fn start_quietly(
        program: &Path,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<Self, Box<dyn Error>> {
        Self::spawn(
            Command::new(program)
                .args(arguments)
                .envs(variables.iter().copied())
                .stderr(Stdio::null()),
            "http",
        )
    }

    fn spawn(command: &mut Command, scheme: &str) -> Result<Self, Box<dyn Error>> {
        let program = command.get_program().to_os_string();
        let program = Path::new(&program);
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("starting {}: {error}", program.display()))?;
        let mut process = Owned(process);
        let output = process.0.stdout.take().ok_or("no standard output")?;
        let (sender, receiver) = mpsc::channel();
        // With the scheme, so that nobody is taken to speak TLS who does not.
        let sign = format!("listening on {scheme}://");
        // Goes on reading to the end, so that the program never waits for us to.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some(address) = line.strip_prefix(&sign) {
                    let _ = sender.send(address.trim().to_owned());
                }
            }
        });
        let address = receiver.recv_timeout(START_MAX).map_err(|_| {
            format!(
                "{} ended, or did not say within {START_MAX:?} that it listens on {scheme}://",
                program.display()
            )
        })?;
        Ok(Self {
            process,
            address,
            authority: None,
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Where its socket is.
    pub fn url(&self) -> String {
        let scheme = if self.authority.is_some() {
            "wss"
        } else {
            "ws"
        };
        format!("{scheme}://{}/socket/websocket?vsn=2.0.0", self.address)
    }
}

/// Turns the load generator on a program.
pub fn play(
    load: &Path,
    child: &Child,
    run: usize,
    subject: Subject,
    item: &Item,
) -> Result<Outcome, Box<dyn Error>> {
    let json = std::env::temp_dir().join(format!("bennu-bench-{}.json", std::process::id()));
    let mut generator = Command::new(load);
    if let Some(authority) = &child.authority {
        generator.arg("--ca").arg(authority);
    }
    let generator = generator
        .args(&item.arguments)
        .args([
            "--url",
            &child.url(),
            "--pid",
            &child.pid().to_string(),
            "--timeout",
            &PLAY_MAX.as_secs().to_string(),
        ])
        .arg("--json")
        .arg(&json)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| format!("starting {}: {error}", load.display()))?;
    let mut generator = Owned(generator);
    let until = Instant::now() + PLAY_MAX + Duration::from_secs(30);
    let status = loop {
        if let Some(status) = generator.0.try_wait()? {
            break status;
        }
        if Instant::now() > until {
            return Err(format!("{} did not end", load.display()).into());
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let text = std::fs::read_to_string(&json)
        .map_err(|error| format!("bennu-load ended with {status} and no results: {error}"))?;
    std::fs::remove_file(&json)?;
    let Value::Object(mut report) = serde_json::from_str(&text)? else {
        return Err("the results are not an object".into());
    };
    let faults = report
        .get("faults")
        .and_then(Value::as_array)
        .map_or_else(Vec::new, |faults| {
            faults
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        });
    let figures = match report.remove("figures") {
        Some(Value::Object(figures)) => figures,
        _ => Map::new(),
    };
    Ok(Outcome {
        run,
        item: item.name,
        subject,
        ok: status.success(),
        faults,
        figures,
    })
}
