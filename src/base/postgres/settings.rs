//! What the private Postgres is told at each start, on its command line: a new release of MedConsult can change a setting
//! without touching the cluster's own files.

use std::fs;
use std::path::Path;

/// What an acknowledged write is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A write is acknowledged when it is on the disk.
    Durable,
    /// Nothing survives a crash of the machine. For tests, whose data lives as long as their process.
    Throwaway,
}

/// The settings of the cluster, as `name=value`.
pub(super) fn settings(socket_directory: &Path, durability: Durability) -> Vec<String> {
    let mut settings = vec![
        "listen_addresses=".to_owned(),
        format!("unix_socket_directories={}", quoted(socket_directory)),
        "unix_socket_permissions=0700".to_owned(),
        "max_connections=100".to_owned(),
        "timezone=UTC".to_owned(),
        "log_timezone=UTC".to_owned(),
        // Searches are short: compiling them to machine code takes longer than running them.
        "jit=off".to_owned(),
        // Solid-state disks: a random page costs about what a sequential one does.
        "random_page_cost=1.1".to_owned(),
        "work_mem=16MB".to_owned(),
        "maintenance_work_mem=256MB".to_owned(),
        // Index tables only ever grow at the end of many btrees: let autovacuum come often and briefly, so that
        // visibility maps stay fresh for index-only scans.
        "autovacuum_vacuum_insert_scale_factor=0.05".to_owned(),
        // Log lines must hold no health data: the text of statements, and the DETAIL lines of errors, could.
        "log_error_verbosity=terse".to_owned(),
        "log_min_error_statement=panic".to_owned(),
        "log_parameter_max_length_on_error=0".to_owned(),
        "logging_collector=off".to_owned(),
        "log_destination=stderr".to_owned(),
    ];
    let memory = memory_in_mib();
    settings.extend(match durability {
        Durability::Durable => vec![
            "fsync=on".to_owned(),
            "synchronous_commit=on".to_owned(),
            "full_page_writes=on".to_owned(),
            format!("shared_buffers={}MB", (memory / 5).clamp(128, 4096)),
            format!("effective_cache_size={}MB", (memory / 2).max(256)),
            "wal_buffers=16MB".to_owned(),
            // Checkpoints far apart: each makes the following writes log whole pages again.
            "checkpoint_timeout=15min".to_owned(),
            "max_wal_size=4GB".to_owned(),
        ],
        Durability::Throwaway => vec![
            "fsync=off".to_owned(),
            "synchronous_commit=off".to_owned(),
            "full_page_writes=off".to_owned(),
            "shared_buffers=128MB".to_owned(),
            "max_connections=400".to_owned(),
            "wal_level=minimal".to_owned(),
            "max_wal_senders=0".to_owned(),
            "autovacuum=off".to_owned(),
        ],
    });
    settings
}

/// A directory as an element of a list setting: quoted, since a path may hold commas and spaces.
fn quoted(directory: &Path) -> String {
    format!("\"{}\"", directory.display().to_string().replace('"', "\"\""))
}

/// The machine's memory in MiB; a modest guess where the operating system does not tell by /proc.
fn memory_in_mib() -> u64 {
    const GUESS: u64 = 2048;
    let Ok(text) = fs::read_to_string("/proc/meminfo") else {
        return GUESS;
    };
    text.lines()
        .find_map(|line| {
            line.strip_prefix("MemTotal:")?
                .trim()
                .strip_suffix("kB")?
                .trim()
                .parse::<u64>()
                .ok()
        })
        .map_or(GUESS, |kib| kib / 1024)
}
