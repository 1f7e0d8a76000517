//! Replays the corpus of every fuzz target, and mutations of it.

use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tests::fuzz::TARGETS;

/// Mutations tried of each entry. The fuzzers try more; this is for every day.
const MUTATIONS: u32 = 300;

#[test]
fn every_entry_and_its_neighbours_are_survived() {
    for (name, target) in TARGETS {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let entries: Vec<_> = std::fs::read_dir(&dir)
            .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
            .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
            .collect();
        assert!(!entries.is_empty(), "{name} has no corpus");
        let mut rng = StdRng::seed_from_u64(1);
        for entry in &entries {
            target(entry);
            for _ in 0..MUTATIONS {
                target(&mutate(entry, &mut rng));
            }
        }
    }
}

fn mutate(entry: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let mut bytes = entry.to_vec();
    for _ in 0..rng.random_range(1..8) {
        let at = rng.random_range(0..=bytes.len());
        match rng.random_range(0..5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, rng.random()),
            2 if at < bytes.len() => bytes[at] = rng.random(),
            3 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
            _ => {
                let piece = bytes[at..].to_vec();
                bytes.extend(piece);
                bytes.truncate(4096);
            }
        }
    }
    bytes
}
