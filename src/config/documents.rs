//! Files: where they are kept (`[objects]`), and which are taken (`[documents]`).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::secret::Secret;

/// Where the content of Binaries lies, encrypted: in a folder, or in a bucket of an S3 service.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ObjectsConfig {
    /// Empty for the folder `objects` of the data directory.
    pub folder: PathBuf,
    /// Name of a bucket, in place of a folder.
    pub bucket: String,
    /// Address of the S3 service; empty for Amazon's in `region`.
    pub endpoint: String,
    pub region: String,
    /// Empty where the machine itself may use the bucket.
    pub access_key: Secret,
    /// A file with the same.
    pub access_key_file: PathBuf,
    pub secret_key: Secret,
    /// A file with the same.
    pub secret_key_file: PathBuf,
    /// Longest content that is taken as bytes (`POST /fhir/Binary`, `DocumentReference/$upload`). In JSON, `http.max_body_bytes` counts.
    pub max_bytes: u64,
}

impl Default for ObjectsConfig {
    fn default() -> Self {
        Self {
            folder: PathBuf::new(),
            bucket: String::new(),
            endpoint: String::new(),
            region: "us-east-1".to_owned(),
            access_key: Secret::default(),
            access_key_file: PathBuf::new(),
            secret_key: Secret::default(),
            secret_key_file: PathBuf::new(),
            max_bytes: 1024 * 1024 * 1024,
        }
    }
}

/// Documents of patients.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DocumentsConfig {
    /// A virus scanner that speaks clamd's protocol: `tcp://127.0.0.1:3310` or `unix:/run/clamav/clamd.ctl`. Empty for none.
    pub scanner: String,
    /// How long the scanner may take for a part, and for its verdict.
    pub scanner_timeout_seconds: u64,
    /// Media types that a document may have.
    pub types: Vec<String>,
    /// How long an address that opens by itself works: 300 at most.
    pub presigned_seconds: u64,
}

impl Default for DocumentsConfig {
    fn default() -> Self {
        let types = [
            "application/pdf",
            "image/jpeg",
            "image/png",
            "image/webp",
            "application/dicom",
            "text/plain",
            "application/xml",
            "text/xml",
        ];
        Self {
            scanner: String::new(),
            scanner_timeout_seconds: 60,
            types: types.map(str::to_owned).to_vec(),
            presigned_seconds: 300,
        }
    }
}
