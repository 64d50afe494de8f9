//! `_core.TLS`: what secures the connections of a node, and what a handshake agreed on.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use dimse_net::transport::tls::{self as net, Rules, Subject, Verify};
use dimse_proto::ul::user_info::Secret;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

/// TLS by rules; its files are read when they are needed, and when they have changed.
#[pyclass(frozen, module = "dimse_rs._core", name = "TLS")]
pub(crate) struct Tls {
    pub(crate) inner: Arc<net::Tls>,
}

/// What this node shows of itself: files with its certificate and key.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Credentials {
    cert: PathBuf,
    key: Option<PathBuf>,
    password: Option<Secret>,
}

#[pymethods]
impl Credentials {
    /// `key`: None for one that is in the file of the certificate. `password`: its pass phrase.
    #[new]
    fn new(cert: PathBuf, key: Option<PathBuf>, password: Option<PyBackedBytes>) -> Self {
        Self {
            cert,
            key,
            password: password.map(|text| Secret(Bytes::copy_from_slice(&text))),
        }
    }
}

#[pymethods]
impl Tls {
    /// `verify`: "required", "optional" or "off". `pinned`: SHA-256 of certificates.
    #[new]
    #[pyo3(signature = (own, *, ca, crl, pinned, verify, server_name, tls13_only))]
    fn new(
        own: Option<&Bound<'_, Credentials>>,
        ca: Vec<PathBuf>,
        crl: Vec<PathBuf>,
        pinned: Vec<[u8; 32]>,
        verify: &str,
        server_name: Option<String>,
        tls13_only: bool,
    ) -> PyResult<Self> {
        let verify = match verify {
            "required" => Verify::Required,
            "optional" => Verify::Optional,
            "off" => Verify::Off,
            other => return Err(PyValueError::new_err(format!("verify={other:?}"))),
        };
        // Paths alone are kept: files are read at the first handshake, and again when they have changed.
        let own = own.map(Bound::get);
        let rules = Rules {
            cert: own.map(|own| own.cert.clone()),
            key: own.and_then(|own| own.key.clone()),
            password: own.and_then(|own| own.password.clone()),
            ca,
            crl,
            pinned,
            verify,
            server_name,
            tls13_only,
        };
        Ok(Self {
            inner: Arc::new(net::Tls::new(rules)),
        })
    }
}

/// A peer's certificate.
#[pyclass(frozen, get_all, module = "dimse_rs._core")]
pub(crate) struct CertificateFacts {
    /// Its bytes.
    der: Py<PyBytes>,
    /// Its distinguished name.
    subject: String,
    /// What it is for: hosts, addresses, mail addresses and URIs, then common names.
    names: Vec<String>,
}

/// What a TLS handshake agreed on.
#[pyclass(frozen, get_all, module = "dimse_rs._core", name = "TLSFacts")]
pub(crate) struct TlsFacts {
    version: String,
    cipher_suite: String,
    /// None when the peer showed none.
    certificate: Option<Py<CertificateFacts>>,
}

impl TlsFacts {
    pub(crate) fn of(py: Python<'_>, agreed: &dimse_net::facts::TlsFacts) -> PyResult<Self> {
        let certificate = agreed.certificate.as_ref().map(|der| {
            // The names are read here, on demand: most associations are never asked for their certificate.
            let subject = Subject::of(der);
            let facts = CertificateFacts {
                der: PyBytes::new(py, der).unbind(),
                subject: subject.name,
                names: subject.names,
            };
            Py::new(py, facts)
        });
        Ok(Self {
            version: agreed.version.clone(),
            cipher_suite: agreed.cipher_suite.clone(),
            certificate: certificate.transpose()?,
        })
    }
}
