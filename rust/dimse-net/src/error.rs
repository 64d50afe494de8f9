//! Why an association, or a request on it, did not end well. Who is at fault is in the name.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dimse_proto::connection::output::PAbortOrigin;
use dimse_proto::ul::reason::{Abort, AbortReason, AssociateRj};
use dimse_proto::{DecodeError, LocalError};

/// Deadlines that can pass (design: every wait is finite and named in the error it causes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deadline {
    /// ARTIM: A-ASSOCIATE-RQ not complete, or the peer did not close (PS3.8 9.1.5).
    Artim,
    /// TCP connection not open.
    Connect,
    /// TLS handshake not over.
    Tls,
    /// No answer to A-ASSOCIATE-RQ.
    Acse,
    /// No response, and no progress, after a request.
    Dimse,
    /// No final response after C-CANCEL, whatever else came.
    Drain,
    /// Nothing to do and nothing heard.
    Idle,
    /// No answer to A-RELEASE-RQ.
    Release,
    /// The user holds the answer to the peer's A-RELEASE-RQ.
    Hold,
    /// The peer does not read.
    Write,
    /// The peer stopped in the middle of a message.
    Progress,
    /// The peer sends a message so slowly that it as good as stopped.
    Pace,
    /// The user has not decided on a stored instance.
    Verdict,
    /// No room in the byte budget for the message being received.
    Budget,
    /// Nothing was read for a moment: the read buffer goes back.
    Cooling,
}

impl Deadline {
    /// The name users set it by.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Artim => "artim",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Acse => "acse",
            Self::Dimse | Self::Drain => "dimse",
            Self::Idle => "idle",
            Self::Release | Self::Hold => "release",
            Self::Write => "write",
            Self::Progress | Self::Pace => "progress",
            Self::Verdict => "on_stored_timeout",
            Self::Budget => "budget",
            Self::Cooling => "cooling",
        }
    }
}

/// Why it ended. Cheap to clone: every operation outstanding on an association gets a copy (PS3.7 A.6).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// A-ASSOCIATE-RJ.
    Rejected(AssociateRj),
    /// A-ABORT by the peer's user.
    Aborted(Abort),
    /// A-P-ABORT that no fault of the peer's explains.
    PAborted(PAbortOrigin, AbortReason),
    /// We aborted on request.
    LocalAbort,
    /// The association was released before or while the request was made.
    Released,
    /// No connection could be opened.
    Connect(Arc<io::Error>, String),
    /// The connection broke.
    Lost(Option<Arc<io::Error>>),
    /// TLS could not be agreed on, or failed.
    Tls(TlsFault),
    /// A deadline passed.
    Timeout(Deadline, Duration),
    /// The caller asked for what cannot be sent.
    Local(LocalError),
    /// The peer broke the protocol; it was answered with A-ABORT.
    Remote(DecodeError),
    /// No accepted presentation context fits.
    NoContext(String),
    /// A file is not what it should be.
    Input(String),
    /// A file could not be read.
    Unreadable(PathBuf, Arc<io::Error>),
    /// A file that is not whole.
    NotWhole {
        /// The file, and what is wrong.
        what: String,
        /// Where.
        offset: u64,
        /// The broken clause of the standard.
        section: &'static str,
    },
    /// It was not begun before the user stopped.
    Stopped,
    /// It had not asked for an association yet when others needed its place.
    Evicted,
    /// This node is going away.
    Shutdown,
}

/// Why TLS failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFault {
    /// Stable name of the cause.
    pub code: &'static str,
    /// What is wrong.
    pub what: String,
    /// What to change, if there is something.
    pub advice: Option<TlsAdvice>,
}

