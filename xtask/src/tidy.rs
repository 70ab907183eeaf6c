//! The rules of the house about files, those that no other tool holds.

use std::{fs, path::Path};

use crate::shell::{self, Workspace};

/// Beyond this a source file holds more than one thing. Tests are not counted.
const SOURCE_LINES_MAX: usize = 700;

/// Written in two parts, so that this file keeps the rule.
const FORBIDDEN: [(&str, &str); 5] = [
    (
        concat!("#[ig", "nore"),
        "a test that does not run is no test",
    ),
    (concat!("to", "do!"), "what is not there is not called"),
    (
        concat!("FIX", "ME"),
        "fix it, or describe the limit where users read",
    ),
    (
        concat!("X", "XX"),
        "fix it, or describe the limit where users read",
    ),
    (concat!("unbounded", "_channel"), "every queue has a limit"),
];

const TEXT: [&str; 11] = [
    "rs", "md", "toml", "mjs", "js", "html", "css", "json", "yml", "yaml", "sh",
];

pub(crate) fn run(workspace: &Workspace) -> Result<(), String> {
    let paths = files(workspace)?;
    let mut found = Vec::new();
    for path in &paths {
        let extension = Path::new(path)
            .extension()
            .and_then(|extension| extension.to_str())
            .unwrap_or_default();
        if !TEXT.contains(&extension) {
            continue;
        }
        let text =
            fs::read_to_string(workspace.path(path)).map_err(|error| format!("{path}: {error}"))?;
        let mut complaints = whitespace(&text);
        match extension {
            "rs" => complaints.extend(rust(path, &text)),
            "md" => complaints.extend(markdown(workspace.root(), path, &text)),
            _ => {}
        }
        found.extend(
            complaints
                .into_iter()
                .map(|complaint| format!("{path}{complaint}")),
        );
    }
    if found.is_empty() {
        println!("{} files are tidy", paths.len());
        Ok(())
    } else {
        Err(format!(
            "{} untidy places\n{}",
            found.len(),
            found.join("\n")
        ))
    }
}

/// Every file that is, or would be, under version control; relative to the root.
pub(crate) fn files(workspace: &Workspace) -> Result<Vec<String>, String> {
    let listed = shell::output(workspace.command("git").args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "-z",
    ]))?;
    let mut paths: Vec<String> = listed
        .split('\0')
        .filter(|path| !path.is_empty())
        .map(str::to_owned)
        .collect();
    paths.retain(|path| workspace.path(path).is_file());
    paths.sort();
    paths.dedup();
    Ok(paths)
}

/// A file of tests: in a `tests` folder, or the tests of a module in a file of their own.
pub(crate) fn is_test(path: &str) -> bool {
    path.split('/')
        .any(|part| part == "tests" || part == "tests.rs")
}

/// The part before an inline module of tests, which by our habit ends the file.
pub(crate) fn without_tests(text: &str) -> &str {
    text.split_once("\n#[cfg(test)]\nmod ")
        .map_or(text, |(code, _)| code)
}

/// Whether `word` stands in `line` with nothing alphanumeric on either side.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let joins = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + word.len()..].chars().next();
        !before.is_some_and(joins) && !after.is_some_and(joins)
    })
}

fn whitespace(text: &str) -> Vec<String> {
    let mut found: Vec<String> = text
        .lines()
        .enumerate()
        .filter(|(_, line)| line.ends_with([' ', '\t', '\r']))
        .map(|(index, _)| format!(":{}: whitespace at the end of the line", index + 1))
        .collect();
    if !text.is_empty() && !text.ends_with('\n') {
        found.push(": no newline at the end".to_owned());
    }
    found
}

fn rust(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if !text.starts_with("//!") {
        found.push(":1: begins without `//!` documentation of what it holds".to_owned());
    }
    if path.ends_with("/mod.rs") {
        found.push(": `foo.rs` beside `foo/`, never `foo/mod.rs`".to_owned());
    }
    let lines = without_tests(text).lines().count();
    if !is_test(path) && lines > SOURCE_LINES_MAX {
        found.push(format!(
            ": {lines} lines without tests, of {SOURCE_LINES_MAX} at most"
        ));
    }
    for (index, line) in text.lines().enumerate() {
        for (word, why) in FORBIDDEN.iter().filter(|(word, _)| stands(line, word)) {
            found.push(format!(":{}: `{word}`: {why}", index + 1));
        }
    }
    found
}

