//! The figures, for people and for programs.

use std::fmt;

use serde::Serialize;

use super::driver::Measure;

/// All that was measured in one run.
#[derive(Debug, Serialize)]
pub struct Figures {
    pub concurrency: u32,
    /// In the server when the searches ran.
    pub resources: u64,
    pub measures: Vec<Measure>,
    /// The most memory that the server had in RAM, in MiB.
    pub server_peak_mib: Option<f64>,
    /// Of each resource that the floor wrote.
    pub index_rows: Option<f64>,
    /// From the start of the program to its readiness, with a private database.
    pub warm_start_s: Option<f64>,
}

/// An operation, the floor that it stands on, and the part of the floor's throughput that it should reach.
const TARGETS: [(&str, &str, f64); 4] = [
    ("create", "floor: create", 0.6),
    ("import, per resource", "floor: import, per resource", 0.5),
    ("read", "floor: read", 0.5),
    ("read", "floor: static HTTP", 0.0),
];

impl Figures {
    pub fn new(concurrency: u32) -> Figures {
        let (resources, measures) = (0, Vec::new());
        Figures {
            concurrency,
            resources,
            measures,
            server_peak_mib: None,
            index_rows: None,
            warm_start_s: None,
        }
    }

    /// Adds a measure, and tells who waits.
    pub fn add(&mut self, measure: Measure) {
        eprintln!("{:32} {:>9.0}/s", measure.name, measure.per_second);
        self.measures.push(measure);
    }

    fn find(&self, name: &str) -> Option<&Measure> {
        self.measures.iter().find(|measure| measure.name == name)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{} clients; {} resources stored before the searches\n",
            self.concurrency, self.resources
        )?;
        writeln!(
            f,
            "| operation | per second | p50 ms | p99 ms | server CPU ms | database CPU ms | together | errors |"
        )?;
        writeln!(f, "|---|--:|--:|--:|--:|--:|--:|--:|")?;
        for measure in &self.measures {
            let Measure {
                name,
                per_second,
                p50_ms,
                p99_ms,
                server_cpu_ms,
                database_cpu_ms,
                errors,
                ..
            } = measure;
            let together = server_cpu_ms
                .zip(*database_cpu_ms)
                .map(|(server, database)| server + database);
            let cpu = |cpu: Option<f64>| cpu.map_or_else(String::new, |cpu| format!("{cpu:.3}"));
            let [server, database, together] = [*server_cpu_ms, *database_cpu_ms, together].map(cpu);
            writeln!(
                f,
                "| {name} | {per_second:.0} | {p50_ms:.2} | {p99_ms:.2} | {server} | {database} | {together} | {errors} |"
            )?;
        }
        writeln!(f)?;
        for (name, floor, target) in TARGETS {
            if let (Some(ours), Some(floor)) = (self.find(name), self.find(floor)) {
                let ratio = ours.per_second / floor.per_second;
                write!(f, "{name} reaches {ratio:.2} of the throughput of \"{}\"", floor.name)?;
                writeln!(
                    f,
                    "{}",
                    if target > 0.0 {
                        format!("; target {target}")
                    } else {
                        String::new()
                    }
                )?;
            }
        }
        if let Some(rows) = self.index_rows {
            writeln!(f, "index rows per resource: {rows:.1}")?;
        }
        if let Some(memory) = self.server_peak_mib {
            writeln!(f, "memory of the server under load, at most: {memory:.0} MiB")?;
        }
        if let Some(seconds) = self.warm_start_s {
            writeln!(f, "warm start with a private database: {seconds:.2} s")?;
        }
        Ok(())
    }
}
