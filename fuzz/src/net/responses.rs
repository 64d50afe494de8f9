//! Bytes of a peer as responses to our requests.

use std::sync::Arc;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use bytes::{Bytes, BytesMut};
use dimse_net::association::{Association, Data, Invocation};
use dimse_net::deadline::Timeouts;
use dimse_net::error::Error;
use dimse_net::events::Events;
use dimse_net::limits::{Budget, Limits};
use dimse_net::service::Service;
use dimse_net::settings::Settings;
use dimse_proto::dimse::{CommandField, CommandSet, Status, element};
use dimse_proto::ul::associate::Associate;
use dimse_proto::ul::data::frame;
use dimse_proto::ul::negotiate::{
    AcceptorPolicy, Preference, ProposedContext, Request, SupportedContext, Verdict, answer,
};
use dimse_proto::ul::pdu::{Header, Pdu};
use dimse_proto::ul::reason::{Abort, AssociateRj};
use dimse_proto::{AeTitle, Uid};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Builder;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

const CLASS: Uid = Uid::from_static("1.2.840.10008.1.1");
const SYNTAX: Uid = Uid::from_static("1.2.840.10008.1.2");

#[derive(Arbitrary, Debug)]
struct Script {
    window: u8,
    segment: u8,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    /// Our user asks.
    Ask {
        field: u8,
        data: bool,
    },
    /// C-CANCEL of one of our requests.
    Cancel(u8),
    /// The user has enough of it.
    Leave(u8),
    /// The peer answers one of them, truly or not.
    Respond(Response),
    /// The peer sends a whole PDU that is no response.
    Sample(u8),
    Raw(Vec<u8>),
    /// Nobody does anything for a while.
    Wait(u8),
    Release,
    Abort,
}

#[derive(Arbitrary, Debug)]
struct Response {
    to: u8,
    status: u8,
    data: u16,
    fragment: u8,
    lie: Option<Lie>,
}

#[derive(Arbitrary, Debug)]
enum Lie {
    Id(u16),
    Field(u16),
    Data(bool),
    Context(u8),
    /// A byte of the message is another one.
    Byte(u16, u8),
    Cut(u16),
}

/// Requests of ours, and what a peer makes of them.
pub fn scu_responses(data: &[u8]) {
    let Ok(script) = Script::arbitrary_take_rest(Unstructured::new(data)) else {
        return;
    };
    let whole = run(&script, usize::MAX);
    let segment = [1, 7, 64][usize::from(script.segment % 3)];
    assert_eq!(run(&script, segment), whole, "segments matter");
}

/// So that a long script cannot take seconds.
const STEPS_AT_MOST: usize = 40;
const REQUESTS_AT_MOST: usize = 12;

/// Longer than every deadline: what has not ended by then does not end.
const FOR_EVER: Duration = Duration::from_secs(100_000);

/// Statuses and lengths of the responses to a request, and why no more came.
type Answered = (Vec<(u16, usize)>, Option<String>);

/// How each request ended and what came before, why the association ended, and what kinds of PDUs we sent.
#[derive(Debug, PartialEq)]
struct Outcome {
    requests: Vec<Answered>,
    end: Option<String>,
    sent: Vec<u8>,
}

fn run(script: &Script, segment: usize) -> Outcome {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    let Ok(runtime) = runtime else {
        panic!("a runtime")
    };
    runtime.block_on(converse(script, segment))
}

async fn converse(script: &Script, segment: usize) -> Outcome {
    let budget = Budget::new(1 << 20);
    let settings = Settings {
        timeouts: Timeouts::default(),
        limits: Limits {
            dataset: 3000,
            ..Limits::default()
        },
        budget: budget.clone(),
        tls: None,
        events: Events::default(),
        service: Arc::new(Service {
            echo: true,
            ..Service::default()
        }),
        metrics: None,
    };
    let request = proposal(script.window);
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let Ok((opened, driver)) = Association::request_over(ours, request.clone(), settings) else {
        panic!("a request that cannot be sent")
    };
    let driver = tokio::spawn(driver);
    let (mut reader, mut writer) = tokio::io::split(theirs);
    let sent = tokio::spawn(async move {
        let mut sent = vec![];
        let _reset = reader.read_to_end(&mut sent).await;
        sent
    });
    let accepted = writer.write_all(&accepting(&request)).await;
    let Ok(association) = opened.await else {
        panic!("it was accepted")
    };
    assert!(accepted.is_ok());
    let mut asked = vec![];
    for step in script.steps.iter().take(STEPS_AT_MOST) {
        let bytes = take(step, &association, &mut asked).await;
        for chunk in bytes.chunks(segment.min(bytes.len()).max(1)) {
            // Nobody reads any more: so be it.
            let _closed = writer.write_all(chunk).await;
            settle().await;
        }
    }
    drop(writer); // sends nothing more; split halves keep the stream open until both are gone
    let mut requests = vec![];
    for asked in asked {
        requests.push(asked.end().await);
    }
    association.abort();
    let Ok(Ok(())) = timeout(FOR_EVER, driver).await else {
        panic!("the driver does not end")
    };
    let end = association.ended().map(|error| name(&error));
    drop(association);
    let Ok(sent) = sent.await else {
        panic!("the reader ends")
    };
    assert_eq!(budget.used(), 0, "something is still charged");
    Outcome {
        requests,
        end,
        sent: kinds(&sent),
    }
}

