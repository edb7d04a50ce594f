//! The figures, for people and for programs.

use std::fmt;

use serde::Serialize;

use super::driver::Measure;
use super::searches::SearchMeasure;

/// All that was measured in one run.
#[derive(Debug, Serialize)]
pub struct Figures {
    pub concurrency: u32,
    pub measures: Vec<Measure>,
    /// From the smallest size of the store to the largest.
    pub searches: Vec<SearchesAt>,
    /// What one further index row adds to a create, in CPU milliseconds of server and database.
    pub index_row_cpu_ms: Option<f64>,
    /// The most memory that the server had in RAM, in MiB.
    pub server_peak_mib: Option<f64>,
    /// Of each resource that the floor wrote.
    pub index_rows: Option<f64>,
    /// From the start of the program to its readiness, with a private database.
    pub warm_start_s: Option<f64>,
}

/// The searches at one size of the store.
#[derive(Debug, Serialize)]
pub struct SearchesAt {
    pub resources: u64,
    pub searches: Vec<SearchMeasure>,
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
        Figures {
            concurrency,
            measures: Vec::new(),
            searches: Vec::new(),
            index_row_cpu_ms: None,
            server_peak_mib: None,
            index_rows: None,
            warm_start_s: None,
        }
    }

    /// Adds a measure, and tells who waits.
    pub fn add(&mut self, measure: Measure) {
        eprintln!("{:40} {:>9.0}/s", measure.name, measure.per_second);
        self.measures.push(measure);
    }

    /// Adds the searches at one size, and tells who waits.
    pub fn add_searches(&mut self, searches: SearchesAt) {
        eprintln!(
            "{} searches at {} resources",
            searches.searches.len(),
            searches.resources
        );
        self.searches.push(searches);
    }

    /// Adds the creates of resources with so many more `rows` in the index than those of the measure before.
    pub fn add_more_rows(&mut self, measure: Measure, rows: usize) {
        self.index_row_cpu_ms = self.measures.last().and_then(|plain| {
            let more = together(&measure)? - together(plain)?;
            Some(more / rows as f64)
        });
        self.add(measure);
    }

    fn find(&self, name: &str) -> Option<&Measure> {
        self.measures.iter().find(|measure| measure.name == name)
    }

    fn write_operations(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
                errors,
                ..
            } = measure;
            let [server, database, both] = cpu(measure);
            writeln!(
                f,
                "| {name} | {per_second:.0} | {p50_ms:.2} | {p99_ms:.2} | {server} | {database} | {both} | {errors} |"
            )?;
        }
        Ok(())
    }

    /// What grows and what does not: matches, rows and CPU at each size.
    fn write_growth(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(last) = self.searches.last() else {
            return Ok(());
        };
        let sizes: Vec<String> = self.searches.iter().map(|at| at.resources.to_string()).collect();
        let sizes = sizes.join(" / ");
        writeln!(f, "\nAt {sizes} resources:\n")?;
        writeln!(
            f,
            "| search | matches | rows touched | CPU ms | p50 ms, one client | p99 ms, one client |"
        )?;
        writeln!(f, "|---|--:|--:|--:|--:|--:|")?;
        for (place, search) in last.searches.iter().enumerate() {
            // A store that is too small has no deep page.
            let at_each: Vec<&SearchMeasure> = self.searches.iter().filter_map(|at| at.searches.get(place)).collect();
            let column = |value: &dyn Fn(&SearchMeasure) -> String| {
                let values: Vec<String> = at_each.iter().map(|search| value(search)).collect();
                values.join(" / ")
            };
            let count = |count: Option<f64>| count.map_or_else(|| "?".to_owned(), |count| format!("{count:.0}"));
            writeln!(
                f,
                "| {} | {} | {} | {} | {} | {} |",
                search.name,
                column(&|search| count(search.matches)),
                column(&|search| count(search.rows_touched)),
                column(&|search| together(&search.together).map_or_else(|| "?".to_owned(), |cpu| format!("{cpu:.2}"))),
                column(&|search| format!("{:.1}", search.alone.p50_ms)),
                column(&|search| format!("{:.1}", search.alone.p99_ms)),
            )?;
        }
        Ok(())
    }
}

impl SearchesAt {
    fn write(&self, f: &mut fmt::Formatter<'_>, concurrency: u32) -> fmt::Result {
        writeln!(
            f,
            "\n{} resources, {concurrency} clients at one time:\n",
            self.resources
        )?;
        writeln!(
            f,
            "| search | per second | p50 ms | p99 ms | server CPU ms | database CPU ms | together |"
        )?;
        writeln!(f, "|---|--:|--:|--:|--:|--:|--:|")?;
        for search in &self.searches {
            let Measure {
                per_second,
                p50_ms,
                p99_ms,
                ..
            } = &search.together;
            let [server, database, both] = cpu(&search.together);
            writeln!(
                f,
                "| {} | {per_second:.0} | {p50_ms:.1} | {p99_ms:.1} | {server} | {database} | {both} |",
                search.name
            )?;
        }
        Ok(())
    }
}

/// CPU of server and database for one operation.
fn together(measure: &Measure) -> Option<f64> {
    Some(measure.server_cpu_ms? + measure.database_cpu_ms?)
}

/// CPU of the server, of the database, and of both, where they are known.
fn cpu(measure: &Measure) -> [String; 3] {
    let text = |cpu: Option<f64>| cpu.map_or_else(String::new, |cpu| format!("{cpu:.3}"));
    [measure.server_cpu_ms, measure.database_cpu_ms, together(measure)].map(text)
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{} clients at one time:\n", self.concurrency)?;
        self.write_operations(f)?;
        for at in &self.searches {
            at.write(f, self.concurrency)?;
        }
        self.write_growth(f)?;
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
        if let Some(cpu) = self.index_row_cpu_ms {
            writeln!(f, "a further index row adds to a create: {cpu:.4} ms of CPU")?;
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
