//! The user's end of an association: a handle that any thread or task may hold.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use dimse_proto::LocalError;
use dimse_proto::dimse::CommandSet;
use tokio::sync::oneshot;

use crate::association::invocation::Invocation;
use crate::association::mailbox::{Command, Invoke, InvokeOptions, Mailbox};
use crate::error::Error;
use crate::events::event::{Event, EventRecord, Kinds, SubOperation};
use crate::events::hub::Follower;
use crate::facts::{AssociationId, no_titles};
use crate::life::{Established, Life, Received};
use crate::send::bulk;
use crate::terms::Decision;

/// One end of an association. Clones are the same association; it is aborted when the last one a requestor holds
/// goes away without a release.
#[derive(Clone, Debug)]
pub struct Association {
    pub(crate) life: Arc<Life>,
    pub(crate) mailbox: Mailbox,
    /// Held by users' handles alone: the driver's own copies do not keep the association alive.
    _owner: Option<Arc<AbortOnDrop>>,
}

// A user that loses its handle, by an exception say, must not leave the peer with an association that no call will ever
// release. Clones share the owner, so the last of them counts; an acceptor's association belongs to its listener.
#[derive(Debug)]
struct AbortOnDrop(Mailbox);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        // A driver that is gone has nothing left to abort.
        let _gone = self.0.send(Command::Abort);
    }
}

impl Association {
    /// A handle that does not keep the association alive: for those that the driver hands out.
    pub(crate) fn lent(life: Arc<Life>, mailbox: Mailbox) -> Self {
        Self {
            life,
            mailbox,
            _owner: None,
        }
    }

    /// The handle of a requestor's user: the association is aborted when its last clone goes away.
    pub(crate) fn owned(self) -> Self {
        Self {
            _owner: Some(Arc::new(AbortOnDrop(self.mailbox.clone()))),
            ..self
        }
    }

    /// Number of this association, unique in the process.
    #[must_use]
    pub fn id(&self) -> AssociationId {
        self.life.id
    }

    /// What was agreed; `None` before that.
    #[must_use]
    pub fn established(&self) -> Option<&Established> {
        self.life.established.get()
    }

    /// Why it is over; `None` while it lives.
    #[must_use]
    pub fn ended(&self) -> Option<Error> {
        self.life.ended()
    }

    /// Whether it is over.
    pub(crate) fn is_over(&self) -> bool {
        self.life.is_over()
    }

    /// A follower of what happens on it, from now until it has ended: see
    /// [`Events::follow`](crate::events::Events::follow).
    #[must_use]
    pub fn follow(&self, kinds: Kinds, most: usize) -> Follower {
        let events = &self.life.events;
        let follower = events.follow(kinds, Some(self.id()), most);
        // Registered before the look: an end that is reported in between finds the follower, or is seen here.
        if self.life.reported.load(Ordering::SeqCst) {
            events.over(self.id()); // it had been before
        }
        follower
    }

    /// Emits the event of a sub-operation of a retrieval that the peer requested on this association.
    pub fn tell_sub_operation(&self, of: impl FnOnce() -> SubOperation) {
        self.life
            .events
            .emit(self.id(), Kinds::SUB_OPERATION, || EventRecord {
                association: self.id(),
                titles: self
                    .established()
                    .map_or_else(no_titles, |known| known.titles),
                peer: self.established().and_then(|known| known.peer),
                at: SystemTime::now(),
                event: Event::SubOperation(Box::new(of())),
            });
    }

    /// Resolves when it is over.
    pub async fn wait_ended(&self) -> Error {
        let mut ended = self.life.ended.subscribe();
        loop {
            if let Some(error) = ended.borrow_and_update().clone() {
                return error;
            }
            if ended.changed().await.is_err() {
                return Error::Shutdown;
            }
        }
    }

    /// What became of the instances of C-GETs so far.
    #[must_use]
    pub fn received(&self) -> Received {
        self.life.received.lock().clone()
    }

    /// The next Message ID, unique among those outstanding (PS3.7 9.1.1.1.1).
    #[must_use]
    pub fn next_message_id(&self) -> u16 {
        self.life.next_message_id()
    }

