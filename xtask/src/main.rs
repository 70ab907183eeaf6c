//! One entry for every habit of this workspace: `cargo xtask <command>`.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`shell`] | running other programs, and asking whether they are there |
//! | [`setup`] | bringing what is missing |
//! | [`suite`] | the steps of `test`, their order, their timing, the summary |
//! | [`steps`] | what each step does |
//! | [`proto`], [`readme`], [`tidy`] | the checks that no other tool makes |
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program speaks through its output"
)]

mod proto;
mod readme;
mod setup;
mod shell;
mod steps;
mod suite;
mod tidy;

use std::{env, process::ExitCode};

use crate::{shell::Workspace, suite::Suite};

const HELP: &str = "\
cargo xtask <command> [options]

Commands
  setup              bring what the other commands need and is missing; says what it does
  test               setup, then every check in order; stops at the first failure
  ci                 test, the way the CI machine runs it: without incremental compilation
  tidy               the rules of the house about files, in a second
  interop            the official JavaScript clients and a browser against the playground
  fuzz               each fuzz target for a while; needs a nightly toolchain and cargo-fuzz
  bench [args…]      build the load generator and the playground, run the one against the other;
                     everything after `bench` is passed on
  help               this text

Options of test, ci and fuzz
  --fuzz-seconds N   how long each fuzz target runs (default 60; 0 leaves fuzzing out)
  --from STEP        begin at this step
  --only STEP[,…]    run these steps alone
  --list             name the steps

Environment
  CI                 set: no incremental compilation
  CHROMIUM_BIN       the browser, /usr/bin/chromium without it
  PLAYGROUND_BIN     the server that interop and hostile test, the release build without it
";

/// How long a fuzz target runs where nothing else is said.
const FUZZ_SECONDS: u64 = 60;

/// What the command line asks of a run of steps.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    fuzz_seconds: u64,
    from: Option<String>,
    only: Vec<String>,
    list: bool,
}

fn main() -> ExitCode {
    let mut args = env::args().skip(1);
    let command = args.next().unwrap_or_else(|| "help".to_owned());
    let rest: Vec<String> = args.collect();
    match run(&command, &rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &str, rest: &[String]) -> Result<(), String> {
    if matches!(command, "help" | "--help" | "-h")
        || (command != "bench" && rest.iter().any(|arg| arg == "--help" || arg == "-h"))
    {
        print!("{HELP}");
        return Ok(());
    }
    let incremental = command != "ci" && env::var_os("CI").is_none();
    let workspace = Workspace::find(incremental)?;
    if command == "bench" {
        return steps::bench(&workspace, rest);
    }
    let options = parse(rest)?;
    match command {
        "setup" => setup::run(&workspace),
        "test" | "ci" => Suite::everything(&options).run(&workspace),
        "tidy" => tidy::run(&workspace),
        "interop" => Suite::interop(&options).run(&workspace),
        "fuzz" => Suite::fuzz(&options).run(&workspace),
        other => Err(format!(
            "no command `{other}`; `cargo xtask help` names them"
        )),
    }
}

fn parse(args: &[String]) -> Result<Options, String> {
    let mut options = Options {
        fuzz_seconds: FUZZ_SECONDS,
        from: None,
        only: Vec::new(),
        list: false,
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let (name, given) = arg
            .split_once('=')
            .map_or((arg.as_str(), None), |(name, value)| {
                (name, Some(value.to_owned()))
            });
        let mut value = || {
            given
                .clone()
                .or_else(|| args.next().cloned())
                .ok_or_else(|| format!("{name} needs a value"))
        };
        match name {
            "--fuzz-seconds" => {
                options.fuzz_seconds = value()?
                    .parse()
                    .map_err(|_| "--fuzz-seconds needs a whole number".to_owned())?;
            }
            "--from" => options.from = Some(value()?),
            "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
            "--list" => options.list = true,
            _ => return Err(format!("no option `{arg}`; `cargo xtask help` names them")),
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn options_are_read_with_and_without_an_equals_sign() {
        let expected = Options {
            fuzz_seconds: 5,
            from: Some("deny".into()),
            only: Vec::new(),
            list: false,
        };
        assert_eq!(parse(&args("--fuzz-seconds 5 --from=deny")), Ok(expected));
    }

    #[test]
    fn an_unknown_option_is_named() {
        assert_eq!(
            parse(&args("--fast")),
            Err("no option `--fast`; `cargo xtask help` names them".to_owned())
        );
    }

    #[test]
    fn a_missing_value_is_named() {
        assert_eq!(
            parse(&args("--from")),
            Err("--from needs a value".to_owned())
        );
    }
}
