//! Certificates, keys and revocation lists as they lie on a disk: PEM or DER.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::der::SecretDocument;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs8KeyDer,
};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;

use super::fault::files as fault;
use super::rules::{Rules, provider};
use crate::error::TlsFault;

/// What files of certificates are called in a folder.
const CERTIFICATES: [&str; 4] = ["pem", "crt", "cer", "der"];

const ENCRYPTED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
const ENCRYPTED_END: &str = "-----END ENCRYPTED PRIVATE KEY-----";

/// The contents of the files.
#[derive(Debug)]
pub(super) struct Material {
    pub(super) identity: Option<Arc<CertifiedKey>>,
    pub(super) servers: Option<Arc<WebPkiServerVerifier>>,
    pub(super) clients: Option<Arc<dyn ClientCertVerifier>>,
}

/// What distinguishes two states of a file: inode, size, modification time. `None` when it is not there.
pub(super) type Stamp = Option<(u64, u64, i64, i64)>;

/// The state of every file.
pub(super) fn stamps(rules: &Rules) -> Vec<Stamp> {
    let own = rules.cert.iter().chain(&rules.key);
    own.chain(&rules.crl)
        .chain(&rules.ca)
        .chain(&authorities(rules).unwrap_or_default())
        .map(|path| {
            // Inode too: a file that is replaced within the clock's resolution, by one of the same size, is another
            // one.
            let facts = fs::metadata(path).ok()?;
            Some((facts.ino(), facts.size(), facts.mtime(), facts.mtime_nsec()))
        })
        .collect()
}

/// The files of CAs: those that were named, and of a folder those whose name says that they are certificates.
fn authorities(rules: &Rules) -> Result<Vec<PathBuf>, TlsFault> {
    let mut files = Vec::new();
    for path in &rules.ca {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let unreadable = |error| fault(format!("{}: {error}", path.display()));
        for entry in fs::read_dir(path).map_err(unreadable)? {
            let file = entry.map_err(unreadable)?.path();
            let kind = file.extension().and_then(OsStr::to_str);
            if kind.is_some_and(|kind| CERTIFICATES.contains(&kind)) {
                files.push(file);
            }
        }
    }
    files.sort();
    Ok(files)
}

impl Material {
    pub(super) fn read(rules: &Rules) -> Result<Self, TlsFault> {
        let (servers, clients) = verifiers(rules)?;
        Ok(Self {
            identity: identity(rules)?.map(Arc::new),
            servers,
            clients,
        })
    }
}

fn identity(rules: &Rules) -> Result<Option<CertifiedKey>, TlsFault> {
    let Some(cert) = &rules.cert else {
        return Ok(None);
    };
    let chain = certificates(cert)?;
    let key_path = rules.key.as_ref().unwrap_or(cert);
    let password = rules.password.as_ref().map(|secret| secret.0.as_ref());
    let key = private_key(key_path, password)?;
    CertifiedKey::from_der(chain, key, &provider())
        .map(Some)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => fault(format!(
                "{}: the key does not belong to the certificate in {}",
                key_path.display(),
                cert.display()
            )),
            rustls::Error::InvalidCertificate(_) => {
                fault(format!("{}: not a certificate", cert.display()))
            }
            error => fault(format!("{}: {error}", key_path.display())),
        })
}

type Verifiers = (
    Option<Arc<WebPkiServerVerifier>>,
    Option<Arc<dyn ClientCertVerifier>>,
);

