//! What the server and its database take of the machine, as `/proc` counts it.

use std::fs;
use std::path::Path;

/// The processes that are measured; each may be unknown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Processes {
    pub server: Option<u32>,
    /// The postmaster: its children are counted with it.
    pub postmaster: Option<u32>,
}

/// CPU time since the processes began, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    pub server: Option<f64>,
    pub database: Option<f64>,
}

/// `/proc` counts in hundredths of a second on every Linux that Rust runs on.
const MS_PER_TICK: f64 = 10.0;

impl Processes {
    pub fn cpu(&self) -> Cpu {
        Cpu {
            server: self
                .server
                .and_then(|process| Some(ticks(process)?.own as f64 * MS_PER_TICK)),
            database: self
                .postmaster
                .and_then(database_ticks)
                .map(|ticks| ticks as f64 * MS_PER_TICK),
        }
    }

    /// The most memory that the server has had in RAM so far, in MiB.
    pub fn server_peak_mib(&self) -> Option<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.server?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(line.trim().trim_end_matches(" kB").parse::<f64>().ok()? / 1024.0)
    }
}

impl Cpu {
    /// What was used between `earlier` and now, per each of `operations`.
    pub fn since(self, earlier: Cpu, operations: u64) -> Cpu {
        let each = |now: Option<f64>, then: Option<f64>| Some((now? - then?) / operations.max(1) as f64);
        Cpu {
            server: each(self.server, earlier.server),
            database: each(self.database, earlier.database),
        }
    }
}

struct Ticks {
    parent: u32,
    own: u64,
    /// Of children that have ended.
    ended: u64,
}

fn ticks(process: u32) -> Option<Ticks> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field is the program's name in brackets and may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |field: usize| fields.get(field)?.parse::<u64>().ok();
    Some(Ticks {
        parent: u32::try_from(number(1)?).ok()?,
        own: number(11)? + number(12)?,
        ended: number(13)? + number(14)?,
    })
}

fn database_ticks(postmaster: u32) -> Option<u64> {
    let own = ticks(postmaster)?;
    let processes = fs::read_dir(Path::new("/proc")).ok()?;
    let children = processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(ticks)
        .filter(|ticks| ticks.parent == postmaster);
    Some(own.own + own.ended + children.map(|ticks| ticks.own).sum::<u64>())
}