/// Words of letters alone are looked for as words, so that they are not found inside a token.
fn stands(line: &str, word: &str) -> bool {
    if word.chars().all(char::is_alphabetic) {
        has_word(line, word)
    } else {
        line.contains(word)
    }
}

fn markdown(root: &Path, path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let prose: Vec<(usize, &str)> = prose(text).collect();
    let titles = prose
        .iter()
        .filter(|(_, line)| line.starts_with("# "))
        .count();
    if titles != 1 {
        found.push(format!(": {titles} first-level headings, of exactly one"));
    }
    let folder = Path::new(path).parent().unwrap_or(Path::new(""));
    for (number, line) in prose {
        for link in links(line) {
            let file = link.split(['#', '?']).next().unwrap_or_default();
            let target = file
                .strip_prefix('/')
                .map_or_else(|| root.join(folder).join(file), |file| root.join(file));
            if !file.is_empty() && !target.exists() {
                found.push(format!(":{number}: the link to {link} leads nowhere"));
            }
        }
    }
    found
}

/// The numbered lines outside fenced code.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (!fenced && !fence).then_some((index + 1, line))
    })
}

/// Targets of the relative links of a line, outside code.
fn links(line: &str) -> Vec<&str> {
    let outside_code = line.split('`').step_by(2);
    let targets = outside_code.flat_map(|part| part.split("](").skip(1));
    targets
        .filter_map(|rest| rest.split([')', ' ']).next())
        .map(|target| target.trim_start_matches('<').trim_end_matches('>'))
        .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tidy_file_has_no_complaints() {
        assert_eq!(
            rust("a/src/lib.rs", "//! What it holds.\nfn f() {}\n"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn missing_documentation_and_forbidden_words_are_found_with_their_lines() {
        let text = format!(
            "fn f() {{\n    {}();\n}} // {}\n",
            FORBIDDEN[1].0, FORBIDDEN[2].0
        );
        let found = rust("a/src/lib.rs", &text);
        assert!(found[0].starts_with(":1: begins without"), "{found:?}");
        assert!(found[1].starts_with(":2: "), "{found:?}");
        assert!(found[2].starts_with(":3: "), "{found:?}");
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn long_files_are_found_and_their_tests_not_counted() {
        let code = "//! A.\n".to_owned() + &"fn f() {}\n".repeat(SOURCE_LINES_MAX);
        assert_eq!(rust("a/src/lib.rs", &code).len(), 1);
        assert_eq!(rust("a/tests/long.rs", &code).len(), 0);
        assert_eq!(rust("a/src/lib/tests.rs", &code).len(), 0);
        let tested = "//! A.\n\n#[cfg(test)]\nmod tests {\n".to_owned()
            + &"fn f() {}\n".repeat(SOURCE_LINES_MAX)
            + "}\n";
        assert_eq!(rust("a/src/lib.rs", &tested).len(), 0);
    }

    #[test]
    fn module_files_are_refused() {
        assert_eq!(rust("a/src/b/mod.rs", "//! B.\n").len(), 1);
    }

    #[test]
    fn whitespace_at_the_end_is_found() {
        assert_eq!(whitespace("a \nb\n").len(), 1);
        assert_eq!(whitespace("a").len(), 1);
        assert_eq!(whitespace("a\n"), Vec::<String>::new());
    }

    #[test]
    fn headings_in_code_are_no_headings() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert_eq!(
            markdown(root, "A.md", "# A\n\n```sh\n# b\n```\n"),
            Vec::<String>::new()
        );
        assert_eq!(markdown(root, "A.md", "# A\n# B\n").len(), 1);
        assert_eq!(markdown(root, "A.md", "## A\n").len(), 1);
    }

    #[test]
    fn relative_links_must_lead_somewhere() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let text = "# A\n[a](Cargo.toml) [b](src/main.rs#L1) [c](https://example.com/x) [d](#a) `[e](nowhere)`\n";
        assert_eq!(markdown(root, "A.md", text), Vec::<String>::new());
        assert_eq!(
            markdown(root, "A.md", "# A\n[a](gone.md) and [b](src/gone.rs)\n").len(),
            2
        );
        assert_eq!(
            markdown(root, "src/A.md", "# A\n[a](main.rs) [b](/Cargo.toml)\n"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn words_are_whole_words() {
        assert!(has_word("use rand::Rng;", "rand"));
        assert!(!has_word("let operand = strand;", "rand"));
        assert!(has_word("x: Instant,", "Instant"));
    }
}
