//! What a server says to its log while a test drives it.

use std::io;
use std::sync::{Arc, Mutex};

use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

/// Everything that this thread logs, at every level, until it is dropped: a test's server runs on the test's thread.
pub struct Log {
    lines: Lines,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub fn new() -> Log {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(lines.clone())
            .finish();
        Log {
            lines,
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.lines.0.lock().unwrap()).into_owned()
    }

    /// The statements that requests have run since the last call, by what sqlx logs of each, in order. What the server does of
    /// its own accord meanwhile is not among them.
    pub fn statements(&self) -> Vec<String> {
        let text = self.text();
        self.lines.0.lock().unwrap().clear();
        let summaries = text
            .lines()
            .filter(|line| line.contains("sqlx::query") && line.contains(" request{"))
            .filter_map(|line| line.split_once("summary=\"")?.1.split_once('"'));
        summaries.map(|(summary, _)| summary.to_owned()).collect()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Lines {
    type Writer = Lines;

    fn make_writer(&'w self) -> Lines {
        self.clone()
    }
}
