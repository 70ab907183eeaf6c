//! Running other programs, and asking whether they are there.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How often a program with a limit is looked at.
const POLL: Duration = Duration::from_millis(50);

/// Where we are, and how cargo is called here.
#[derive(Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
    cargo: PathBuf,
    incremental: bool,
}

impl Workspace {
    pub(crate) fn find(incremental: bool) -> Result<Self, String> {
        // Cargo says where we are; a program started without it was built there.
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest
            .parent()
            .ok_or("the workspace has no folder")?
            .to_owned();
        let target = env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root.join("target"), |dir| root.join(dir));
        let cargo = env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
        Ok(Self {
            root,
            target,
            cargo,
            incremental,
        })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// The one target folder that everything here is built in.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    pub(crate) fn release(&self, binary: &str) -> PathBuf {
        self.target
            .join("release")
            .join(format!("{binary}{}", env::consts::EXE_SUFFIX))
    }

    /// A program, started in the root of the workspace.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        command
    }

    /// Cargo with these arguments, separated by spaces.
    pub(crate) fn cargo(&self, args: &str) -> Command {
        let mut command = self.command(&self.cargo);
        command
            .args(args.split_whitespace())
            .env("CARGO_TARGET_DIR", &self.target);
        if !self.incremental {
            command.env("CARGO_INCREMENTAL", "0");
        }
        command
    }
}

/// Runs to the end with its output shown; anything but success is an error that names the command.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let line = describe(command);
    println!("$ {line}");
    let status = command
        .status()
        .map_err(|error| format!("`{line}` did not start: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{line}` failed ({status})"))
    }
}

/// Runs quietly and gives what went to standard output.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let line = describe(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("`{line}` did not start: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!(
            "`{line}` failed ({})\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        ))
    }
}

/// Whether it can be run and succeeds; says nothing.
pub(crate) fn works(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Like [`works`], with a limit: what takes longer is ended and does not count as working.
pub(crate) fn works_within(limit: Duration, command: &mut Command) -> bool {
    let Ok(mut child) = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
    else {
        return false;
    };
    let end = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if Instant::now() < end => thread::sleep(POLL),
            _ => {
                // It may have ended just now; then there is nothing to kill, and `wait` tells no more than we know.
                drop(child.kill());
                drop(child.wait());
                return false;
            }
        }
    }
}

/// The command line as one would type it.
pub(crate) fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program
        .file_stem()
        .unwrap_or(program.as_os_str())
        .to_string_lossy();
    let args = command
        .get_args()
        .map(|arg| format!(" {}", arg.to_string_lossy()));
    format!("{name}{}", args.collect::<String>())
}

pub(crate) fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

pub(crate) fn write(path: &Path, text: &str) -> Result<(), String> {
    let made = path.parent().map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| fs::write(path, text))
        .map_err(|error| format!("{}: {error}", path.display()))
}

pub(crate) fn npm() -> &'static str {
    if cfg!(windows) { "npm.cmd" } else { "npm" }
}

/// Where the browser of the tests should be.
pub(crate) fn chromium() -> PathBuf {
    env::var_os("CHROMIUM_BIN").map_or_else(|| PathBuf::from("/usr/bin/chromium"), PathBuf::from)
}
