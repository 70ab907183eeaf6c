//! The example of the README is compiled and run, exactly as it stands there, in a crate that holds nothing else.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::shell::{self, Workspace};

const START: &str = "<!-- example:start -->";
const END: &str = "<!-- example:end -->";

/// From the start of the program to its answer on the port it names, or to its end if it names none.
const ANSWER_MAX: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

pub(crate) fn run(workspace: &Workspace) -> Result<(), String> {
    let readme = shell::read(&workspace.path("README.md"))?;
    let example = example(&readme)?;
    let address = address(example);
    if let Some(taken) = address.filter(|address| TcpStream::connect(address).is_ok()) {
        return Err(format!(
            "something listens on {taken} already, which the README's example needs"
        ));
    }
    let dir = workspace.target().join("readme-example");
    shell::write(&dir.join("Cargo.toml"), &manifest(workspace)?)?;
    shell::write(&dir.join("src/main.rs"), example)?;
    // The same versions as the workspace, so that nothing is built twice.
    shell::write(
        &dir.join("Cargo.lock"),
        &shell::read(&workspace.path("Cargo.lock"))?,
    )?;
    shell::run(workspace.cargo("build").current_dir(&dir))?;

    let binary = workspace
        .target()
        .join("debug")
        .join(format!("readme-example{}", std::env::consts::EXE_SUFFIX));
    let mut child = Command::new(binary)
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| format!("the example did not start: {error}"))?;
    let judged = judge(&mut child, address);
    // It may have ended by itself.
    drop(child.kill());
    drop(child.wait());
    judged
}

/// The Rust block between the markers.
fn example(readme: &str) -> Result<&str, String> {
    let missing = |what: &str| {
        format!(
            "README.md: {what}; the example stands between `{START}` and `{END}` as one ```rust block"
        )
    };
    let (_, rest) = readme
        .split_once(START)
        .ok_or_else(|| missing("no start of an example"))?;
    let (part, _) = rest
        .split_once(END)
        .ok_or_else(|| missing("no end of the example"))?;
    let (_, code) = part
        .split_once("```rust\n")
        .ok_or_else(|| missing("no code in the example"))?;
    let (code, _) = code
        .split_once("```")
        .ok_or_else(|| missing("the code of the example does not end"))?;
    Ok(code)
}

/// What a reader would add to an empty crate, and our profile of development: with it, dependencies are built once.
fn manifest(workspace: &Workspace) -> Result<String, String> {
    let bennu = workspace.path("crates/bennu").display().to_string();
    let ours = shell::read(&workspace.path("Cargo.toml"))?;
    let profile = ours
        .find("[profile.dev]")
        .map_or("", |start| &ours[start..]);
    Ok(format!(
        r#"[package]
name = "readme-example"
version = "0.0.0"
edition = "2024"
publish = false

[workspace]

[dependencies]
bennu = {{ path = {bennu:?} }}
axum = "0.8"
serde = {{ version = "1", features = ["derive"] }}
serde_json = "1"
tokio = {{ version = "1", features = ["full"] }}

{profile}"#
    ))
}

/// The address that the example listens on, if its text holds one: a string such as `"127.0.0.1:4000"`.
fn address(example: &str) -> Option<SocketAddr> {
    let mut address: SocketAddr = example
        .split('"')
        .skip(1)
        .step_by(2)
        .find_map(|text| text.parse().ok())?;
    if address.ip().is_unspecified() {
        address.set_ip([127, 0, 0, 1].into());
    }
    Some(address)
}

fn judge(child: &mut Child, address: Option<SocketAddr>) -> Result<(), String> {
    let end = Instant::now() + ANSWER_MAX;
    while Instant::now() < end {
        match (child.try_wait(), address) {
            (Ok(Some(status)), None) if status.success() => return Ok(()),
            (Ok(Some(status)), _) => {
                return Err(format!("the README's example ended with {status}"));
            }
            (Ok(None), Some(address)) if answers(address) => {
                println!("the README's example answers on {address}");
                return Ok(());
            }
            (Ok(None), _) => thread::sleep(POLL),
            (Err(error), _) => {
                return Err(format!("the README's example cannot be watched: {error}"));
            }
        }
    }
    Err(format!(
        "the README's example did not answer within {} s",
        ANSWER_MAX.as_secs()
    ))
}

/// Whether it speaks HTTP at all; what it says is up to the example.
fn answers(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else {
        return false;
    };
    let mut answer = [0; 5];
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .is_ok()
        && stream
            .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && answer == *b"HTTP/"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_between_the_markers_is_taken() {
        let readme =
            format!("# A\n```rust\nno\n```\n{START}\n```rust\nfn main() {{}}\n```\n{END}\n");
        assert_eq!(example(&readme), Ok("fn main() {}\n"));
    }

    #[test]
    fn a_missing_example_is_an_error() {
        assert!(example("# A\n").is_err_and(|error| error.contains("no start")));
    }

    #[test]
    fn the_address_is_found_among_other_strings() {
        assert_eq!(
            address(r#"f("room:*"); bind("0.0.0.0:4000")"#),
            "127.0.0.1:4000".parse().ok()
        );
        assert_eq!(address(r#"f("room:*")"#), None);
    }
}
