//! `_core.TLS`: what secures the connections of a node.

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

#[pymethods]
impl Tls {
    /// `verify`: "required", "optional" or "off". `pinned`: SHA-256 of certificates.
    #[new]
    #[pyo3(signature = (*, cert, key, password, ca, crl, pinned, verify, server_name, tls13_only))]
    #[expect(
        clippy::too_many_arguments,
        reason = "named on the Python side, private to dimse_rs"
    )]
    fn new(
        cert: Option<PathBuf>,
        key: Option<PathBuf>,
        password: Option<PyBackedBytes>,
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
        let rules = Rules {
            cert,
            key,
            password: password.map(|text| Secret(Bytes::copy_from_slice(&text))),
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

/// A certificate: DER, distinguished name, and the names that it is for.
type CertificateFacts<'py> = (Bound<'py, PyBytes>, String, Vec<String>);

/// Version, cipher suite, and the peer's certificate.
pub(crate) type TlsFacts<'py> = (String, String, Option<CertificateFacts<'py>>);

pub(crate) fn facts<'py>(py: Python<'py>, agreed: &net::Facts) -> TlsFacts<'py> {
    let certificate = agreed.certificate.as_ref().map(|der| {
        let subject = Subject::of(der);
        (PyBytes::new(py, der), subject.name, subject.names)
    });
    (
        agreed.version.clone(),
        agreed.cipher_suite.clone(),
        certificate,
    )
}
