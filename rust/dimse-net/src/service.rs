//! What this node does with a peer's requests: data, not code. The driver has the code; a request that the user
//! decides on goes into a queue that the user pulls.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use dimse_proto::Uid;
use dimse_proto::dimse::{CommandField, CommandSet, Status};
use dimse_proto::ul::negotiate::NegotiatedContext;

use crate::association::handle::Association;
use crate::association::message::{Data, field_of, is_composite};
use crate::limits::Budget;
use crate::queue::Sender;
use crate::receive::folder::Folder;
use crate::receive::verdict::OnStored;
use crate::terms::Classes;

/// How requests are answered.
#[derive(Debug, Default)]
pub struct Service {
    /// C-ECHO is answered with Success, unless `handled` names C-ECHO.
    pub echo: bool,
    /// Instances go straight to this folder.
    pub folder: Option<StoreService>,
    /// While a C-GET of this node is outstanding, its instances are taken without the SCP role too, and on the context
    /// of the C-GET itself.
    pub lenient_roles: bool,
    /// Requests that go to `operations`, by Command Field.
    pub handled: HashMap<CommandField, Classes>,
    /// The queue of the requests that `handled` names.
    pub operations: Option<Sender<Operation>>,
    /// Large instances for a handler are kept here until it is done.
    pub spool: Option<Arc<Folder>>,
    /// The queue in which the user holds the answers to releases.
    pub releases: Option<Sender<HeldRelease>>,
}

/// The folder and the classes it takes.
#[derive(Debug)]
pub struct StoreService {
    /// Where instances are written.
    pub folder: Arc<Folder>,
    /// SOP classes of the instances.
    pub classes: Classes,
    /// The queue in which a stored instance waits for the user's decision, before the peer is answered.
    pub on_stored: Option<OnStored>,
}

/// A request of the peer that the user answers.
#[derive(Debug)]
pub struct Operation {
    /// Where the answer goes.
    pub association: Association,
    /// Presentation context; the answer goes there too.
    pub context_id: u8,
    /// The request.
    pub command: CommandSet,
    /// Its data set.
    pub data: Data,
    /// Set when the peer sends C-CANCEL, or the association ends.
    pub cancelled: Arc<AtomicBool>,
    /// What is made of the data set counts here as well.
    pub budget: Budget,
    /// Of a C-STORE: the Message IDs of this node's C-GETs that were outstanding when the request came, without those
    /// that were closed. It is a sub-operation of one of them, unless the peer sends on its own.
    pub retrievals: Vec<u16>,
}

/// The C-GETs of this node that are outstanding on an association.
// Their instances come as C-STORE requests that do not name the C-GET: only the time at which they come distinguishes
// them from what the peer sends on its own (PS3.4 C.4.3).
#[derive(Debug, Default)]
pub(crate) struct Retrieving {
    /// The context of each.
    pub(crate) contexts: Vec<u8>,
    /// The Message IDs of those that are not closed. One that is closed is outstanding until the peer ends it, and takes
    /// no instance any more.
    pub(crate) followed: Vec<u16>,
    /// Where the caller of one wants the instances: before any handler.
    pub(crate) into: Option<Arc<Folder>>,
}

/// A release that the peer has asked for. The answer leaves when this is dropped, or at the deadline of a release.
#[derive(Debug)]
pub struct HeldRelease(pub(crate) Association);

impl HeldRelease {
    /// The association, on which everything but the answer has left.
    #[must_use]
    pub fn association(&self) -> &Association {
        &self.0
    }
}

impl Drop for HeldRelease {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

/// Where a request goes.
#[derive(Debug)]
pub(crate) enum Route {
    /// Answered at once with this status.
    Answer(Status, &'static str),
    /// The peer may not ask for it: answered with this status.
    Denied(Status),
    /// Stored by the file sink; the user decides on it where that is asked for.
    Folder(Arc<Folder>, Option<OnStored>),
    /// To the user.
    Queue,
}

impl Service {
    /// Decides where a request goes; it must be one that its context allows (PS3.7 10.1, R-319).
    pub(crate) fn route(
        &self,
        command: &CommandSet,
        context: &NegotiatedContext,
        retrieving: &Retrieving,
    ) -> Route {
        let field = field_of(command);
        // DEVIATION (PS3.4 C.5.3): PACS that answer no role selection send instances all the same, and there are
        // some that send them on the context of the C-GET.
        let retrieved = field == CommandField::C_STORE_RQ && !retrieving.contexts.is_empty();
        let lenient = self.lenient_roles && retrieved;
        let on_the_model = lenient && retrieving.contexts.contains(&context.id);
        let composite = is_composite(field);
        let unsupported = if composite {
            Route::Answer(Status::SOP_CLASS_NOT_SUPPORTED, "SOP class not supported")
        } else {
            Route::Answer(Status::UNRECOGNIZED_OPERATION, "unrecognized operation")
        };
        let Some(class) = command.sop_class() else {
            return if composite {
                Route::Answer(Status::SOP_CLASS_NOT_SUPPORTED, "no SOP class UID")
            } else {
                Route::Answer(Status::NO_SUCH_SOP_CLASS, "no SOP class UID")
            };
        };
        if composite && class != context.abstract_syntax && !on_the_model {
            return Route::Answer(
                Status::SOP_CLASS_NOT_SUPPORTED,
                "SOP class differs from context",
            );
        }
        if !context.scp && !lenient && field != CommandField::N_EVENT_REPORT_RQ {
            return Route::Answer(
                if composite {
                    Status::SOP_CLASS_NOT_SUPPORTED
                } else {
                    Status::UNRECOGNIZED_OPERATION
                },
                "not SCP in this context",
            );
        }
        // An instance, or an identifier: mandatory but for C-ECHO (PS3.7 9.3).
        if composite && field != CommandField::C_ECHO_RQ && !command.has_data_set() {
            return Route::Answer(Status::CANNOT_PROCESS, "no data set");
        }
        // The folder of a C-GET, then handlers, then the node's folder: what is registered for a class goes before what
        // takes all classes.
        if let Some(folder) = retrieving.into.as_ref().filter(|_| retrieved) {
            return Route::Folder(Arc::clone(folder), None);
        }
        if self.operations.is_some()
            && self
                .handled
                .get(&field)
                .is_some_and(|classes| classes.contain(&class))
        {
            return Route::Queue;
        }
        match field {
            CommandField::C_ECHO_RQ if self.echo => Route::Answer(Status::SUCCESS, ""),
            _ => self.folder_for(field, &class).unwrap_or(unsupported),
        }
    }

