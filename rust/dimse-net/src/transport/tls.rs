//! TLS under an association, as PS3.15 B.12 has it (BCP 195: RFC 8996, RFC 9325): TLS 1.2 and 1.3, forward
//! secrecy and authenticated encryption alone. No session is resumed: each association is authenticated anew.

mod ahead;
mod fault;
mod files;
mod rules;
mod subject;
mod verify;

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, CommonState, ServerConfig, SupportedProtocolVersion};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::error::{Error, TlsFault};
use crate::events::event::{Event, EventRecord, Kinds};
use crate::events::hub::Events;
use crate::facts::{TlsFacts, no_titles};
use crate::transport::stream::Stream;
use ahead::Ahead;
pub(crate) use fault::of_stream;
use files::{Material, Stamp, stamps};
use rules::provider;
pub use rules::{Rules, Verify};
pub use subject::Subject;
use verify::{ClientVerifier, PeerDigest, ServerVerifier, Trust};

/// A name that stands for whatever the certificate is for.
const ANY_NAME: &str = "*";

/// The handshake's first byte: a record of type handshake (RFC 8446 5.1).
const HANDSHAKE: u8 = 0x16;

static TLS13_ALONE: [&SupportedProtocolVersion; 1] = [&TLS13];
static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

/// TLS for the associations of one node. Files are read when they are first needed, and when they have changed.
pub struct Tls {
    rules: Rules,
    kept: Mutex<Kept>,
}

/// What the files said.
#[derive(Default)]
struct Kept {
    stamps: Vec<Stamp>,
    latest: Option<Result<Arc<Material>, TlsFault>>,
    good: Option<Arc<Material>>,
}

