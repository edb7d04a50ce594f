//! TLS, spoken by the server itself: versions 1.3 and 1.2, with rustls and the ciphers of aws-lc-rs.
//!
//! The certificate is replaced while the server runs. Connections that are open keep the one that they began with; whoever
//! connects later is shown the new one. A new one that cannot be used is reported and the old one is kept: an accident with
//! a file must not take a server down.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;

/// How long a client may take to agree on a key.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A certificate and its key, as two PEM files, and what speaks TLS with them.
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    /// What the files held when they were last read, good or not, so that a bad pair is reported once.
    seen: Mutex<Files>,
    shown: Arc<Shown>,
    acceptor: tokio_rustls::TlsAcceptor,
}

/// The contents of both files.
#[derive(PartialEq, Eq)]
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// The certificate that clients are shown.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {0}: {1}")]
    Unreadable(PathBuf, io::Error),
    #[error("{0} holds no certificate in PEM form")]
    NoCertificate(PathBuf),
    #[error("{0} holds no private key in PEM form that is not encrypted")]
    NoKey(PathBuf),
    #[error("the certificate and the key cannot be used together: {0}")]
    Unusable(rustls::Error),
}

/// What became of a look at the files.
#[derive(Debug, PartialEq, Eq)]
pub enum Reloaded {
    Unchanged,
    /// They hold another pair, which is shown from now on.
    Replaced,
    /// They hold something that cannot be used; the pair of before is kept. A log line says what is wrong.
    Kept,
}

impl Tls {
    /// Reads the files: the server's certificate followed by those above it, and its private key.
    ///
    /// # Errors
    /// [`TlsError`]
    pub fn open(certificate: &Path, key: &Path) -> Result<Tls, TlsError> {
        let files = Files::read(certificate, key)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let pair = files.pair(certificate, key, &provider)?;
        let shown = Arc::new(Shown(RwLock::new(Arc::new(pair))));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(TlsError::Unusable)?
            .with_no_client_auth()
            .with_cert_resolver(shown.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Tls {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            seen: Mutex::new(files),
            shown,
            acceptor: Arc::new(config).into(),
        })
    }

    /// Agrees with a client on keys.
    ///
    /// # Errors
    /// When the client takes too long, or wants what this server does not speak.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        timeout(HANDSHAKE_TIMEOUT, self.acceptor.accept(stream)).await?
    }

    /// Looks whether the files changed, and shows what they hold now, if it can be used.
    pub fn reload(&self) -> Reloaded {
        let files = match Files::read(&self.certificate, &self.key) {
            Ok(files) => files,
            Err(error) => {
                tracing::error!(%error, "the certificate cannot be read again; the one of before stays");
                return Reloaded::Kept;
            }
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == files {
            return Reloaded::Unchanged;
        }
        let pair = files.pair(&self.certificate, &self.key, self.acceptor.config().crypto_provider());
        *seen = files;
        match pair {
            Ok(pair) => {
                *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair);
                tracing::info!("another certificate is shown from now on");
                Reloaded::Replaced
            }
            Err(error) => {
                tracing::error!(%error, "the new certificate cannot be used; the one of before stays");
                Reloaded::Kept
            }
        }
    }

    /// Looks at the files every few seconds, and at once when the process gets SIGHUP, until `stop` becomes true.
    pub async fn follow(&self, mut stop: watch::Receiver<bool>) {
        let following = async {
            let mut ticks = interval(LOOK_EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut hangup = signal(SignalKind::hangup()).ok();
            loop {
                let told = async {
                    match &mut hangup {
                        Some(hangup) => hangup.recv().await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    _ = ticks.tick() => {}
                    _ = told => tracing::info!("told to look at the certificate (SIGHUP)"),
                }
                self.reload();
            }
        };
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = following => {}
        }
    }
}

impl Files {
    fn read(certificate: &Path, key: &Path) -> Result<Files, TlsError> {
        let read = |path: &Path| fs::read(path).map_err(|error| TlsError::Unreadable(path.to_owned(), error));
        Ok(Files {
            certificate: read(certificate)?,
            key: read(key)?,
        })
    }

    /// The pair that they hold. `certificate` and `key` are their names, for errors.
    fn pair(&self, certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let no_certificate = || TlsError::NoCertificate(certificate.to_owned());
        let chain: Result<Vec<CertificateDer<'static>>, pem::Error> =
            CertificateDer::pem_slice_iter(&self.certificate).collect();
        let chain = chain.map_err(|_| no_certificate())?;
        if chain.is_empty() {
            return Err(no_certificate());
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| TlsError::NoKey(key.to_owned()))?;
        CertifiedKey::from_der(chain, key, provider).map_err(TlsError::Unusable)
    }
}
