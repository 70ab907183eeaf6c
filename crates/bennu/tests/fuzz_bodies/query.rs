//! Any text as the query of a connect request: never a panic, within the bounds on names, levels and size, and
//! for plain pairs what a reader too simple to be wrong makes of it. Shared by the fuzz target and by tests.

use bennu::ConnectParams;
use serde_json::{Map, Value};

/// What the documentation of `ConnectParams::from_query` allows.
const PAIRS_MAX: usize = 1024;
const DEPTH_MAX: usize = 16;

/// Reads the bytes as a query.
pub(crate) fn run(data: &[u8]) {
    let query = String::from_utf8_lossy(data);
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let count = pairs.clone().count();
    let Ok(params) = ConnectParams::from_query(&query) else {
        // Short text of a few characters can be refused for one reason only.
        let is_plain = !query.contains(['%', '[']);
        assert!(!is_plain || count > PAIRS_MAX, "{query}");
        return;
    };
    assert!(count <= PAIRS_MAX, "{query}");
    let read: Map<String, Value> = params.clone().decode().unwrap();
    let mut text_bytes = 0;
    for (name, value) in &read {
        assert!(depth(value) <= DEPTH_MAX, "{query}");
        assert_eq!(params.value(name), Some(value));
        assert_eq!(params.get(name), value.as_str());
        text_bytes += name.len() + size(value);
    }
    // Nothing is longer than it came: an escape is three characters for a byte.
    assert!(text_bytes <= query.len(), "{query}");
    if !query.contains(['%', '[', '+']) {
        assert_eq!(read, plain(pairs), "{query}");
    }
}

/// A query without escapes and paths: the last of each name.
fn plain<'a>(pairs: impl Iterator<Item = &'a str>) -> Map<String, Value> {
    let mut expected = Map::new();
    for pair in pairs {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        expected.insert(name.to_owned(), value.into());
    }
    expected
}

fn depth(value: &Value) -> usize {
    let deepest = match value {
        Value::Object(map) => map.values().map(depth).max(),
        Value::Array(list) => list.iter().map(depth).max(),
        Value::String(_) => return 0,
        other => panic!("all values are text: {other}"),
    };
    deepest.unwrap_or(0) + 1
}

fn size(value: &Value) -> usize {
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(name, value)| name.len() + size(value))
            .sum(),
        Value::Array(list) => list.iter().map(size).sum(),
        other => other.as_str().map_or(0, str::len),
    }
}