/// What looks at acceptors' and at requestors' certificates; none where no CA was named.
fn verifiers(rules: &Rules) -> Result<Verifiers, TlsFault> {
    if rules.ca.is_empty() {
        return Ok((None, None));
    }
    let mut roots = RootCertStore::empty();
    for path in authorities(rules)? {
        for certificate in certificates(&path)? {
            roots
                .add(certificate)
                .map_err(|error| fault(format!("{}: {error}", path.display())))?;
        }
    }
    if roots.is_empty() {
        return Err(fault(format!(
            "no certificate of a CA: {:?} has no file *.pem, *.crt, *.cer or *.der",
            rules.ca
        )));
    }
    let mut lists = Vec::new();
    for path in &rules.crl {
        lists.extend(revocations(path)?);
    }
    let roots = Arc::new(roots);
    let of_crl = |error: &dyn std::fmt::Display| fault(format!("revocation lists: {error}"));
    // A list says what one CA has revoked: those above it are trusted because they are in the CA's file.
    let servers = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), provider())
        .with_crls(lists.iter().cloned())
        .only_check_end_entity_revocation()
        .build()
        .map_err(|error| of_crl(&error))?;
    let clients = WebPkiClientVerifier::builder_with_provider(roots, provider())
        .with_crls(lists)
        .only_check_end_entity_revocation()
        .build()
        .map_err(|error| of_crl(&error))?;
    Ok((Some(servers), Some(clients)))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsFault> {
    fs::read(path).map_err(|error| fault(format!("{}: {error}", path.display())))
}

fn is_pem(bytes: &[u8]) -> bool {
    bytes.windows(11).any(|window| window == b"-----BEGIN ")
}

/// All items of a kind, at least one.
fn items<T: PemObject + From<Vec<u8>>>(path: &Path, what: &str) -> Result<Vec<T>, TlsFault> {
    let bytes = read(path)?;
    if !is_pem(&bytes) {
        return Ok(vec![T::from(bytes)]);
    }
    let found = T::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| fault(format!("{}: {error}", path.display())))?;
    if found.is_empty() {
        return Err(fault(format!("{}: no {what} in it", path.display())));
    }
    Ok(found)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    items(path, "certificate")
}

fn revocations(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsFault> {
    items(path, "certificate revocation list")
}

fn private_key(path: &Path, password: Option<&[u8]>) -> Result<PrivateKeyDer<'static>, TlsFault> {
    let shown = path.display();
    let bytes = read(path)?;
    if !is_pem(&bytes) {
        return match PrivateKeyDer::try_from(bytes.clone()) {
            Ok(key) => Ok(key),
            Err(_) if EncryptedPrivateKeyInfoRef::try_from(bytes.as_slice()).is_ok() => {
                decrypted(path, &bytes, password)
            }
            Err(what) => Err(fault(format!("{shown}: {what}"))),
        };
    }
    let text = String::from_utf8_lossy(&bytes);
    if let Some((_, rest)) = text.split_once(ENCRYPTED)
        && let Some((body, _)) = rest.split_once(ENCRYPTED_END)
    {
        let pem = format!("{ENCRYPTED}{body}{ENCRYPTED_END}\n");
        let (_, document) =
            SecretDocument::from_pem(&pem).map_err(|error| fault(format!("{shown}: {error}")))?;
        return decrypted(path, document.as_bytes(), password);
    }
    if text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(fault(format!(
            "{shown}: the key is encrypted in the old way of OpenSSL, which is weak: convert it by \
             `openssl pkcs8 -topk8 -in {shown} -out NEW`"
        )));
    }
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => {
            fault(format!("{shown}: no private key in it"))
        }
        error => fault(format!("{shown}: {error}")),
    })
}

fn decrypted(
    path: &Path,
    der: &[u8],
    password: Option<&[u8]>,
) -> Result<PrivateKeyDer<'static>, TlsFault> {
    let shown = path.display();
    let Some(password) = password else {
        return Err(fault(format!(
            "{shown}: the key is encrypted, and no pass phrase was given"
        )));
    };
    let key = EncryptedPrivateKeyInfoRef::try_from(der)
        .map_err(|error| fault(format!("{shown}: {error}")))?
        .decrypt(password)
        .map_err(|error| {
            fault(format!(
                "{shown}: the pass phrase is wrong, or the encryption is none that is supported ({error})"
            ))
        })?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}
