//! What an association end needs to know besides its peer.

use std::sync::Arc;

use dimse_proto::connection::{AssemblyLimits, Config};

use crate::deadline::Timeouts;
use crate::events::hub::Events;
use crate::limits::{Budget, Limits};
use crate::metrics::Metrics;
use crate::service::Service;
use crate::transport::tls::Tls;

/// What an association end needs to know besides its peer.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long each wait may take.
    pub timeouts: Timeouts,
    /// What it may use.
    pub limits: Limits,
    /// Shared with the other associations of a server.
    pub budget: Budget,
    /// What it does with the peer's requests.
    pub service: Arc<Service>,
    /// Where its events go.
    pub events: Events,
    /// What secures its connections; `None` for plain TCP.
    pub tls: Option<Arc<Tls>>,
    /// Where a server counts: a listener sees to it. Associations of ours are not counted.
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
