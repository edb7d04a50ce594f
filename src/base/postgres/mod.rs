//! A private Postgres, for whoever names no database of their own.
//!
//! The cluster lives in the data directory and listens on nothing but a Unix socket in a directory with mode 0700. It is
//! made on the first start, stopped when the server stops, and started again if it dies. If the *server* dies, the next
//! one takes over what it left behind: a cluster that still runs, one that crashed, or one that was never finished.
//!
//! ```text
//! <data directory>/
//!   lock            held by the running server; a second one on the same directory is refused
//!   postgres/       the cluster (PGDATA)
//!   run/            its socket
//!   postgres.log    what Postgres says; postgres.log.1 is from the run before
//! ```
//!
//! | file | concern |
//! |---|---|
//! | [`programs`] | finding Postgres on this machine |
//! | [`account`] | not running it as root |
//! | [`settings`] | what it is told |
//! | [`cluster`] | its life: make, take over, start, watch, stop |

mod account;
mod cluster;
mod programs;
mod settings;

use std::io;
use std::path::PathBuf;

pub use account::own_name;
pub use cluster::{Cluster, ClusterOptions};
pub use settings::Durability;

/// The oldest major version that is supported.
pub const OLDEST_MAJOR: u32 = 15;

/// Why the private Postgres cannot run. Each message says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No programs of PostgreSQL, or only ones that are too old.
    #[error(
        "no PostgreSQL {OLDEST_MAJOR} or newer was found ({looked_in}).\n\
         Install it:  {install}\n\
         or name a running database with DATABASE_URL, or a folder of programs with MEDCONSULT_POSTGRES_PROGRAMS."
    )]
    NotInstalled { looked_in: String, install: &'static str },

    /// The cluster was made by a major version whose programs are not here.
    #[error(
        "the data in {} was written by PostgreSQL {wanted}, which was not found on this machine.\n\
         Install PostgreSQL {wanted} (Debian: apt-get install postgresql-{wanted}), or convert the data with pg_upgrade.",
        .directory.display()
    )]
    WrongVersion { directory: PathBuf, wanted: u32 },

    /// Another server holds the lock.
    #[error("another MedConsult server is running on the data directory {}; stop it, or choose another directory with MEDCONSULT_DATA_DIR", .0.display())]
    InUse(PathBuf),

    /// Started as root, and the unprivileged account cannot get to the data directory.
    #[error("the account {account:?}, which runs Postgres because it refuses to run as root, cannot reach {}; choose another data directory with MEDCONSULT_DATA_DIR", .directory.display())]
    Unreachable { account: String, directory: PathBuf },

    /// Started as root on a system without any account to use instead.
    #[error(
        "Postgres refuses to run as root, and there is no account medconsult, postgres or nobody to run it; create one: useradd --system medconsult"
    )]
    NoAccount,

    /// The path of a Unix socket has a fixed maximal length in every operating system.
    #[error("the data directory's path is too long for a Unix socket ({} has more than {} bytes); choose a shorter one with MEDCONSULT_DATA_DIR", .0.display(), cluster::LONGEST_SOCKET_PATH)]
    PathTooLong(PathBuf),

    /// A program of Postgres failed.
    #[error("{program} failed ({status}):\n{output}")]
    Program {
        program: &'static str,
        status: String,
        output: String,
    },

    /// The cluster runs but could not be prepared for us.
    #[error("the private Postgres runs, but could not be prepared: {0}")]
    Prepare(#[from] sqlx::Error),

    /// The operating system refused something.
    #[error("{action}: {source}")]
    Io { action: String, source: io::Error },
}

/// Gives an [`io::Error`] the sentence that tells what was attempted.
trait During<T> {
    fn during(self, action: impl FnOnce() -> String) -> Result<T, ClusterError>;
}

impl<T> During<T> for io::Result<T> {
    fn during(self, action: impl FnOnce() -> String) -> Result<T, ClusterError> {
        self.map_err(|source| ClusterError::Io {
            action: action(),
            source,
        })
    }
}