impl Tls {
    /// TLS by these rules. Reads nothing yet.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            kept: Mutex::default(),
        }
    }

    /// Reads the files, and sees whether a server can do with them. Blocks on a disk.
    ///
    /// # Errors
    /// `Tls`, naming the file.
    pub fn check_acceptor(&self) -> Result<(), Error> {
        let material = self.latest().0.map_err(Error::Tls)?;
        self.server_config(&material, &PeerDigest::default())
            .map(drop)
            .map_err(Error::Tls)
    }

    /// What the files say now, and whether they were read just now.
    fn latest(&self) -> (Result<Arc<Material>, TlsFault>, bool) {
        // Before reading: a change in between is seen the next time.
        let stamps = stamps(&self.rules);
        let mut kept = self.kept.lock();
        if let Some(latest) = &kept.latest
            && kept.stamps == stamps
        {
            return (latest.clone(), false);
        }
        let latest = Material::read(&self.rules).map(Arc::new);
        kept.stamps = stamps;
        kept.latest = Some(latest.clone());
        if let Ok(material) = &latest {
            kept.good = Some(Arc::clone(material));
        }
        (latest, true)
    }

    /// What an acceptor goes by: files that are being replaced keep no peer out, the ones before still count.
    fn for_acceptor(&self, events: &Events) -> Result<Arc<Material>, TlsFault> {
        let (latest, fresh) = self.latest();
        let fault = match latest {
            Ok(material) => return Ok(material),
            Err(fault) => fault,
        };
        // Certificates are renewed by programs that write several files, one after the other: between two of them key
        // and certificate do not fit. Peers that come then are served with the last pair that did.
        let Some(good) = self.kept.lock().good.clone() else {
            return Err(fault);
        };
        if fresh {
            events.emit(0, Kinds::TLS_FILES | Kinds::PROBLEM, || EventRecord {
                association: 0,
                titles: no_titles(),
                peer: None,
                at: std::time::SystemTime::now(),
                event: Event::TlsFiles(fault.what),
            });
        }
        Ok(good)
    }

    /// Secures a connection of ours to `host`.
    pub(crate) async fn connect(
        self: &Arc<Self>,
        stream: Stream,
        host: &str,
    ) -> Result<Stream, Error> {
        let Stream::Tcp(tcp) = stream else {
            return Ok(stream);
        };
        let this = Arc::clone(self);
        let material = off_the_task(move || this.latest().0).await?;
        let name = match self.rules.server_name.as_deref() {
            None | Some(ANY_NAME) => host,
            Some(name) => name,
        };
        let server = ServerName::try_from(name.to_owned())
            .map_err(|_| Error::Tls(fault::files(format!("not the name of a server: {name:?}"))))?;
        let seen = PeerDigest::default();
        let config = self.client_config(&material, &seen).map_err(Error::Tls)?;
        let (local, peer) = (tcp.local_addr().ok(), tcp.peer_addr().ok());
        match TlsConnector::from(Arc::new(config))
            .connect(server, Ahead::new(tcp))
            .await
        {
            Ok(io) => {
                let facts = facts_of(io.get_ref().1);
                Ok(Stream::secured(io, local, peer, facts))
            }
            Err(error) => Err(fault::of_connect(error, &seen)),
        }
    }

    /// Secures a connection that was accepted.
    pub(crate) async fn accept(
        self: &Arc<Self>,
        stream: Stream,
        events: &Events,
    ) -> Result<Stream, Error> {
        let Stream::Tcp(tcp) = stream else {
            return Ok(stream);
        };
        // A peer that only looks whether the port is open, or that does not speak TLS, is recognised here.
        let mut first = [HANDSHAKE];
        match tcp.peek(&mut first).await {
            Ok(1..) => {}
            Ok(0) => return Err(Error::Lost(None)),
            Err(error) => return Err(Error::Lost(Some(Arc::new(error)))),
        }
        let (this, told) = (Arc::clone(self), events.clone());
        let material = off_the_task(move || this.for_acceptor(&told)).await?;
        let seen = PeerDigest::default();
        let config = self.server_config(&material, &seen).map_err(Error::Tls)?;
        let (local, peer) = (tcp.local_addr().ok(), tcp.peer_addr().ok());
        match TlsAcceptor::from(Arc::new(config))
            .accept(Ahead::new(tcp))
            .await
        {
            Ok(io) => {
                let facts = facts_of(io.get_ref().1);
                Ok(Stream::secured(io, local, peer, facts))
            }
            Err(_) if first != [HANDSHAKE] => Err(Error::Tls(fault::plain_requestor(first))),
            Err(error) => Err(fault::of_accept(error, &seen)),
        }
    }

    fn client_config(
        &self,
        material: &Material,
        seen: &PeerDigest,
    ) -> Result<ClientConfig, TlsFault> {
        let verifier = ServerVerifier {
            trust: self.trust(seen),
            chain: material.servers.clone(),
            any_name: self.rules.server_name.as_deref() == Some(ANY_NAME),
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(self.versions())
            .map_err(|error| fault::files(error.to_string()))?
            .dangerous() // as rustls calls every verifier but its own; ours asks that one
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &material.identity {
            Some(identity) => builder
                .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(identity)))),
            None => builder.with_no_client_auth(),
        };
        // Each association is authenticated by itself: a revoked certificate must not live on in a session ticket.
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    fn server_config(
        &self,
        material: &Material,
        seen: &PeerDigest,
    ) -> Result<ServerConfig, TlsFault> {
        let Some(identity) = &material.identity else {
            return Err(fault::files(
                "a server needs a certificate and its key".to_owned(),
            ));
        };
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(self.versions())
            .map_err(|error| fault::files(error.to_string()))?;
        let builder = if self.rules.verify == Verify::Off {
            builder.with_no_client_auth()
        } else {
            builder.with_client_cert_verifier(Arc::new(ClientVerifier {
                trust: self.trust(seen),
                chain: material.clients.clone(),
            }))
        };
        let resolver = SingleCertAndKey::from(Arc::clone(identity));
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    fn trust(&self, seen: &PeerDigest) -> Trust {
        Trust {
            pinned: self.rules.pinned.clone(),
            verify: self.rules.verify,
            algorithms: provider().signature_verification_algorithms,
            seen: Arc::clone(seen),
        }
    }

    fn versions(&self) -> &'static [&'static SupportedProtocolVersion] {
        if self.rules.tls13_only {
            &TLS13_ALONE
        } else {
            &BOTH
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// What a handshake that is over agreed on.
fn facts_of(state: &CommonState) -> TlsFacts {
    let certificate = state
        .peer_certificates()
        .and_then(<[CertificateDer<'_>]>::first);
    TlsFacts {
        version: state
            .protocol_version()
            .map_or_else(String::new, |version| format!("{version:?}")),
        cipher_suite: state
            .negotiated_cipher_suite()
            .map_or_else(String::new, |suite| format!("{:?}", suite.suite())),
        certificate: certificate.map(|der| der.to_vec()),
    }
}

/// Does what waits for a disk, or derives a key from a pass phrase, on a thread that is meant to block.
async fn off_the_task<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TlsFault> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome.map_err(Error::Tls),
        Err(_) => Err(Error::Shutdown),
    }
}
