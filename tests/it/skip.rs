//! How a test says that it lacks what it needs.

/// Writes a line that `scripts/test` counts, with the arguments of `println!`. It goes past what the test program collects of each
/// test: that is shown for failed ones only.
macro_rules! skipped {
    ($($why:tt)*) => {{
        use std::io::Write;
        let line = format!("\nskipped: {}\n", format_args!($($why)*));
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }};
}
