//! The cause of a failed handshake, in words that say what to change.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use rustls::{AlertDescription, CertificateError, Error as TlsFailure, OtherError};

use super::verify::PeerDigest;
use crate::error::{Error, TlsFault};

const SPOKEN: &str =
    "this node speaks TLS 1.2 with ECDHE and AES-GCM or ChaCha20, and TLS 1.3 (PS3.15 B.12)";

/// Our files, or what was said about them, are not in order.
pub(super) fn files(what: String) -> TlsFault {
    TlsFault {
        code: "tls-files",
        what,
        hint: "",
    }
}

/// A requestor that did not begin with a handshake.
pub(super) fn plain_requestor([first]: [u8; 1]) -> TlsFault {
    let what = if first == 1 {
        "the peer asks for an association without TLS, on a port with TLS".to_owned()
    } else {
        format!("the peer does not speak TLS: its first byte is {first:02X}H")
    };
    TlsFault {
        code: "tls-not-spoken",
        what,
        hint: "have it use TLS, or a port without",
    }
}

/// A handshake with an acceptor failed.
pub(super) fn of_connect(error: io::Error, seen: &PeerDigest) -> Error {
    if let Some(failure) = failure_in(&error) {
        return Error::Tls(of_failure(failure, seen.get()));
    }
    if is_end(&error) {
        return Error::Tls(TlsFault {
            code: "tls-not-spoken",
            what: "the peer closed the connection in the TLS handshake".to_owned(),
            hint: "its port may be one without TLS",
        });
    }
    Error::Lost(Some(Arc::new(error)))
}

/// A handshake with a requestor failed.
pub(super) fn of_accept(error: io::Error, seen: &PeerDigest) -> Error {
    if let Some(failure) = failure_in(&error) {
        return Error::Tls(of_failure(failure, seen.get()));
    }
    if is_end(&error) {
        return Error::Tls(TlsFault {
            code: "tls-refused",
            what: "the peer closed the connection in the TLS handshake, without saying why"
                .to_owned(),
            hint: "it may not trust this node's certificate",
        });
    }
    Error::Lost(Some(Arc::new(error)))
}

/// What TLS said while an association was on it. In TLS 1.3 the handshake is over for a requestor before the
/// acceptor has looked at its certificate.
pub(crate) fn of_stream(error: &io::Error) -> Option<Error> {
    failure_in(error).map(|failure| Error::Tls(of_failure(failure, None)))
}

fn failure_in(error: &io::Error) -> Option<&TlsFailure> {
    error.get_ref()?.downcast_ref()
}

fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

fn of_failure(failure: &TlsFailure, seen: Option<&[u8; 32]>) -> TlsFault {
    let (code, what, hint) = match failure {
        TlsFailure::InvalidMessage(_) => (
            "tls-not-spoken",
            format!("the peer does not speak TLS on this port ({failure})"),
            "give the port where it does, or none of the TLS settings",
        ),
        TlsFailure::AlertReceived(alert) => return of_alert(*alert),
        TlsFailure::InvalidCertificate(cause) => return of_certificate(cause, seen),
        TlsFailure::NoCertificatesPresented => (
            "tls-no-certificate",
            "the peer showed no certificate, and one is required".to_owned(),
            "give the peer a certificate, or accept it without: verify=\"optional\"",
        ),
        TlsFailure::PeerIncompatible(cause) => (
            "tls-no-common-suite",
            format!("no TLS version or cipher suite in common with the peer ({cause:?})"),
            SPOKEN,
        ),
        other => ("tls", format!("TLS failed: {other}"), ""),
    };
    TlsFault { code, what, hint }
}

