//! Where objects lie.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::{BackoffConfig, ClientOptions, Error, ObjectStore, RetryConfig};

/// How long the store is tried before whoever waits is told that it is away.
const PATIENCE: Duration = Duration::from_secs(10);

/// A folder, or a bucket of an S3 service.
#[derive(Clone, Debug)]
pub enum Place {
    Folder(PathBuf),
    Bucket(Bucket),
}

/// A bucket, and who may use it.
#[derive(Clone)]
pub struct Bucket {
    /// The address of the service; empty for that of Amazon in the region.
    pub endpoint: String,
    pub name: String,
    pub region: String,
    /// Empty where the machine itself is allowed to use the bucket.
    pub access_key: String,
    pub secret_key: String,
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {:?}", self.name, self.endpoint)
    }
}

impl Place {
    /// # Errors
    /// When the folder cannot be made, or the bucket cannot be addressed.
    pub(super) fn open(&self) -> Result<Arc<dyn ObjectStore>, Error> {
        match self {
            Place::Folder(folder) => {
                let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
                made.and_then(|()| fs::canonicalize(folder))
                    .map_err(|error| Error::Generic {
                        store: "folder",
                        source: error.into(),
                    })?;
                // What was acknowledged survives a power failure.
                Ok(Arc::new(LocalFileSystem::new_with_prefix(folder)?.with_fsync(true)))
            }
            Place::Bucket(bucket) => Ok(Arc::new(bucket.open()?)),
        }
    }
}

impl Bucket {
    fn open(&self) -> Result<object_store::aws::AmazonS3, Error> {
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&self.name)
            .with_region(&self.region)
            .with_client_options(
                ClientOptions::new()
                    .with_connect_timeout(Duration::from_secs(3))
                    // Of one part, not of a whole object.
                    .with_timeout(Duration::from_secs(60)),
            )
            .with_retry(RetryConfig {
                backoff: BackoffConfig::default(),
                max_retries: 3,
                retry_timeout: PATIENCE,
            });
        if !self.endpoint.is_empty() {
            builder = builder
                .with_endpoint(&self.endpoint)
                .with_allow_http(self.endpoint.starts_with("http://"));
        }
        if !self.access_key.is_empty() {
            builder = builder
                .with_access_key_id(&self.access_key)
                .with_secret_access_key(&self.secret_key);
        }
        builder.build()
    }
}
