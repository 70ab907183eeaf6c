//! What every fuzz target is given on stable: its seeds, and what is near them.

use std::fs;
use std::path::Path;

/// The seeds of a target, in the order of their names.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/seeds")
        .join(target);
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Runs every seed, every front of it, and it with each byte turned over.
pub(crate) fn near_the_seeds(target: &str, run: fn(&[u8])) {
    for seed in seeds(target) {
        for end in 0..=seed.len() {
            run(&seed[..end]);
        }
        for place in 0..seed.len() {
            for turn in [0x01, 0x10, 0x80, 0xff] {
                let mut near = seed.clone();
                near[place] ^= turn;
                run(&near);
            }
        }
    }
}
