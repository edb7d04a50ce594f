//! What fuzzing found once must not come back, and a change to a parser meets some thousand strange inputs at once: the functions
//! of `fuzz/targets.rs`, over the corpus and over seeded changes to it. `make fuzz` looks further.
//!
//! `FUZZ_CASES=<number>` makes it longer, and `FUZZ_SEED=<number>` makes other changes.

use std::env;
use std::fs;
use std::path::Path;

use fastrand::Rng;

use crate::app::spawn_app;

#[path = "../../fuzz/targets.rs"]
mod targets;

/// Changes to the corpus of each target, and the seed that they are made from.
const CASES: u64 = 5000;
const SEED: u64 = 0xed6e;

fn number_of(variable: &str, default: u64) -> u64 {
    let number = |text: String| text.parse().unwrap_or_else(|_| panic!("{variable} is a number"));
    env::var(variable).map_or(default, number)
}

/// Pieces that parsers look for.
const PIECES: [&str; 24] = [
    "/",
    "*",
    ".",
    "?",
    "=",
    "&",
    ",",
    "|",
    "$",
    ":",
    "%",
    "%00",
    "\\",
    " ",
    "\n",
    "\u{0}",
    "é",
    "-1",
    "9999999999999999999",
    "1e400",
    "_has:",
    ":not",
    "http://127.0.0.1",
    "eyJhbGciOiJub25lIn0",
];

/// The files of a corpus.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let corpus: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    assert!(corpus.len() > 5, "the corpus of {name} is empty");
    corpus
}

/// Something like what is in the corpus: pieces are put in, left out, doubled, and taken from another file.
fn changed(corpus: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let pick = |rng: &mut Rng| corpus[rng.usize(..corpus.len())].clone();
    let mut input = pick(rng);
    for _ in 0..rng.usize(1..5) {
        let start = rng.usize(..=input.len());
        let end = rng.usize(start..=input.len()).min(start + 12);
        match rng.u8(..6) {
            0 => drop(input.splice(start..start, PIECES[rng.usize(..PIECES.len())].bytes())),
            1 => drop(input.drain(start..end)),
            2 => {
                let doubled = input[start..end].to_vec();
                drop(input.splice(end..end, doubled));
            }
            3 => {
                let other = pick(rng);
                let from = rng.usize(..=other.len());
                input.truncate(start);
                input.extend_from_slice(&other[from..]);
            }
            4 if start < input.len() => input[start] ^= 1 << rng.u8(..8),
            _ => input.insert(start, rng.u8(32..127)),
        }
    }
    input
}

fn run(name: &str, target: impl Fn(&[u8])) {
    let corpus = corpus(name);
    corpus.iter().for_each(|input| target(input));
    let mut rng = Rng::with_seed(number_of("FUZZ_SEED", SEED));
    for _ in 0..number_of("FUZZ_CASES", CASES) {
        let input = changed(&corpus, &mut rng);
        let shown = ShownOnPanic(name, &input);
        target(&input);
        drop(shown);
    }
}

/// An input that is shown when its target panics.
struct ShownOnPanic<'i>(&'i str, &'i [u8]);

impl Drop for ShownOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}: {:?}", self.0, String::from_utf8_lossy(self.1));
        }
    }
}

#[test]
fn scopes() {
    run("scopes", targets::scopes);
}

#[test]
fn assertions() {
    run("assertions", targets::assertions);
}

#[test]
fn redirect_addresses() {
    run("redirects", targets::redirects);
}

#[tokio::test]
async fn searches() {
    let app = spawn_app().await;
    run("searches", |input| targets::searches(&app.app.fhir, input));
}
