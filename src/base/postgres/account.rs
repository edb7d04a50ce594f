//! Not running Postgres as root, which it refuses.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::{ClusterError, During};

/// Who runs the programs of Postgres and owns the cluster: whoever runs the server, or, when that is root, the first of
/// the accounts `medconsult`, `postgres` and `nobody` that exists.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) name: String,
    /// User and group to change to; `None` when the server is not root.
    dropped: Option<(u32, u32)>,
}

/// Accounts that root may drop to, best first. An account that nobody else uses keeps others away from the socket.
const UNPRIVILEGED: [&str; 3] = ["medconsult", "postgres", "nobody"];

impl Account {
    pub(super) fn choose() -> Result<Self, ClusterError> {
        if !is_root() {
            let name = id(&["-un"]).unwrap_or_default();
            return Ok(Self { name, dropped: None });
        }
        UNPRIVILEGED
            .into_iter()
            .find_map(|name| {
                let user = id(&["-u", name])?.parse().ok()?;
                let group = id(&["-g", name])?.parse().ok()?;
                Some(Self {
                    name: name.to_owned(),
                    dropped: Some((user, group)),
                })
            })
            .ok_or(ClusterError::NoAccount)
    }

    /// A command that will run under this account, in `directory`.
    pub(super) fn command(&self, program: impl AsRef<Path>, directory: &Path) -> Command {
        let mut command = Command::new(program.as_ref());
        // The server's own directory may be closed to the account, and Postgres wants one that it can return to.
        command
            .current_dir(directory)
            .env_remove("PGDATA")
            .env("LC_MESSAGES", "C")
            .env_remove("LC_ALL");
        if let Some((user, group)) = self.dropped {
            // The standard library also clears root's supplementary groups here.
            command.uid(user).gid(group);
        }
        command
    }

    /// Gives `path` to the account.
    pub(super) fn own(&self, path: &Path) -> Result<(), ClusterError> {
        match self.dropped {
            Some((user, group)) => chown(path, Some(user), Some(group)),
            None => Ok(()),
        }
        .during(|| format!("cannot give {} to the account {}", path.display(), self.name))
    }

    /// Makes sure that the account can enter `directory`: a directory below root's home, for instance, is closed to it.
    pub(super) fn check_reach(&self, directory: &Path) -> Result<(), ClusterError> {
        if self.dropped.is_none() {
            return Ok(());
        }
        let reached = self
            .command("test", Path::new("/"))
            .arg("-x")
            .arg(directory)
            .status()
            .during(|| "cannot run the program test".to_owned())?
            .success();
        if reached {
            Ok(())
        } else {
            Err(ClusterError::Unreachable {
                account: self.name.clone(),
                directory: directory.to_owned(),
            })
        }
    }
}

/// Whether this process has root's rights.
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The name of the account that this process runs under, as the operating system knows it.
pub fn own_name() -> Option<String> {
    id(&["-un"])
}

/// Asks the program `id`, which also knows accounts that are not in /etc/passwd (macOS, LDAP).
fn id(arguments: &[&str]) -> Option<String> {
    let output = Command::new("id").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
