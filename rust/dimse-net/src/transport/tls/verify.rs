//! Whom we believe: a certificate that is pinned, or that rustls finds to be in order.

use std::fmt::Debug;
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error as TlsFailure,
    SignatureScheme,
};
use sha2::{Digest, Sha256};

use super::rules::Verify;

/// SHA-256 of the certificate that the peer showed, for the message that says why it was refused.
pub(super) type PeerDigest = Arc<OnceLock<[u8; 32]>>;

/// What both directions have in common.
#[derive(Debug)]
pub(super) struct Trust {
    pub(super) pinned: Vec<[u8; 32]>,
    pub(super) verify: Verify,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
    pub(super) seen: PeerDigest,
}

/// Looks at an acceptor's certificate.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    pub(super) trust: Trust,
    pub(super) chain: Option<Arc<WebPkiServerVerifier>>,
    /// Whatever host the certificate is for.
    pub(super) any_name: bool,
}

/// Looks at a requestor's certificate.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    pub(super) trust: Trust,
    pub(super) chain: Option<Arc<dyn ClientCertVerifier>>,
}

impl Trust {
    /// Whether this very certificate is one to trust, whatever signed it, and until when.
    fn is_pinned(&self, certificate: &CertificateDer<'_>) -> bool {
        // Remembered even when it is not pinned: the message about a refusal shows the digest that a user may pin.
        let digest: [u8; 32] = Sha256::digest(certificate).into();
        let _first = self.seen.set(digest);
        self.pinned.contains(&digest)
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsFailure> {
        if self.trust.is_pinned(end_entity) || self.trust.verify == Verify::Off {
            return Ok(ServerCertVerified::assertion());
        }
        let Some(chain) = &self.chain else {
            return Err(CertificateError::UnknownIssuer.into());
        };
        let verified =
            chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // The name is what is looked at last.
            Err(TlsFailure::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.any_name => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsFailure> {
        verify_tls12_signature(message, cert, signature, &self.trust.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsFailure> {
        verify_tls13_signature(message, cert, signature, &self.trust.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.trust.verify == Verify::Required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        match &self.chain {
            // One whose certificate is pinned would find its issuer missing, and show none.
            Some(chain) if self.trust.pinned.is_empty() => chain.root_hint_subjects(),
            _ => &[],
        }
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, TlsFailure> {
        if self.trust.is_pinned(end_entity) {
            return Ok(ClientCertVerified::assertion());
        }
        match &self.chain {
            Some(chain) => chain.verify_client_cert(end_entity, intermediates, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsFailure> {
        verify_tls12_signature(message, cert, signature, &self.trust.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsFailure> {
        verify_tls13_signature(message, cert, signature, &self.trust.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.algorithms.supported_schemes()
    }
}