macro_rules! advice {
    ($($(#[$meta:meta])* $variant:ident $name:literal;)+) => {
        /// What a user may change when TLS fails. The sentence is the front end's: it names settings and options.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum TlsAdvice {
            $($(#[$meta])* $variant,)+
        }

        impl TlsAdvice {
            /// Stable name, by which the front end finds the sentence.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

advice! {
    /// The peer speaks TLS: this node should too.
    UseTls "use-tls";
    /// A requestor does not speak TLS on a port that asks for it.
    PeerShouldUseTls "peer-should-use-tls";
    /// The acceptor's port may be one without TLS.
    PortMayBePlain "port-may-be-plain";
    /// The peer left without a word: it may not trust the certificate of this node.
    MayBeDistrusted "may-be-distrusted";
    /// The acceptor's port does not speak TLS.
    GiveAnotherPort "give-another-port";
    /// The requestor has no certificate.
    PeerNeedsCertificate "peer-needs-certificate";
    /// No version or cipher suite in common.
    SpokenHere "spoken-here";
    /// The peer wants a certificate of this node.
    GiveCertificate "give-certificate";
    /// The peer does not know the CA of this node's certificate.
    TellPeerOfCa "tell-peer-of-ca";
    /// The certificate of this node is not valid now.
    RenewCertificate "renew-certificate";
    /// The peer does not know the name that it was called by.
    GiveServerName "give-server-name";
    /// The peer's certificate may be pinned.
    PinCertificate "pin-certificate";
    /// One of two clocks is wrong.
    LookAtClocks "look-at-clocks";
    /// The CA of the peer's certificate is not known here.
    NameCa "name-ca";
    /// The peer's certificate is for another name.
    SayServerName "say-server-name";
    /// A revocation list is missing.
    GiveCrl "give-crl";
}

// Programs, metrics and the hints of the front end go by the code, people by the sentence: sentences may change.
impl Error {
    /// Stable name of the cause, for logs.
    #[must_use]
    pub fn code(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Rejected(_) => "rejected",
            Self::Aborted(_) => "aborted-by-peer",
            Self::PAborted(PAbortOrigin::Peer, _) => "aborted-by-peer-provider",
            Self::PAborted(PAbortOrigin::Local, _) => "aborted-by-provider",
            Self::PAborted(PAbortOrigin::Transport, _) | Self::Lost(_) => "connection-lost",
            Self::LocalAbort => "aborted",
            Self::Released => "released",
            Self::Connect(..) => "connect",
            Self::Tls(fault) => fault.code,
            Self::Timeout(which, _) => return Cow::Owned(format!("timeout-{}", which.name())),
            Self::Local(_) => "local",
            Self::Remote(error) => error.code,
            Self::NoContext(_) => "no-context",
            Self::Input(_) | Self::Unreadable(..) => "input",
            Self::NotWhole { .. } => "not-whole",
            Self::Stopped => "stopped",
            Self::Evicted => "evicted",
            Self::Shutdown => "shutdown",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rj) => write!(
                f,
                "association rejected: {}, {}, {}",
                rj.result,
                rj.source,
                rj.reason_name().unwrap_or("reserved reason")
            ),
            Self::Aborted(abort) => write!(f, "association aborted by the peer ({})", abort.source),
            Self::PAborted(PAbortOrigin::Peer, reason) => {
                write!(f, "association aborted by the peer's provider: {reason}")
            }
            Self::PAborted(PAbortOrigin::Local, reason) => {
                write!(f, "association aborted by this node's provider: {reason}")
            }
            Self::PAborted(PAbortOrigin::Transport, _) | Self::Lost(None) => {
                f.write_str("the peer closed the connection without release")
            }
            Self::LocalAbort => f.write_str("association aborted by this node"),
            Self::Released => f.write_str("the association is released"),
            Self::Connect(error, peer) => write!(f, "cannot connect to {peer}: {error}"),
            Self::Lost(Some(error)) => write!(f, "connection lost: {error}"),
            Self::Tls(fault) => f.write_str(&fault.what),
            Self::Timeout(which, after) => write!(
                f,
                "{} timeout: nothing for {} s",
                which.name(),
                after.as_secs_f64()
            ),
            Self::Local(error) => error.fmt(f),
            Self::Remote(error) => write!(f, "the peer broke the protocol: {error}"),
            Self::NoContext(what) | Self::Input(what) => f.write_str(what),
            Self::Unreadable(path, cause) => write!(f, "{}: {cause}", path.display()),
            Self::NotWhole {
                what,
                offset,
                section,
            } => write!(f, "{what} at byte {offset} ({section})"),
            Self::Stopped => {
                f.write_str("not sent: the sending was stopped before it came to this")
            }
            Self::Evicted => f.write_str(
                "too many connections without an association, of which this was the oldest",
            ),
            Self::Shutdown => f.write_str("this node is shutting down"),
        }
    }
}

impl std::error::Error for Error {}

impl From<LocalError> for Error {
    fn from(error: LocalError) -> Self {
        Self::Local(error)
    }
}