/// Lets everybody do what there is to do now.
async fn settle() {
    for _ in 0..6 {
        yield_now().await;
    }
}

/// A request of ours, and what has come of it.
struct Asked {
    command: CommandSet,
    context_id: u8,
    invocation: Option<Invocation>,
}

async fn take(step: &Step, association: &Association, asked: &mut Vec<Asked>) -> Vec<u8> {
    let count = asked.len().max(1);
    match step {
        Step::Ask { field, data } if asked.len() < REQUESTS_AT_MOST => {
            let id = association.next_message_id();
            asked.extend(Asked::new(association, id, *field, *data));
        }
        Step::Cancel(of) => {
            if let Some(asked) = asked.get(usize::from(*of) % count)
                && let Some(id) = asked.command.message_id()
            {
                let _over = association.send(asked.context_id, CommandSet::cancel(id), None);
            }
        }
        Step::Leave(of) => {
            if let Some(asked) = asked.get_mut(usize::from(*of) % count) {
                asked.invocation = None;
            }
        }
        Step::Respond(response) => {
            if let Some(asked) = asked.get(usize::from(response.to) % count) {
                return response.to(asked);
            }
        }
        Step::Sample(index) => {
            let samples = [
                Pdu::ReleaseRq,
                Pdu::ReleaseRp,
                Pdu::Abort(Abort::USER),
                Pdu::AssociateRj(AssociateRj::CALLED_AE),
                Pdu::AssociateRq(proposal(1)),
            ];
            return samples[usize::from(*index) % samples.len()].encode().into();
        }
        Step::Raw(bytes) => return bytes.clone(),
        Step::Wait(long) => sleep(Duration::from_millis(u64::from(*long) * 173)).await,
        Step::Release => {
            let association = association.clone();
            tokio::spawn(async move {
                let _ended_otherwise = association.release().await;
            });
        }
        Step::Abort => association.abort(),
        Step::Ask { .. } => {}
    }
    settle().await;
    vec![]
}

impl Asked {
    fn new(association: &Association, id: u16, field: u8, data: bool) -> Option<Self> {
        let fields = [
            CommandField::C_ECHO_RQ,
            CommandField::C_STORE_RQ,
            CommandField::C_FIND_RQ,
            CommandField::C_GET_RQ,
            CommandField::N_GET_RQ,
            CommandField::N_ACTION_RQ,
        ];
        let field = fields[usize::from(field) % fields.len()];
        let mut command = CommandSet::request(field, id, &CLASS).ok()?;
        command.set_has_data_set(data);
        let data = data.then(|| Bytes::from_static(b"some data set "));
        let context_id = 1 + u8::from(data.is_some()) * 2;
        let within = Some(Duration::from_secs(60));
        let invocation = association.invoke(context_id, command.clone(), data, within);
        Some(Self {
            command,
            context_id,
            invocation: Some(invocation.ok()?),
        })
    }

    /// All that comes: pending responses, one that is not, and nothing after it.
    async fn end(self) -> Answered {
        let mut responses = vec![];
        let Some(mut invocation) = self.invocation else {
            return (responses, None);
        };
        loop {
            match timeout(FOR_EVER, invocation.next()).await {
                Ok(Some(Ok(response))) => {
                    let command = &response.command;
                    assert_eq!(command.responding_to(), self.command.message_id());
                    let field = self.command.field().and_then(CommandField::response);
                    assert_eq!(command.field(), field);
                    let Some(status) = command.status() else {
                        panic!("a response without a status")
                    };
                    let length = match &response.data {
                        Data::Memory(parts) => parts.len(),
                        _ => 0,
                    };
                    responses.push((status.0, length));
                    if !status.is_pending() {
                        break;
                    }
                }
                Ok(Some(Err(error))) => {
                    let end = Some(name(&error));
                    assert!(matches!(
                        timeout(FOR_EVER, invocation.next()).await,
                        Ok(None)
                    ));
                    return (responses, end);
                }
                Ok(None) => panic!("no end"),
                Err(late) => panic!("neither a response nor an error: {late}"),
            }
        }
        assert!(matches!(
            timeout(FOR_EVER, invocation.next()).await,
            Ok(None)
        ));
        (responses, None)
    }
}

