//! Bringing what is missing. What only some steps need may stay missing: those steps then say so.

use std::process::Command;

use crate::shell::{self, Workspace};

/// `playwright-core` asks for it.
const NODE_MAJOR_MIN: u32 = 20;
pub(crate) const WASM: &str = "wasm32-unknown-unknown";

/// Beside the packages that `npm ci` brought: the lock file it brought them for.
const STAMP: &str = "interop/node_modules/.xtask-package-lock.json";

pub(crate) fn run(workspace: &Workspace) -> Result<(), String> {
    component(workspace, "fmt", "rustfmt")?;
    component(workspace, "clippy", "clippy")?;
    cargo_tool(workspace, "nextest")?;
    cargo_tool(workspace, "deny")?;
    node(workspace)?;
    npm_packages(workspace)?;
    wasm_target(workspace);
    chromium(workspace);
    fuzzing(workspace);
    Ok(())
}

fn say(name: &str, what: &str) {
    println!("{name:<16} {what}");
}

fn component(workspace: &Workspace, subcommand: &str, name: &str) -> Result<(), String> {
    if shell::works(&mut workspace.cargo(&format!("{subcommand} --version"))) {
        say(name, "is there");
        return Ok(());
    }
    say(name, "missing: adding it to the toolchain");
    shell::run(workspace.command("rustup").args(["component", "add", name]))
        .map_err(|error| needed(name, &error))
}

fn cargo_tool(workspace: &Workspace, subcommand: &str) -> Result<(), String> {
    let name = format!("cargo-{subcommand}");
    if shell::works(&mut workspace.cargo(&format!("{subcommand} --version"))) {
        say(&name, "is there");
        return Ok(());
    }
    say(
        &name,
        "missing: installing it from crates.io, which takes a few minutes",
    );
    let mut install = workspace.cargo(&format!("install {name} --locked"));
    // Its own build folder, in the shared one: an interrupted installation goes on where it stopped.
    install.env("CARGO_TARGET_DIR", workspace.target().join("tools"));
    shell::run(&mut install).map_err(|error| needed(&name, &error))
}

fn node(workspace: &Workspace) -> Result<(), String> {
    let why = format!(
        "Node {NODE_MAJOR_MIN} or newer, with npm, runs the official clients: https://nodejs.org"
    );
    let version = shell::output(workspace.command("node").arg("--version"))
        .map_err(|error| needed(&why, &error))?;
    let version = version.trim();
    let major = version
        .trim_start_matches('v')
        .split('.')
        .next()
        .and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < NODE_MAJOR_MIN) {
        return Err(needed(&why, &format!("`node --version` says {version}")));
    }
    if !shell::works(workspace.command(shell::npm()).arg("--version")) {
        return Err(needed(&why, "`npm --version` fails"));
    }
    say("node", version);
    Ok(())
}

fn npm_packages(workspace: &Workspace) -> Result<(), String> {
    let lock = shell::read(&workspace.path("interop/package-lock.json"))?;
    let stamp = workspace.path(STAMP);
    if shell::read(&stamp).is_ok_and(|brought| brought == lock) {
        say("npm packages", "are those of interop/package-lock.json");
        return Ok(());
    }
    say(
        "npm packages",
        "missing or of another lock file: npm ci in interop",
    );
    let mut install = workspace.command(shell::npm());
    install
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(workspace.path("interop"));
    shell::run(&mut install).map_err(|error| needed("the npm packages", &error))?;
    shell::write(&stamp, &lock)
}

pub(crate) fn has_wasm_target(workspace: &Workspace) -> bool {
    let mut ask = workspace.command("rustc");
    let libraries = shell::output(ask.args(["--print", "target-libdir", "--target", WASM]));
    libraries.is_ok_and(|dir| std::path::Path::new(dir.trim()).is_dir())
}

fn wasm_target(workspace: &Workspace) {
    if has_wasm_target(workspace) {
        return say("wasm32", "is there");
    }
    let added = shell::works(workspace.command("rustup").arg("--version"))
        && shell::run(workspace.command("rustup").args(["target", "add", WASM])).is_ok();
    if added {
        say("wasm32", "added");
    } else {
        say(
            "wasm32",
            "cannot be had here: the wasm build is left out, manifest and sources of proto are checked all the same",
        );
    }
}

pub(crate) fn has_chromium(workspace: &Workspace) -> bool {
    shell::works(workspace.command(shell::chromium()).arg("--version"))
}

fn chromium(workspace: &Workspace) {
    if has_chromium(workspace) {
        return say("chromium", "is there");
    }
    let root = shell::output(workspace.command("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if !root || !shell::works(workspace.command("apt-get").arg("--version")) {
        return say(
            "chromium",
            "missing, and only root on Debian can have it installed here: the browser tests are left out",
        );
    }
    say("chromium", "missing: installing Debian's package");
    let installed = install(workspace, "chromium").or_else(|_| {
        say(
            "chromium",
            "not found at once: bringing the package lists up to date",
        );
        shell::run(workspace.command("apt-get").args(["update", "--quiet"]))?;
        install(workspace, "chromium")
    });
    if installed.is_err() || !has_chromium(workspace) {
        say(
            "chromium",
            "could not be installed: the browser tests are left out",
        );
    }
}

fn install(workspace: &Workspace, package: &str) -> Result<(), String> {
    let mut apt: Command = workspace.command("apt-get");
    apt.args([
        "install",
        "--yes",
        "--quiet",
        "--no-install-recommends",
        package,
    ])
    .env("DEBIAN_FRONTEND", "noninteractive");
    shell::run(&mut apt)
}

/// Fuzzing wants a nightly toolchain, which is nobody's duty to have.
pub(crate) fn can_fuzz(workspace: &Workspace) -> bool {
    shell::works(
        workspace
            .command("rustup")
            .args(["run", "nightly", "cargo", "fuzz", "--version"]),
    )
}

fn fuzzing(workspace: &Workspace) {
    if can_fuzz(workspace) {
        say("cargo-fuzz", "is there, and a nightly toolchain");
    } else {
        say(
            "cargo-fuzz",
            "not used: it needs a nightly toolchain and `cargo install cargo-fuzz --locked`",
        );
    }
}

fn needed(what: &str, error: &str) -> String {
    format!("needed and not to be had: {what}\n{error}")
}
