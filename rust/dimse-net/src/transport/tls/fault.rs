//! The cause of a failed handshake, in words that say what to change.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use rustls::{AlertDescription, CertificateError, Error as TlsFailure, OtherError};

use super::verify::PeerDigest;
use crate::error::{Error, TlsAdvice, TlsFault};

/// The files of this node, or their settings, are not in order.
pub(super) fn files(what: String) -> TlsFault {
    TlsFault {
        code: "tls-files",
        what,
        advice: None,
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
        advice: Some(TlsAdvice::PeerShouldUseTls),
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
            advice: Some(TlsAdvice::PortMayBePlain),
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
            advice: Some(TlsAdvice::MayBeDistrusted),
        });
    }
    Error::Lost(Some(Arc::new(error)))
}

/// A fault of TLS during an association. In TLS 1.3 the handshake is over for a requestor before the
/// acceptor has looked at its certificate.
pub(crate) fn of_stream(error: &io::Error) -> Option<Error> {
    failure_in(error).map(|failure| Error::Tls(of_failure(failure, None)))
}

// tokio-rustls hands the errors of rustls on inside an `io::Error`; those of the socket come as they are.
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
    let (code, what, advice) = match failure {
        TlsFailure::InvalidMessage(_) => (
            "tls-not-spoken",
            format!("the peer does not speak TLS on this port ({failure})"),
            Some(TlsAdvice::GiveAnotherPort),
        ),
        TlsFailure::AlertReceived(alert) => return of_alert(*alert),
        TlsFailure::InvalidCertificate(cause) => return of_certificate(cause, seen),
        TlsFailure::NoCertificatesPresented => (
            "tls-no-certificate",
            "the peer showed no certificate, and one is required".to_owned(),
            Some(TlsAdvice::PeerNeedsCertificate),
        ),
        TlsFailure::PeerIncompatible(cause) => (
            "tls-no-common-suite",
            format!("no TLS version or cipher suite in common with the peer ({cause:?})"),
            Some(TlsAdvice::SpokenHere),
        ),
        other => ("tls", format!("TLS failed: {other}"), None),
    };
    TlsFault { code, what, advice }
}

fn of_alert(alert: AlertDescription) -> TlsFault {
    use AlertDescription as Alert;
    let said = |what: &str| format!("{what} (it said {alert:?})");
    let (code, what, advice) = match alert {
        Alert::HandshakeFailure | Alert::ProtocolVersion | Alert::InsufficientSecurity => (
            "tls-no-common-suite",
            said(
                "the peer finds no TLS version or cipher suite in common, or misses a certificate",
            ),
            Some(TlsAdvice::SpokenHere),
        ),
        Alert::CertificateRequired | Alert::NoCertificate => (
            "tls-refused",
            said("the peer wants a certificate of this node"),
            Some(TlsAdvice::GiveCertificate),
        ),
        Alert::UnknownCA => (
            "tls-refused",
            said("the peer does not know the CA of this node's certificate"),
            Some(TlsAdvice::TellPeerOfCa),
        ),
        Alert::CertificateExpired => (
            "tls-refused",
            said("this node's certificate has expired, or is not valid yet"),
            Some(TlsAdvice::RenewCertificate),
        ),
        Alert::CertificateRevoked => (
            "tls-refused",
            said("this node's certificate is revoked"),
            None,
        ),
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateUnknown
        | Alert::AccessDenied
        | Alert::DecryptError => (
            "tls-refused",
            said("the peer does not accept this node's certificate, or the lack of one"),
            None,
        ),
        Alert::UnrecognisedName => (
            "tls-name",
            said("the peer does not know the name that it was called by"),
            Some(TlsAdvice::GiveServerName),
        ),
        _ => ("tls", said("the peer ended TLS"), None),
    };
    TlsFault { code, what, advice }
}

/// Names of a certificate without what says of which type they are: `DnsName("a.b")`.
fn names(presented: &[String]) -> String {
    let bare = presented.iter().map(|name| {
        let (_, inner) = name.split_once('(').unwrap_or(("", name));
        inner.trim_end_matches(')').trim_matches('"')
    });
    bare.collect::<Vec<_>>().join(", ")
}

/// A CA's own certificate cannot identify a node, unless it is pinned.
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
    const PIN: Option<TlsAdvice> = Some(TlsAdvice::PinCertificate);
    let (code, what, advice) = match cause {
        Cause::Expired | Cause::ExpiredContext { .. } => {
            ("tls-expired", "has expired".to_owned(), PIN)
        }
        Cause::NotValidYet | Cause::NotValidYetContext { .. } => (
            "tls-not-yet-valid",
            "is not valid yet".to_owned(),
            Some(TlsAdvice::LookAtClocks),
        ),
        Cause::UnknownIssuer => (
            "tls-unknown-ca",
            "is of a CA that this node does not trust".to_owned(),
            Some(TlsAdvice::NameCa),
        ),
        Cause::BadSignature => (
            "tls-unknown-ca",
            "is of a CA that this node does not trust, by the name of one that it does".to_owned(),
            Some(TlsAdvice::NameCa),
        ),
        // What users meet most often: a device that made its own certificate.
        Cause::Other(cause) if is_self_signed(cause) => (
            "tls-unknown-ca",
            "is that of a CA itself, most likely self-signed".to_owned(),
            PIN,
        ),
        Cause::NotValidForNameContext { .. } | Cause::NotValidForName => {
            ("tls-name", names_of(cause), Some(TlsAdvice::SayServerName))
        }
        Cause::Revoked => ("tls-revoked", "is revoked".to_owned(), None),
        Cause::UnknownRevocationStatus => (
            "tls-revoked",
            "is of a CA of which there is no revocation list".to_owned(),
            Some(TlsAdvice::GiveCrl),
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
    TlsFault { code, what, advice }
}