fn of_alert(alert: AlertDescription) -> TlsFault {
    use AlertDescription as Alert;
    let said = |what: &str| format!("{what} (it said {alert:?})");
    let (code, what, hint) = match alert {
        Alert::HandshakeFailure | Alert::ProtocolVersion | Alert::InsufficientSecurity => (
            "tls-no-common-suite",
            said(
                "the peer finds no TLS version or cipher suite in common, or misses a certificate",
            ),
            SPOKEN,
        ),
        Alert::CertificateRequired | Alert::NoCertificate => (
            "tls-refused",
            said("the peer wants a certificate of this node"),
            "give one: cert= and key=, or --tls-cert and --tls-key",
        ),
        Alert::UnknownCA => (
            "tls-refused",
            said("the peer does not know the CA of this node's certificate"),
            "tell the peer of the CA, or send the certificates in between along",
        ),
        Alert::CertificateExpired => (
            "tls-refused",
            said("this node's certificate has expired, or is not valid yet"),
            "renew it, or look at the peer's clock",
        ),
        Alert::CertificateRevoked => (
            "tls-refused",
            said("this node's certificate is revoked"),
            "",
        ),
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateUnknown
        | Alert::AccessDenied
        | Alert::DecryptError => (
            "tls-refused",
            said("the peer does not accept this node's certificate, or the lack of one"),
            "",
        ),
        Alert::UnrecognisedName => (
            "tls-name",
            said("the peer does not know the name that it was called by"),
            "give the right one: server_name=, or --tls-name",
        ),
        _ => ("tls", said("the peer ended TLS"), ""),
    };
    TlsFault { code, what, hint }
}

/// Names of a certificate without what says of which type they are: `DnsName("a.b")`.
fn names(presented: &[String]) -> String {
    let bare = presented.iter().map(|name| {
        let (_, inner) = name.split_once('(').unwrap_or(("", name));
        inner.trim_end_matches(')').trim_matches('"')
    });
    bare.collect::<Vec<_>>().join(", ")
}

/// A CA's own certificate is none for a node, unless it is pinned.
fn is_self_signed(cause: &OtherError) -> bool {
    matches!(
        cause.0.downcast_ref(),
        Some(webpki::Error::CaUsedAsEndEntity)
    )
}

/// What a certificate is for, when that is not the host that was connected to.
fn names_of(cause: &CertificateError) -> String {
    let CertificateError::NotValidForNameContext {
        expected,
        presented,
    } = cause
    else {
        return "is for another name".to_owned();
    };
    let expected = expected.to_str();
    if presented.is_empty() {
        return format!("is for no host by name (it has no subjectAltName), not for {expected}");
    }
    format!("is for {}, not for {expected}", names(presented))
}

fn of_certificate(cause: &CertificateError, seen: Option<&[u8; 32]>) -> TlsFault {
    use CertificateError as Cause;
    const SERVER_NAME: &str =
        "say what it is for: server_name=, or --tls-name ('*' is any); or pin it";
    const PIN: &str = "if it is the right one nevertheless, pin it: pinned=, or --tls-pin";
    let (code, what, hint) = match cause {
        Cause::Expired | Cause::ExpiredContext { .. } => {
            ("tls-expired", "has expired".to_owned(), PIN)
        }
        Cause::NotValidYet | Cause::NotValidYetContext { .. } => (
            "tls-not-yet-valid",
            "is not valid yet".to_owned(),
            "look at both clocks",
        ),
        Cause::UnknownIssuer => (
            "tls-unknown-ca",
            "is of a CA that this node does not trust".to_owned(),
            "name its CA: ca=, or --tls-ca; or pin it: pinned=, or --tls-pin",
        ),
        Cause::BadSignature => (
            "tls-unknown-ca",
            "is of a CA that this node does not trust, by the name of one that it does".to_owned(),
            "name its CA: ca=, or --tls-ca; or pin it: pinned=, or --tls-pin",
        ),
        Cause::Other(cause) if is_self_signed(cause) => (
            "tls-unknown-ca",
            "is that of a CA itself, most likely self-signed".to_owned(),
            PIN,
        ),
        Cause::NotValidForNameContext { .. } | Cause::NotValidForName => {
            ("tls-name", names_of(cause), SERVER_NAME)
        }
        Cause::Revoked => ("tls-revoked", "is revoked".to_owned(), ""),
        Cause::UnknownRevocationStatus => (
            "tls-revoked",
            "is of a CA of which there is no revocation list".to_owned(),
            "give the list of the CA that signed it: crl=, or --tls-crl",
        ),
        other => ("tls-certificate", format!("cannot be used: {other}"), PIN),
    };
    let mut what = format!("the peer's certificate {what}");
    if let Some(digest) = seen {
        what.push_str("; its SHA-256 is ");
        for byte in digest {
            // Writing to a string does not fail.
            let _written = write!(what, "{byte:02x}");
        }
    }
    TlsFault { code, what, hint }
}