    /// The way to the folder that takes instances of a class.
    fn folder_for(&self, field: CommandField, class: &Uid) -> Option<Route> {
        let store = self
            .folder
            .as_ref()
            .filter(|store| field == CommandField::C_STORE_RQ && store.classes.contain(class))?;
        let folder = Arc::clone(&store.folder);
        Some(Route::Folder(folder, store.on_stored.clone()))
    }
}

#[cfg(test)]
mod tests {
    use dimse_proto::ul::reason::ContextResult;

    use super::*;
    use crate::files::Disk;
    use crate::receive::folder::{Duplicates, Durability, Layout};

    const CT: Uid = Uid::from_static("1.2.840.10008.5.1.4.1.1.2");
    const MR: Uid = Uid::from_static("1.2.840.10008.5.1.4.1.1.4");

    #[test]
    fn an_instance_is_taken_in_a_role_that_was_not_agreed_only_while_it_is_retrieved() {
        const GET: Uid = Uid::from_static("1.2.840.10008.5.1.4.1.2.2.3");
        let context = |id, class: &Uid| NegotiatedContext {
            id,
            abstract_syntax: class.clone(),
            result: ContextResult::ACCEPTANCE,
            transfer_syntax: None,
            scu: true,
            scp: false,
        };
        let mut store = CommandSet::request(CommandField::C_STORE_RQ, 1, &CT).unwrap();
        store.set_has_data_set(true);
        let (model, ct, mr) = (context(1, &GET), context(3, &CT), context(5, &MR));
        let service = |lenient_roles| Service {
            lenient_roles,
            handled: HashMap::from([(CommandField::C_STORE_RQ, Classes::All)]),
            operations: Some(crate::queue::Queue::new(1).0),
            ..Service::default()
        };
        let taken = |service: &Service, context, contexts: &[u8]| {
            let retrieving = Retrieving {
                followed: Vec::new(),
                contexts: contexts.to_vec(),
                into: None,
            };
            matches!(service.route(&store, context, &retrieving), Route::Queue)
        };
        let lenient = service(true);
        assert!(taken(&lenient, &ct, &[1]), "accepted without the role");
        assert!(taken(&lenient, &model, &[1]), "on the context of the C-GET");
        assert!(!taken(&lenient, &model, &[7]), "on that of another model");
        assert!(!taken(&lenient, &mr, &[1]), "on that of another class");
        assert!(!taken(&lenient, &ct, &[]), "not asked for");
        let strict = service(false);
        assert!(!taken(&strict, &ct, &[1]) && !taken(&strict, &model, &[1]));
    }

    #[test]
    fn the_folder_of_a_c_get_goes_before_handlers_and_takes_nothing_but_its_instances() {
        let root = tempfile::tempdir().unwrap();
        let folder = Arc::new(
            Folder::open(
                root.path(),
                Durability::Fast,
                Layout::Flat,
                Duplicates::KeepBoth,
                Arc::new(Disk),
            )
            .unwrap(),
        );
        let context = NegotiatedContext {
            id: 3,
            abstract_syntax: CT,
            result: ContextResult::ACCEPTANCE,
            transfer_syntax: None,
            scu: true,
            scp: true,
        };
        let mut store = CommandSet::request(CommandField::C_STORE_RQ, 1, &CT).unwrap();
        store.set_has_data_set(true);
        let find = {
            let mut find = CommandSet::request(CommandField::C_FIND_RQ, 1, &CT).unwrap();
            find.set_has_data_set(true);
            find
        };
        let fields = [CommandField::C_STORE_RQ, CommandField::C_FIND_RQ];
        let service = Service {
            handled: fields.map(|field| (field, Classes::All)).into(),
            operations: Some(crate::queue::Queue::new(1).0),
            ..Service::default()
        };
        let retrieving = |into| Retrieving {
            followed: Vec::new(),
            contexts: vec![1],
            into,
        };
        let into_it = retrieving(Some(Arc::clone(&folder)));
        let Route::Folder(taken, None) = service.route(&store, &context, &into_it) else {
            panic!("not to the folder");
        };
        assert!(Arc::ptr_eq(&taken, &folder));
        for (command, retrieving) in [
            (&find, into_it),
            (&store, retrieving(None)),
            (&store, Retrieving::default()),
        ] {
            let route = service.route(command, &context, &retrieving);
            assert!(matches!(route, Route::Queue), "{route:?}");
        }
    }
}
