//! Where drivers start: a requestor that connects, one on a stream that is open, an acceptor.

use std::sync::Arc;

use dimse_proto::connection::Connection;
use dimse_proto::ul::associate::Associate;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

use super::Driver;
use crate::admission::gate::Admission;
use crate::association::handle::Association;
use crate::association::mailbox::Mailbox;
use crate::error::Error;
use crate::life::Life;
use crate::runtime;
use crate::settings::Settings;
use crate::transport::stream::Stream;

impl Association {
    /// Connects and asks for an association; returns when it is established.
    ///
    /// # Errors
    /// `Connect`, `Timeout`, `Rejected`, `Aborted` and their kin.
    pub async fn request(
        host: String,
        port: u16,
        request: Associate,
        settings: Settings,
    ) -> Result<Self, Error> {
        let connection = Connection::requestor(settings.connection());
        let (association, driver) = prepare(connection, settings);
        let association = association.owned();
        // Followers of this association's own hub were there before it: they get a number and an end from here.
        association.life.events.adopt(association.id());
        let (opened, outcome) = oneshot::channel();
        // The driver outlives this future: a caller that gives up waiting drops its handle, which asks for an abort.
        runtime::handle().spawn(driver.run_requestor(host, port, request, opened));
        outcome.await.unwrap_or(Err(Error::Shutdown))?;
        Ok(association)
    }

    /// The same over a stream that is open already, on whatever runtime the two futures are polled: the first
    /// resolves when it is established, the second carries the association to its end.
    ///
    /// # Errors
    /// A request that cannot be sent.
    pub fn request_over(
        stream: impl AsyncRead + AsyncWrite + Send + 'static,
        request: Associate,
        settings: Settings,
    ) -> Result<
        (
            impl Future<Output = Result<Self, Error>> + Send,
            impl Future<Output = ()> + Send,
        ),
        Error,
    > {
        let connection = Connection::requestor(settings.connection());
        let (association, driver) = prepare(connection, settings);
        let association = association.owned();
        let (opened, outcome) = oneshot::channel();
        let driver = driver.run_requestor_over(Stream::layered(stream), request, opened)?;
        let established = async {
            outcome.await.unwrap_or(Err(Error::Shutdown))?;
            Ok(association)
        };
        Ok((established, driver))
    }
}

// The task starts at once, and the handle is returned before the proposal is there: the listener keeps it among its
// pending connections, which is how it can close one that stays silent.
/// Takes over an accepted socket. `admission` judges the A-ASSOCIATE-RQ when it is there.
pub(crate) fn accept(
    stream: Stream,
    settings: Settings,
    admission: Arc<dyn Admission>,
) -> Association {
    let connection = Connection::acceptor(settings.connection());
    let (association, driver) = prepare(connection, settings);
    runtime::handle().spawn(driver.run_acceptor(stream, admission));
    association
}

/// A driver, and a handle of its association that does not keep it alive.
pub(super) fn prepare(connection: Connection, settings: Settings) -> (Association, Box<Driver>) {
    let life = Life::new(settings.events.clone());
    let (mailbox, commands) = Mailbox::new();
    let association = Association::lent(Arc::clone(&life), mailbox.clone());
    let driver = Driver::new(connection, life, settings, (mailbox, commands));
    (association, driver)
}