    /// Sends a request. It waits, in order, while as many operations are outstanding as were negotiated.
    ///
    /// # Errors
    /// What is not fit to be sent. Everything later comes as the invocation's response.
    pub fn invoke(
        &self,
        context_id: u8,
        command: CommandSet,
        data: Option<Bytes>,
        within: Option<Duration>,
    ) -> Result<Invocation, Error> {
        let options = InvokeOptions {
            within,
            ..InvokeOptions::default()
        };
        self.invoke_with(context_id, command, data, options)
    }

    /// As [`Self::invoke`], with what else a request can have.
    ///
    /// # Errors
    /// As [`Self::invoke`].
    pub fn invoke_with(
        &self,
        context_id: u8,
        command: CommandSet,
        data: Option<Bytes>,
        options: InvokeOptions,
    ) -> Result<Invocation, Error> {
        let Some(message_id) = command.message_id() else {
            return Err(LocalError::invalid("a request needs a Message ID", "PS3.7 E.1").into());
        };
        let (responses, invocation) = Invocation::new(message_id, &self.life);
        self.command(Command::Invoke(Invoke {
            message_id,
            context_id,
            command,
            data,
            responses,
            options,
        }))?;
        Ok(invocation)
    }

    /// Sends a message that has no response: an answer, or C-CANCEL.
    ///
    /// # Errors
    /// When the association is over.
    pub fn send(
        &self,
        context_id: u8,
        command: CommandSet,
        data: Option<Bytes>,
    ) -> Result<(), Error> {
        self.command(Command::Send {
            context_id,
            command,
            data,
            done: None,
        })
    }

    /// As [`Self::send`], returning when the message has left: what a performer of many responses waits for.
    ///
    /// # Errors
    /// When the association ends first.
    pub async fn send_and_wait(
        &self,
        context_id: u8,
        command: CommandSet,
        data: Option<Bytes>,
    ) -> Result<(), Error> {
        let (done, outcome) = oneshot::channel();
        self.command(Command::Send {
            context_id,
            command,
            data,
            done: Some(done),
        })?;
        outcome.await.unwrap_or_else(|_| Err(self.end_reason()))
    }

    /// Sends files, undecoded, as many at a time as were negotiated. One result a file comes out.
    ///
    /// # Errors
    /// When the association is over.
    pub fn send_files(
        &self,
        files: Vec<bulk::ToSend>,
        options: bulk::Options,
    ) -> Result<bulk::Sending, Error> {
        let established = self.established().ok_or(Error::Released)?;
        let (transfer, sending) = bulk::start(
            Arc::clone(&self.life),
            Arc::clone(&established.negotiated),
            files,
            options,
        );
        self.command(Command::Bulk(transfer))?;
        Ok(sending)
    }

    /// Releases the association in an orderly way, after the operations outstanding are confirmed.
    ///
    /// # Errors
    /// When it ends otherwise.
    pub async fn release(&self) -> Result<(), Error> {
        let (done, outcome) = oneshot::channel();
        self.command(Command::Release(done))?;
        outcome.await.unwrap_or_else(|_| Err(self.end_reason()))
    }

    /// Aborts the association: outstanding operations fail on both sides. Harmless when it is over.
    pub fn abort(&self) {
        let _over = self.command(Command::Abort);
    }

    /// Ends the association because the server stops: what is being received may finish first.
    pub(crate) fn shutdown(&self) {
        let _over = self.command(Command::Shutdown);
    }

    /// Closes the connection, whatever state it is in: of a peer that has not asked for an association, or that
    /// was told that it is over and does not go.
    pub(crate) fn close(&self, why: Error) {
        let _gone = self.mailbox.send(Command::Close(why));
    }

    /// The user's decision on the proposal.
    pub(crate) fn admit(&self, decision: Decision) {
        // A driver that is gone needs no answer.
        let _gone = self.mailbox.send(Command::Admit(decision));
    }

    /// The user holds the answer to a release no longer.
    pub(crate) fn let_go(&self) {
        let _gone = self.mailbox.send(Command::LetGo);
    }

    fn command(&self, command: Command) -> Result<(), Error> {
        // The end is asked first: the driver that has ended may still carry out what stores need, and takes nothing
        // new.
        if let Some(error) = self.ended() {
            return Err(error);
        }
        if self.mailbox.send(command) {
            return Ok(());
        }
        Err(self.end_reason())
    }

    fn end_reason(&self) -> Error {
        self.ended().unwrap_or(Error::Shutdown)
    }
}
