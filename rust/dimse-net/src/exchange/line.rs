//! What messages need of their association: the protocol machine and its write queue, who is at both ends, and
//! where events and counts go.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use dimse_proto::DecodeError;
use dimse_proto::connection::Connection;
use dimse_proto::connection::output::PAbortOrigin;
use dimse_proto::ul::negotiate::NegotiatedContext;
use dimse_proto::ul::reason::AbortReason;

use crate::association::handle::Association;
use crate::association::mailbox::Mailbox;
use crate::error::Error;
use crate::events::event::{Event, EventRecord, Kinds};
use crate::facts::{Titles, no_titles};
use crate::life::Life;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::transport::write::WriteQueue;

/// The association as its messages see it. The driver owns the line and lends it to the exchange, so that messages
/// can be sent, followed and counted without a way back to the driver.
pub(crate) struct Line {
    pub(crate) connection: Connection,
    pub(crate) life: Arc<Life>,
    mailbox: Mailbox,
    pub(crate) settings: Settings,
    pub(crate) write: WriteQueue,
    pub(crate) titles: Titles,
    pub(crate) peer: Option<SocketAddr>,
    /// The first cause of the end; later ones are its consequences.
    end: Option<Error>,
    /// The peer's release waits until what it asked for is answered; nothing new is begun.
    pub(crate) release_asked: bool,
    /// Room that is made for reading: no read buffer is larger.
    pub(crate) read_size: usize,
}

impl Line {
    pub(crate) fn new(
        connection: Connection,
        life: Arc<Life>,
        mailbox: Mailbox,
        settings: Settings,
        read_size: usize,
    ) -> Self {
        Self {
            connection,
            life,
            mailbox,
            settings,
            write: WriteQueue::default(),
            titles: no_titles(),
            peer: None,
            end: None,
            release_asked: false,
            read_size,
        }
    }

    /// A handle that does not keep the association alive.
    pub(crate) fn handle(&self) -> Association {
        Association::lent(Arc::clone(&self.life), self.mailbox.clone())
    }

    /// Gives an event to the followers of one of these kinds; without one the event is not even built.
    pub(crate) fn event(&self, kinds: Kinds, event: impl FnOnce() -> Event) {
        self.settings
            .events
            .emit(self.life.id, kinds, || EventRecord {
                association: self.life.id,
                titles: self.titles,
                peer: self.peer,
                at: SystemTime::now(),
                event: event(),
            });
    }

    /// Whether one of these kinds has a follower.
    pub(crate) fn wants(&self, kinds: Kinds) -> bool {
        self.settings.events.wants(kinds)
    }

    /// Counts, on a server.
    pub(crate) fn count(&self, what: impl FnOnce(&Metrics)) {
        if let Some(metrics) = &self.settings.metrics {
            what(metrics);
        }
    }

    /// The presentation context of an id, once one is agreed on.
    pub(crate) fn context(&self, id: u8) -> Option<&NegotiatedContext> {
        self.connection.negotiated()?.by_id(id)
    }

    /// Remembers why the association ends, unless that is known.
    pub(crate) fn end_with(&mut self, why: Error) {
        // A broken connection is the consequence of an abort more often than its cause: the first one is reported.
        self.end.get_or_insert(why);
    }

    /// The end has a cause: nothing that arrives now is carried out.
    pub(crate) fn is_ending(&self) -> bool {
        self.end.is_some()
    }

    /// Why the association ends; without another cause the connection was cut off.
    pub(crate) fn why(&self) -> Error {
        let lost = Error::PAborted(PAbortOrigin::Transport, AbortReason::NOT_SPECIFIED);
        self.end.clone().unwrap_or(lost)
    }

    /// The peer broke the rules of messages: what it sent behind that is not carried out.
    pub(crate) fn violation(&mut self, error: DecodeError) {
        self.end_with(Error::Remote(error.clone()));
        self.connection.dimse_violation(error);
    }

    /// A-ABORT request: nothing that has not begun to leave goes before it (case G06).
    pub(crate) fn abort(&mut self, why: Error) {
        self.end_with(why);
        self.write.cut();
        // In the states where there is nothing to abort, the association is over already.
        let _over = self.connection.abort();
    }
}
