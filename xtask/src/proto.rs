//! `bennu-proto` has no clock, no random source and no runtime: neither in its dependencies nor in its sources.
//!
//! A build for wasm shows the same where the target can be had; this check needs nothing.

use std::fs;

use crate::{
    shell::{self, Workspace},
    tidy,
};

const SOURCES: &str = "crates/proto/src";

/// What the crate may name, and what that brings along. With all features: `flate2` and `zlib-rs` come with
/// `deflate` alone.
const DEPENDENCIES: [&str; 20] = [
    "base64",
    "bennu-proto",
    "bytes",
    "flate2",
    "itoa",
    "memchr",
    "proc-macro2",
    "quote",
    "ryu",
    "serde",
    "serde_core",
    "serde_derive",
    "serde_json",
    "simdutf8",
    "syn",
    "thiserror",
    "thiserror-impl",
    "unicode-ident",
    "zlib-rs",
    "zmij",
];

/// Names that would let the outside in.
const NAMES: [&str; 6] = [
    "std::time",
    "Instant",
    "SystemTime",
    "std::net",
    "std::env",
    "rand",
];

pub(crate) fn run(workspace: &Workspace) -> Result<(), String> {
    let tree = shell::output(
        &mut workspace
            .cargo("tree -p bennu-proto -e normal --all-features --prefix none --format {p}"),
    )?;
    let foreign = foreign(&tree);
    if !foreign.is_empty() {
        return Err(format!(
            "bennu-proto depends on {}; see the list in xtask/src/proto.rs",
            foreign.join(", ")
        ));
    }
    let mut found = Vec::new();
    for path in tidy::files(workspace)?
        .iter()
        .filter(|path| path.starts_with(SOURCES) && !tidy::is_test(path))
    {
        let text =
            fs::read_to_string(workspace.path(path)).map_err(|error| format!("{path}: {error}"))?;
        found.extend(
            named(&text)
                .into_iter()
                .map(|(line, name)| format!("{path}:{line}: names `{name}`")),
        );
    }
    if found.is_empty() {
        println!("bennu-proto is pure");
        Ok(())
    } else {
        Err(format!("bennu-proto must stay pure\n{}", found.join("\n")))
    }
}

fn foreign(tree: &str) -> Vec<&str> {
    let mut names: Vec<&str> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| !DEPENDENCIES.contains(name));
    names
}

/// Line and name of each forbidden name outside comments and tests.
fn named(text: &str) -> Vec<(usize, &'static str)> {
    let code = tidy::without_tests(text)
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"));
    code.flat_map(|(index, line)| {
        NAMES
            .into_iter()
            .filter(|name| tidy::has_word(line, name))
            .map(move |name| (index + 1, name))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_outside_the_list_are_found_once() {
        let tree = "bennu-proto v0.1.0 (/x)\nserde v1.0.0\ntokio v1.0.0\nserde v1.0.0 (*)\ntokio v1.0.0 (*)\n";
        assert_eq!(foreign(tree), ["tokio"]);
    }

    #[test]
    fn names_are_found_as_words_and_in_code_only() {
        let text = "//! std::time is not for us\nuse std::time::Duration;\nlet operand = 1;\nlet x = Instant::now();\n";
        assert_eq!(named(text), [(2, "std::time"), (4, "Instant")]);
    }

    #[test]
    fn tests_may_name_what_they_like() {
        assert_eq!(
            named("fn f() {}\n#[cfg(test)]\nmod tests {\n    use std::env;\n}\n"),
            []
        );
    }
}
