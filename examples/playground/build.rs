//! Puts the page and the official client where the server embeds them from: `OUT_DIR/page/`.
//!
//! The client comes from the npm registry, at the version that `page/package-lock.json` pins by its hash. A copy that
//! `npm ci` has put into `page/node_modules` is used as it stands; otherwise npm runs under `OUT_DIR`, never in the source tree.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a build script speaks to cargo and to the user through its output"
)]

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

const PAGE: [&str; 3] = ["index.html", "app.js", "style.css"];
const PACKAGE: [&str; 2] = ["package.json", "package-lock.json"];
const CLIENT: &str = "node_modules/phoenix/priv/static/phoenix.mjs";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: the playground's page cannot be built: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let page = dir("CARGO_MANIFEST_DIR")?.join("page");
    let out = dir("OUT_DIR")?;
    println!("cargo:rerun-if-changed=build.rs");
    for name in PAGE.iter().chain(&PACKAGE) {
        println!("cargo:rerun-if-changed=page/{name}");
    }

    let target = out.join("page");
    at(&target, fs::create_dir_all(&target))?;
    for name in PAGE {
        copy(&page.join(name), &target.join(name))?;
    }
    let client = client(&page, &out.join("npm"))?;
    let source = at(&client, fs::read_to_string(&client))?;
    let served = target.join("phoenix.mjs");
    at(&served, fs::write(&served, without_source_map(&source)))
}

/// Finds the client beside the page, or has npm bring it into `work`.
fn client(page: &Path, work: &Path) -> Result<PathBuf, String> {
    let installed = page.join(CLIENT);
    if installed.is_file() {
        // Only named where it exists: a missing path would make cargo run this script on every build.
        println!("cargo:rerun-if-changed=page/{CLIENT}");
        return Ok(installed);
    }
    let fetched = work.join(CLIENT);
    if fetched.is_file()
        && PACKAGE
            .iter()
            .all(|name| same(&page.join(name), &work.join(name)))
    {
        return Ok(fetched);
    }
    at(work, fs::create_dir_all(work))?;
    for name in PACKAGE {
        copy(&page.join(name), &work.join(name))?;
    }
    npm_ci(work)?;
    if fetched.is_file() {
        Ok(fetched)
    } else {
        Err(format!(
            "npm succeeded, but {} is not there",
            fetched.display()
        ))
    }
}

fn npm_ci(work: &Path) -> Result<(), String> {
    const NEEDED: &str = "It needs Node with npm on the PATH and a reachable npm registry, once; \
        without one, run `npm ci` in examples/playground/page where there is one and bring the folder along.";
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let ran = Command::new(npm)
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(work)
        .output();
    match ran {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "`npm ci` failed ({}). {NEEDED}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )),
        Err(error) => Err(format!("`npm` did not start ({error}). {NEEDED}")),
    }
}

/// The source map is not served, so the module must not name it.
fn without_source_map(source: &str) -> String {
    source
        .lines()
        .filter(|line| !line.starts_with("//# sourceMappingURL="))
        .flat_map(|line| [line, "\n"])
        .collect()
}

fn dir(variable: &str) -> Result<PathBuf, String> {
    env::var_os(variable)
        .map(PathBuf::from)
        .ok_or_else(|| format!("{variable} is not set; cargo sets it"))
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    at(from, fs::copy(from, to)).map(|_| ())
}

fn same(left: &Path, right: &Path) -> bool {
    matches!((fs::read(left), fs::read(right)), (Ok(left), Ok(right)) if left == right)
}

fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, String> {
    result.map_err(|error| format!("{}: {error}", path.display()))
}
