//! What this node does with a peer's requests: data, not code. The driver has the code; a request that the user
//! decides on goes into a queue that the user pulls.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use dimse_proto::Uid;
use dimse_proto::dimse::{CommandField, CommandSet, Status};
use dimse_proto::ul::negotiate::NegotiatedContext;
use parking_lot::Mutex;

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
    /// Instances go straight to this folder. A requestor changes it for the length of a C-GET.
    pub folder: Mutex<Option<StoreService>>,
    /// While a C-GET of this node is outstanding, its instances are taken without the SCP role too, and on the context
    /// of the C-GET itself.
    pub lenient_roles: bool,
    /// Requests that go to `operations`, by Command Field.
    pub handled: HashMap<CommandField, Classes>,
    /// The queue of the requests that `handled` names.
    pub operations: Option<Sender<Operation>>,
    /// Large instances for a handler are kept here until it is done.
    pub spool: Option<Arc<Folder>>,
}

/// The folder and the classes it takes.
#[derive(Debug)]
pub struct StoreService {
    /// Where instances are written.
    pub folder: Arc<Folder>,
    /// SOP classes of the instances.
    pub classes: Classes,
    /// The folder goes before handlers. A node may have both: a handler for the instances that its peers send on
    /// their own, and a folder while a C-GET is outstanding. The instances of the C-GET are C-STORE requests on the
    /// same association, and only the time at which they come distinguishes them from the others.
    pub first: bool,
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
    /// `retrieving` has the contexts on which a C-GET of this node is outstanding.
    pub(crate) fn route(
        &self,
        command: &CommandSet,
        context: &NegotiatedContext,
        retrieving: &[u8],
    ) -> Route {
        let field = field_of(command);
        // DEVIATION (PS3.4 C.5.3): PACS that answer no role selection send instances all the same, and there are
        // some that send them on the context of the C-GET.
        let lenient =
            self.lenient_roles && field == CommandField::C_STORE_RQ && !retrieving.is_empty();
        let on_the_model = lenient && retrieving.contains(&context.id);
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
        let folder = self.folder_for(field, &class);
        if let Some((route, true)) = folder {
            return route;
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
            _ => folder.map_or(unsupported, |(route, _)| route),
        }
    }

    /// The folder that takes instances of a class, and whether it goes before handlers.
    fn folder_for(&self, field: CommandField, class: &Uid) -> Option<(Route, bool)> {
        if field != CommandField::C_STORE_RQ {
            return None;
        }
        let store = self.folder.lock();
        let store = store
            .as_ref()
            .filter(|store| store.classes.contain(class))?;
        let route = Route::Folder(Arc::clone(&store.folder), store.on_stored.clone());
        Some((route, store.first))
    }
}

#[cfg(test)]
mod tests {
    use dimse_proto::ul::reason::ContextResult;

    use super::*;

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
        let taken = |service: &Service, context, retrieving: &[u8]| {
            matches!(service.route(&store, context, retrieving), Route::Queue)
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
}
