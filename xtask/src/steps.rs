//! What each step of a run does.

use std::{env, path::PathBuf, time::Duration};

use crate::{
    proto, readme, setup,
    shell::{self, Workspace},
    suite::Outcome,
};

type Step = Result<Outcome, String>;

/// How long fetching the advisory database may take before it counts as unreachable.
const ADVISORIES_FETCH_MAX: Duration = Duration::from_secs(60);

pub(crate) fn fmt(workspace: &Workspace) -> Step {
    cargo(workspace, "fmt --all -- --check")
}

pub(crate) fn clippy(workspace: &Workspace) -> Step {
    cargo(workspace, "clippy --workspace --all-targets -- -D warnings")?;
    // Without axum, and without a server of our own.
    cargo(
        workspace,
        "clippy -p bennu --no-default-features -- -D warnings",
    )
}

pub(crate) fn deny(workspace: &Workspace) -> Step {
    cargo(
        workspace,
        "deny check --hide-inclusion-graph bans licenses sources",
    )
}

/// The database lives in a git repository that not every machine reaches.
pub(crate) fn advisories(workspace: &Workspace) -> Step {
    if shell::works_within(ADVISORIES_FETCH_MAX, &mut workspace.cargo("deny fetch db")) {
        cargo(workspace, "deny --offline check advisories")
    } else {
        skipped("the advisory database cannot be reached")
    }
}

pub(crate) fn nextest(workspace: &Workspace) -> Step {
    cargo(workspace, "nextest run --workspace")
}

pub(crate) fn doctest(workspace: &Workspace) -> Step {
    cargo(workspace, "test --doc --workspace")
}

pub(crate) fn rustdoc(workspace: &Workspace) -> Step {
    shell::run(
        workspace
            .cargo("doc --no-deps --workspace --all-features")
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
    .map(passed)
}

pub(crate) fn proto(workspace: &Workspace) -> Step {
    proto::run(workspace).map(passed)
}

pub(crate) fn wasm(workspace: &Workspace) -> Step {
    if setup::has_wasm_target(workspace) {
        cargo(
            workspace,
            &format!("check -p bennu-proto --target {}", setup::WASM),
        )?;
        cargo(
            workspace,
            &format!(
                "check -p bennu-proto --all-features --target {}",
                setup::WASM
            ),
        )
    } else {
        skipped("the target is not installed; the step `proto` stands in for it")
    }
}

pub(crate) fn readme(workspace: &Workspace) -> Step {
    readme::run(workspace).map(passed)
}

pub(crate) fn fuzz(workspace: &Workspace, seconds: u64) -> Step {
    if seconds == 0 {
        return skipped("--fuzz-seconds 0");
    }
    if !setup::can_fuzz(workspace) {
        return skipped(
            "no nightly toolchain with cargo-fuzz; the same targets run as property tests",
        );
    }
    if !workspace.path("fuzz/Cargo.toml").is_file() {
        return skipped("there are no fuzz targets");
    }
    // `cargo` may be the toolchain's own program, which knows no `+nightly`.
    let cargo_fuzz = ["run", "nightly", "cargo", "fuzz"];
    let targets = shell::output(workspace.command("rustup").args(cargo_fuzz).arg("list"))?;
    for target in targets
        .lines()
        .map(str::trim)
        .filter(|target| !target.is_empty())
    {
        let limit = format!("-max_total_time={seconds}");
        // What is found goes to the first, which starts empty; the seeds are read beside it.
        let (found, seeds) = (
            format!("fuzz/corpus/{target}"),
            format!("fuzz/seeds/{target}"),
        );
        std::fs::create_dir_all(workspace.path(&found)).map_err(|error| error.to_string())?;
        let mut command = workspace.command("rustup");
        command
            .args(cargo_fuzz)
            .args(["run", target, &found, &seeds, "--", &limit]);
        shell::run(&mut command)?;
    }
    Ok(Outcome::Passed)
}

pub(crate) fn playground(workspace: &Workspace) -> Step {
    if env::var_os("PLAYGROUND_BIN").is_some() {
        return skipped("PLAYGROUND_BIN names the server");
    }
    cargo(workspace, "build --release -p playground")
}

/// What clients notice of a hostile neighbour. Short windows; an attack under which the others are too slow is played once more, longer.
pub(crate) fn hostile(workspace: &Workspace) -> Step {
    if !cfg!(target_os = "linux") {
        return skipped("the load generator needs Linux");
    }
    cargo(workspace, "build --release -p bennu-bench")?;
    let mut command = workspace.command(workspace.release("bennu-hostile"));
    command
        .arg("--server")
        .arg(playground_binary(workspace)?)
        .args(["--pairs", "3", "--window", "1.5"]);
    shell::run(&mut command).map(passed)
}

pub(crate) fn interop(workspace: &Workspace) -> Step {
    node(
        workspace,
        &[
            "clients.test.mjs",
            "raw.test.mjs",
            "longpoll.test.mjs",
            "fallback.test.mjs",
            "restart.test.mjs",
            "door.test.mjs",
        ],
    )
}

pub(crate) fn browser(workspace: &Workspace) -> Step {
    if setup::has_chromium(workspace) {
        node(workspace, &["browser.test.mjs"])
    } else {
        skipped("there is no Chromium")
    }
}

pub(crate) fn bench(workspace: &Workspace, args: &[String]) -> Result<(), String> {
    shell::run(&mut workspace.cargo("build --release -p playground -p bennu-bench"))?;
    let mut command = workspace.command(workspace.release("bennu-bench"));
    command
        .arg("--server")
        .arg(workspace.release("playground"))
        .args(args);
    shell::run(&mut command)
}

/// One file after the other: the machine is for the server under test.
fn node(workspace: &Workspace, files: &[&str]) -> Step {
    let server = playground_binary(workspace)?;
    let mut command = workspace.command("node");
    command
        .args(["--test", "--test-concurrency=1", "--test-reporter=spec"])
        .args(files)
        .current_dir(workspace.path("interop"))
        .env("PLAYGROUND_BIN", server)
        .env("CHROMIUM_BIN", shell::chromium());
    shell::run(&mut command).map(passed)
}

/// The server under test: the one that was named, or the release build.
fn playground_binary(workspace: &Workspace) -> Result<PathBuf, String> {
    match env::var_os("PLAYGROUND_BIN") {
        // The tests run in another folder than the one that the path was written for.
        Some(given) => {
            std::path::absolute(given).map_err(|error| format!("PLAYGROUND_BIN: {error}"))
        }
        None => Ok(workspace.release("playground")),
    }
}

fn cargo(workspace: &Workspace, args: &str) -> Step {
    shell::run(&mut workspace.cargo(args)).map(passed)
}

fn passed((): ()) -> Outcome {
    Outcome::Passed
}

fn skipped(why: &str) -> Step {
    println!("skipped: {why}");
    Ok(Outcome::Skipped(why.to_owned()))
}
