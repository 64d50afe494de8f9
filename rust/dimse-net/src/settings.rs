//! The settings of an association end.

use std::sync::Arc;

use dimse_proto::connection::{AssemblyLimits, Config};

use crate::deadline::Timeouts;
use crate::events::hub::Events;
use crate::limits::{Budget, Limits};
use crate::metrics::Metrics;
use crate::service::Service;
use crate::transport::tls::Tls;

/// The settings of an association end: all that it needs besides its peer.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long each wait may take.
    pub timeouts: Timeouts,
    /// The limits of the association.
    pub limits: Limits,
    /// Shared with the other associations of a server.
    pub budget: Budget,
    /// What it does with the peer's requests.
    pub service: Arc<Service>,
    /// The hub of its events.
    pub events: Events,
    /// What secures its connections; `None` for plain TCP.
    pub tls: Option<Arc<Tls>>,
    /// The counters of a server, set by its listener; `None` for associations that this node requests.
    pub metrics: Option<Arc<Metrics>>,
}

impl Settings {
    pub(crate) fn connection(&self) -> Config {
        Config {
            max_length: self.limits.max_length,
            max_associate: u32::try_from(self.limits.associate).unwrap_or(u32::MAX),
            messages: AssemblyLimits {
                command_bytes: self.limits.command,
                ..AssemblyLimits::default()
            },
        }
    }
}
