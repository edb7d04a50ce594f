//! The last link of the chain, kept outside of the database: in a file of the server's data directory. With it, a trail
//! whose end was cut off is known to be cut.
//!
//! The file only moves forward, and only while the chain still has the link that it holds. So it goes on telling of a cut
//! until somebody who has looked into it removes the file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};

use super::chain::Head;

/// A link that was the end of the chain once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Anchor {
    pub head: Head,
    /// Whether this process has found the chain without it, and said so.
    pub is_known_broken: bool,
}

impl From<Head> for Anchor {
    fn from(head: Head) -> Anchor {
        Anchor {
            head,
            is_known_broken: false,
        }
    }
}

impl FromStr for Head {
    type Err = anyhow::Error;

    /// Reads `42:` and 64 hexadecimal digits, as [`Head`] is displayed.
    fn from_str(text: &str) -> Result<Head> {
        let parsed = text.trim().split_once(':').and_then(|(seq, mac)| {
            let is_hex = mac.len() == 64 && mac.bytes().all(|byte| byte.is_ascii_hexdigit());
            let byte = |n: usize| u8::from_str_radix(&mac[n..n + 2], 16).ok();
            let mac: Option<Vec<u8>> = is_hex.then(|| (0..64).step_by(2).filter_map(byte).collect());
            Some(Head {
                seq: seq.parse().ok().filter(|seq| *seq > 0)?,
                mac: mac?,
            })
        });
        match parsed {
            Some(head) => Ok(head),
            None => bail!("this is no anchor: a number, a colon and 64 hexadecimal digits"),
        }
    }
}

impl std::fmt::Display for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:", self.seq)?;
        self.mac.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Where a server keeps its anchor.
#[derive(Clone, Debug)]
pub struct AnchorFile(PathBuf);

impl AnchorFile {
    pub fn of(data_dir: &Path) -> AnchorFile {
        AnchorFile(data_dir.join("audit.anchor"))
    }

    /// A copy of it elsewhere.
    pub fn at(path: PathBuf) -> AnchorFile {
        AnchorFile(path)
    }

    /// The anchor; `None` if there is no file yet.
    ///
    /// # Errors
    /// When the file cannot be read, or holds something else.
    pub fn read(&self) -> Result<Option<Head>> {
        let name = self.0.display();
        match fs::read_to_string(&self.0) {
            Ok(text) => Ok(Some(text.parse().with_context(|| format!("in {name}"))?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {name}")),
        }
    }

    /// Replaces the anchor, whole or not at all.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, head: &Head) -> io::Result<()> {
        let new = self.0.with_extension("anchor.new");
        if let Some(folder) = self.0.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&new, format!("{head}\n"))?;
        fs::rename(&new, &self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let head = Head {
            seq: 42,
            mac: (0..32).collect(),
        };
        let text = head.to_string();
        assert_eq!(text.parse::<Head>().unwrap(), head);
        for wrong in [
            "",
            "42",
            "42:00",
            &text[1..3],
            &format!("{text}0"),
            &text.replace('0', "g"),
            "-1:",
        ] {
            assert!(wrong.parse::<Head>().is_err(), "{wrong:?}");
        }
    }
}