impl Response {
    fn to(&self, asked: &Asked) -> Vec<u8> {
        let statuses = [0, 0xff00, 0xff01, 0xfe00, 0xb000, 0x0110, 0xa700, 0x0001];
        let status = Status(statuses[usize::from(self.status) % statuses.len()]);
        let Ok(mut command) = CommandSet::response_to(&asked.command, status) else {
            panic!("a request that can be answered")
        };
        let data = vec![b'x'; usize::from(self.data % 4096) & !1];
        command.set_has_data_set(!data.is_empty());
        let mut context_id = asked.context_id;
        match self.lie {
            Some(Lie::Id(id)) => command.set_us(element::MESSAGE_ID_BEING_RESPONDED_TO, id),
            Some(Lie::Field(field)) => command.set_us(element::COMMAND_FIELD, field),
            Some(Lie::Data(has)) => command.set_has_data_set(has),
            Some(Lie::Context(id)) => context_id = id,
            _ => {}
        }
        let mut framed = BytesMut::new();
        let most = (usize::from(self.fragment) * 16).max(32);
        frame(&mut framed, context_id, true, &command.encode(), most);
        frame(&mut framed, context_id, false, &data, most);
        let mut bytes = framed.to_vec();
        match self.lie {
            Some(Lie::Byte(at, byte)) => {
                let at = usize::from(at) % bytes.len();
                bytes[at] = byte;
            }
            Some(Lie::Cut(at)) => bytes.truncate(usize::from(at)),
            _ => {}
        }
        bytes
    }
}

/// What it is called: texts hold numbers that depend on how bytes came.
fn name(error: &Error) -> String {
    match error {
        Error::Timeout(which, _) => format!("timeout {}", which.name()),
        Error::Remote(fault) => fault.code.to_owned(),
        other => format!("{other:?}"),
    }
}

const RELEASE_RQ: u8 = 5;
const ABORT: u8 = 7;

/// The types of the PDUs that were sent: whole ones, and nothing after an A-ABORT.
fn kinds(mut sent: &[u8]) -> Vec<u8> {
    let mut kinds = vec![];
    while let Some((header, rest)) = sent.split_first_chunk() {
        let header = Header::read(header);
        let length = header.length as usize;
        assert!(length <= rest.len(), "half a PDU was sent");
        let (body, rest) = rest.split_at(length);
        assert!(Pdu::decode(header, Bytes::copy_from_slice(body)).is_ok());
        assert_ne!(kinds.last(), Some(&ABORT), "sent after A-ABORT");
        kinds.push(header.pdu_type);
        sent = rest;
    }
    assert!(sent.is_empty(), "half a header was sent");
    let mut releases = kinds.iter().filter(|kind| **kind == RELEASE_RQ);
    assert!(releases.next().is_none() || releases.next().is_none());
    kinds
}

fn contexts() -> Vec<ProposedContext> {
    let context = ProposedContext::new(CLASS, vec![SYNTAX]);
    vec![context.clone(), context]
}

fn proposal(window: u8) -> Associate {
    let title = AeTitle::from_wire(b"NODE");
    let mut request = Request::new(title, title, contexts());
    request.max_ops_invoked = u16::from(window % 4);
    let Ok(request) = request.build() else {
        panic!("a request that cannot be sent")
    };
    request
}

fn accepting(request: &Associate) -> Bytes {
    let mut policy = AcceptorPolicy::new([SupportedContext {
        abstract_syntax: CLASS,
        transfer_syntaxes: vec![],
        preference: Preference::Requestor,
        scu: true,
        scp: false,
    }]);
    policy.max_ops_performed = 3;
    match answer(request, &policy) {
        Verdict::Accept { answer, .. } => Pdu::AssociateAc(answer).encode(),
        Verdict::Reject { detail, .. } => panic!("{detail}"),
    }
}
