//! The user's settings of TLS, and the one choice that is not the user's: the cryptography.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use dimse_proto::ul::user_info::Secret;
use rustls::crypto::{CryptoProvider, ring};

/// How peers are authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Both sides show a certificate that the other trusts.
    Required,
    /// A requestor without a certificate is accepted; a requestor with an untrusted certificate is not.
    Optional,
    /// An acceptor asks for no certificate, and a requestor does not check the acceptor's certificate.
    Off,
}

/// The settings of TLS: paths of the files, and the rules.
#[derive(Clone)]
pub struct Rules {
    /// Our certificate, and those between it and the CA.
    pub cert: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
    /// The pass phrase of the key.
    pub password: Option<Secret>,
    /// Certificates of the CAs that peers' certificates come from: files, and folders of files.
    pub ca: Vec<PathBuf>,
    /// Lists of what these CAs have revoked.
    pub crl: Vec<PathBuf>,
    /// SHA-256 of certificates that are trusted whatever their contents.
    pub pinned: Vec<[u8; 32]>,
    /// How peers are authenticated.
    pub verify: Verify,
    /// Name that an acceptor's certificate must have; `*` for any, `None` for the host connected to.
    pub server_name: Option<String>,
    /// TLS 1.3 alone.
    pub tls13_only: bool,
}

/// The one place where the cryptography is chosen.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(ring::default_provider())))
}
