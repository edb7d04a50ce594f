//! A virus scanner that speaks the protocol of clamd (`INSTREAM`, see clamd's manual page): the file goes there piece by piece while
//! it goes to the store, and is not there unless the scanner says that it is clean.

use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::StatusCode;
use futures::{StreamExt, stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::fhir::content::ContentStream;
use crate::fhir::error::{FhirError, Issue, IssueType};

/// Longest verdict that is read, in bytes.
const LONGEST_VERDICT: usize = 1024;

/// Where the scanner listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Tcp(String),
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| path.starts_with('/')) {
            return Ok(Address::Unix(path.into()));
        }
        let host = text.strip_prefix("tcp://").filter(|host| host.contains(':'));
        host.map(|host| Address::Tcp(host.trim_end_matches('/').to_owned()))
            .ok_or_else(|| "a scanner is tcp://host:port or unix:/path".to_owned())
    }
}

/// A scanner.
#[derive(Clone, Debug)]
pub struct Scanner {
    address: Arc<Address>,
    /// How long it may take for a piece, and for its verdict.
    patience: Duration,
}

trait Wire: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Wire for T {}

/// A conversation with the scanner.
struct Session {
    wire: Pin<Box<dyn Wire>>,
    patience: Duration,
}

/// What it says of a file.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Clean,
    /// The name of what was found.
    Infected(String),
    /// It cannot tell.
    Unclear(String),
}

impl Verdict {
    /// Reads `stream: OK`, `stream: Name FOUND` or `… ERROR`.
    fn read(text: &str) -> Verdict {
        let text = text.trim_end_matches(['\0', '\n']).trim();
        let verdict = text.strip_prefix("stream: ").unwrap_or(text);
        match verdict.strip_suffix(" FOUND") {
            Some(name) => Verdict::Infected(name.to_owned()),
            None if verdict == "OK" => Verdict::Clean,
            None => Verdict::Unclear(text.to_owned()),
        }
    }

    fn into_result(self) -> Result<(), FhirError> {
        match self {
            Verdict::Clean => Ok(()),
            Verdict::Infected(name) => {
                tracing::warn!(
                    signature = name,
                    "a file was refused: the scanner found something in it"
                );
                let issue = Issue::error(
                    IssueType::Security,
                    "The scanner found malware in this file. It was not stored.",
                );
                Err(FhirError::new(StatusCode::UNPROCESSABLE_ENTITY, issue))
            }
            Verdict::Unclear(said) if said.contains("size limit exceeded") => Err(FhirError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                Issue::error(
                    IssueType::TooLong,
                    "This file is longer than the scanner can look at. It was not stored.",
                ),
            )),
            Verdict::Unclear(said) => Err(away(said)),
        }
    }
}

fn away(cause: impl fmt::Display) -> FhirError {
    tracing::warn!(%cause, "the virus scanner does not answer");
    FhirError::unavailable("Files cannot be looked at by the scanner now, so none are taken. Try again later.")
}

impl Scanner {
    /// A scanner at an address.
    pub fn new(address: Address, patience: Duration) -> Scanner {
        Scanner {
            address: Arc::new(address),
            patience,
        }
    }

    /// The same content, which fails at its end, or before, unless the scanner says that it is clean.
    ///
    /// # Errors
    /// 503 when the scanner does not answer.
    pub async fn watch(&self, content: ContentStream) -> Result<ContentStream, FhirError> {
        let session = self.begin().await?;
        let watched = stream::try_unfold((content, session), |(mut content, mut session)| async move {
            match content.next().await {
                Some(Ok(piece)) => {
                    session.send(&piece).await?;
                    Ok(Some((piece, (content, session))))
                }
                Some(Err(error)) => Err(error),
                None => {
                    session.verdict().await?.into_result()?;
                    Ok(None)
                }
            }
        });
        Ok(watched.boxed())
    }

    async fn begin(&self) -> Result<Session, FhirError> {
        let connecting = async {
            Ok::<Pin<Box<dyn Wire>>, std::io::Error>(match &*self.address {
                Address::Tcp(address) => Box::pin(TcpStream::connect(address).await?),
                Address::Unix(path) => Box::pin(UnixStream::connect(path).await?),
            })
        };
        let wire = timeout(self.patience, connecting).await.map_err(away)?.map_err(away)?;
        let mut session = Session {
            wire,
            patience: self.patience,
        };
        session.write(b"zINSTREAM\0").await.map_err(away)?;
        Ok(session)
    }
}

impl Session {
    async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        timeout(self.patience, self.wire.write_all(bytes)).await?
    }

    /// A piece: its length, and itself. A scanner that has seen enough says so and closes.
    async fn send(&mut self, piece: &Bytes) -> Result<(), FhirError> {
        if piece.is_empty() {
            return Ok(());
        }
        let length = u32::try_from(piece.len()).map_err(away)?.to_be_bytes();
        let sent = async {
            self.write(&length).await?;
            self.write(piece).await
        };
        if let Err(error) = sent.await {
            return match self.read_verdict().await {
                Ok(Verdict::Clean) | Err(_) => Err(away(error)),
                Ok(verdict) => verdict.into_result(),
            };
        }
        Ok(())
    }

    async fn verdict(&mut self) -> Result<Verdict, FhirError> {
        // The last piece has no length.
        let ended = self.write(&[0; 4]).await;
        match (self.read_verdict().await, ended) {
            (Ok(verdict), _) => Ok(verdict),
            (Err(error), Ok(())) | (Err(_), Err(error)) => Err(away(error)),
        }
    }

    async fn read_verdict(&mut self) -> std::io::Result<Verdict> {
        let mut said = Vec::new();
        let mut piece = [0; 256];
        // It ends with a zero.
        while said.last() != Some(&0) && said.len() < LONGEST_VERDICT {
            match timeout(self.patience, self.wire.read(&mut piece)).await? {
                Ok(0) => break,
                Ok(length) => said.extend_from_slice(&piece[..length]),
                // A scanner that has seen enough closes while pieces are on their way; what it said first counts.
                Err(_) if !said.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        match said.is_empty() {
            true => Err(std::io::ErrorKind::UnexpectedEof.into()),
            false => Ok(Verdict::read(&String::from_utf8_lossy(&said))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_those_of_clamd() {
        assert_eq!(Verdict::read("stream: OK\0"), Verdict::Clean);
        let infected = Verdict::read("stream: Eicar-Signature FOUND\0");
        assert_eq!(infected, Verdict::Infected("Eicar-Signature".to_owned()));
        let refused = infected.into_result().unwrap_err();
        assert!(refused.status == 422 && !refused.to_json().contains("Eicar"));
        let unclear = Verdict::read("INSTREAM size limit exceeded. ERROR\0");
        assert_eq!(unclear.into_result().unwrap_err().issues[0].code, IssueType::TooLong);
        for said in ["", "stream: ", "OK OK", "stream: lost ERROR"] {
            assert_eq!(Verdict::read(said).into_result().unwrap_err().status, 503, "{said}");
        }
    }

    #[test]
    fn a_scanner_has_an_address() {
        assert_eq!(
            "tcp://127.0.0.1:3310".parse(),
            Ok(Address::Tcp("127.0.0.1:3310".to_owned()))
        );
        assert_eq!(
            "unix:/run/clamav/clamd.ctl".parse(),
            Ok(Address::Unix("/run/clamav/clamd.ctl".into()))
        );
        for wrong in [
            "",
            "127.0.0.1:3310",
            "tcp://localhost",
            "unix:clamd.ctl",
            "http://scanner:80",
        ] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }
}
