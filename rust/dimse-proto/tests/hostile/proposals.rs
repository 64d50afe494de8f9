//! B: what an A-ASSOCIATE-RQ may hold. The codec, the provider's check and the negotiation together.

use dimse_proto::AeTitle;
use dimse_proto::connection::{Connection, Role};
use dimse_proto::ul::State::{Sta2, Sta3, Sta6, Sta13};
use dimse_proto::ul::negotiate::{AcceptorPolicy, CalledTitles};
use dimse_proto::ul::reason::AssociateRj;

use super::Case;
use super::support::*;

const APPLICATION: &[u8] = b"1.2.840.10008.3.1.1.1";
const ECHO: &[u8] = b"1.2.840.10008.1.1";
const LE: &[u8] = b"1.2.840.10008.1.2";
const JPEG: &[u8] = b"1.2.840.10008.1.2.4.50";

/// An A-ASSOCIATE-RQ in parts; the default is V1.
struct Rq {
    version: [u8; 2],
    called: [u8; 16],
    calling: [u8; 16],
    items: Vec<Vec<u8>>,
}

impl Rq {
    fn new() -> Self {
        Self {
            version: [0, 1],
            called: *b"ANY-SCP         ",
            calling: *b"ECHOSCU         ",
            items: vec![item(0x10, APPLICATION), context(1, ECHO), user(&[])],
        }
    }

    /// These contexts instead.
    fn of(contexts: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut rq = Self::new();
        rq.items.splice(1..2, contexts);
        rq
    }

    /// These user information sub-items besides the usual ones.
    fn with_user(items: &[Vec<u8>]) -> Self {
        let mut rq = Self::new();
        rq.items[2] = user(items);
        rq
    }

    fn wire(&self) -> Vec<u8> {
        let fixed = [&self.version[..], &[0, 0], &self.called, &self.calling].concat();
        pdu(1, &[fixed, vec![0; 32], self.items.concat()].concat())
    }
}

fn context(id: u8, class: &[u8]) -> Vec<u8> {
    context_of(id, &[item(0x30, class), item(0x40, LE)])
}

fn context_of(id: u8, syntaxes: &[Vec<u8>]) -> Vec<u8> {
    item(0x20, [vec![id, 0, 0, 0], syntaxes.concat()].concat())
}

/// User information of V1 and V2, with more sub-items of a type between 52H and 55H.
fn user(more: &[Vec<u8>]) -> Vec<u8> {
    user_announcing(0x4000, more)
}

fn user_announcing(max_length: u32, more: &[Vec<u8>]) -> Vec<u8> {
    let length = item(0x51, max_length.to_be_bytes());
    let (class, version) = (item(0x52, b"1.2.3.4"), item(0x55, b"DIMSE_RS"));
    item(0x50, [length, class, more.concat(), version].concat())
}

/// The A-ASSOCIATE-AC for contexts with these ids, results and transfer syntaxes.
fn ac(contexts: &[(u8, u8, &[u8])], more: &[Vec<u8>]) -> Vec<u8> {
    let contexts = contexts.iter().map(|(id, result, syntax)| {
        item(
            0x21,
            [&[*id, 0, *result, 0][..], &item(0x40, syntax)].concat(),
        )
    });
    let mut body = AC[6..74].to_vec();
    body.extend(item(0x10, APPLICATION));
    body.extend(contexts.flatten());
    body.extend(user(more));
    pdu(2, &body)
}

fn uid(sub: &[u8]) -> Vec<u8> {
    [&(sub.len() as u16).to_be_bytes()[..], sub].concat()
}

#[track_caller]
fn accepts(id: &'static str, rq: impl Into<Vec<u8>>, answer: impl Into<Vec<u8>>) {
    accepting(id, rq, answer).check();
}

fn accepting(id: &'static str, rq: impl Into<Vec<u8>>, answer: impl Into<Vec<u8>>) -> Case {
    Case::new(id, Sta2, rq)
        .tells(&["indicate A-ASSOCIATE"])
        .ends(Sta6, answer)
}

#[track_caller]
fn rejects(id: &'static str, rq: &Rq, triple: (u8, u8, u8)) {
    rejects_by(id, rq, triple, policy());
}

#[track_caller]
fn rejects_by(
    id: &'static str,
    rq: &Rq,
    (result, source, reason): (u8, u8, u8),
    by: AcceptorPolicy,
) {
    Case::new(id, Sta2, rq.wire())
        .answered_by(Some(by))
        .tells(&["indicate A-ASSOCIATE"])
        .ends(Sta13, rj(result, source, reason))
        .check();
}

#[track_caller]
fn aborts(id: &'static str, rq: impl Into<Vec<u8>>, fault: &'static str) {
    Case::new(id, Sta2, rq).aborts(0, 0, fault).check();
}

#[test]
fn the_builders_make_v1_and_v2() {
    assert_eq!(Rq::new().wire(), RQ);
    assert_eq!(ac(&[(1, 0, LE)], &[]), AC);
}

#[test]
fn b01_protocol_version() {
    for version in [0x0000_u16, 0xfffe, 0x0002] {
        let mut rq = Rq::new();
        rq.version = version.to_be_bytes();
        // The provider judges it; the user hears only why.
        Case::new("B01", Sta2, rq.wire())
            .names("protocol-version")
            .ends(Sta13, rj(1, 2, 2))
            .check();
    }
    let mut rq = Rq::new();
    rq.version = [0xff, 0xff];
    accepts("B01", rq.wire(), AC);
}

#[test]
fn b02_application_context() {
    let mut missing = Rq::new();
    missing.items.remove(0);
    rejects("B02", &missing, (1, 1, 2));
    let mut unknown = Rq::new();
    unknown.items[0] = item(0x10, b"1.2.840.10008.3.1.1.2");
    rejects("B02", &unknown, (1, 1, 2));
    let mut twice = Rq::new();
    twice.items.insert(0, item(0x10, APPLICATION));
    rejects("B02", &twice, (1, 2, 1));
}

#[test]
fn b03_and_b04_titles() {
    let title = |text| AeTitle::new(text).unwrap();
    let guarded = || AcceptorPolicy {
        called: CalledTitles::OneOf(vec![title("ANY-SCP")]),
        calling: Some(vec![title("ECHOSCU")]),
        ..policy()
    };
    Case::new("B03", Sta2, RQ)
        .answered_by(Some(guarded()))
        .tells(&["indicate A-ASSOCIATE"])
        .ends(Sta6, AC)
        .check();
    let strangers: [&[u8; 16]; 9] = [
        b"OTHER           ",
        b"                ",
        b"any-scp         ",
        b"ANY-SCP\0X       ",
        b"ANY-SCP\n        ",
        b"ANY\\SCP         ",
        b"../../ANY-SCP   ",
        b"/etc/passwd     ",
        b"ANY-SCP\xff\xfe       ",
    ];
    for stranger in strangers {
        let mut rq = Rq::new();
        rq.called = *stranger;
        rejects_by("B03", &rq, (1, 1, 7), guarded());
        let mut rq = Rq::new();
        rq.calling = *stranger;
        rejects_by("B03", &rq, (1, 1, 3), guarded());
    }
    let mut rq = Rq::new();
    rq.called = [b' '; 16];
    rejects("B03", &rq, (1, 1, 7));
    let mut rq = Rq::new();
    rq.calling = [b' '; 16];
    rejects("B03", &rq, (1, 1, 3));
}

#[test]
fn b05_to_b08_contexts() {
    rejects("B05", &Rq::of([]), (1, 2, 1));
    let ids = (1..=255).step_by(2);
    let full: Vec<_> = ids.map(|id| context(id, ECHO)).collect();
    rejects(
        "B06",
        &Rq::of(full.iter().cloned().chain([context(255, ECHO)])),
        (1, 2, 1),
    );
    let mut too_many = full.clone();
    too_many.extend(full.clone());
    rejects("B06", &Rq::of(too_many), (1, 2, 1));
    // 128 are legal.
    let answer: Vec<_> = (1..=255).step_by(2).map(|id| (id, 0, LE)).collect();
    accepts("B06", Rq::of(full).wire(), ac(&answer, &[]));
    rejects(
        "B07",
        &Rq::of([context(1, ECHO), context(1, b"1.2.840.10008.5.1.4.1.1.2")]),
        (1, 2, 1),
    );
    for id in [0, 2, 254] {
        rejects(
            "B08",
            &Rq::of([context(1, ECHO), context(id, ECHO)]),
            (1, 2, 1),
        );
    }
}

#[test]
fn b09_contexts_packed_with_transfer_syntaxes() {
    let abstract_syntax = item(0x30, ECHO);
    let packed = Rq::of([context_of(
        1,
        &[abstract_syntax.clone(), item(0x40, []).repeat(16_000)],
    )]);
    let wire = packed.wire();
    let bound = 2 * wire.len();
    accepting("B09", wire, ac(&[(1, 4, LE)], &[]))
        .holds(bound)
        .check();
    // 128 of them: the cap on a request comes first.
    let contexts = (1..=31).step_by(2).map(|id| {
        context_of(
            id,
            &[abstract_syntax.clone(), item(0x40, []).repeat(16_000)],
        )
    });
    let wire = Rq::of(contexts).wire();
    let bound = 2 * wire.len();
    let answer: Vec<_> = (1..=31).step_by(2).map(|id| (id, 4, LE)).collect();
    accepting("B09", wire, ac(&answer, &[]))
        .holds(bound)
        .check();
    // More than 64 are ignored.
    for (before, result) in [(63, 0), (64, 4)] {
        let syntaxes = [
            abstract_syntax.clone(),
            item(0x40, JPEG).repeat(before),
            item(0x40, LE),
        ];
        let shown = if result == 0 { LE } else { JPEG };
        accepts(
            "B09",
            Rq::of([context_of(1, &syntaxes)]).wire(),
            ac(&[(1, result, shown)], &[]),
        );
    }
    // Sub-items that declare 64 KiB.
    let liar = context_of(1, &[abstract_syntax, [0x40, 0, 0xff, 0xff].repeat(1000)]);
    let wire = Rq::of([liar]).wire();
    let bound = 2 * wire.len();
    Case::new("B09", Sta2, wire)
        .aborts(0, 0, "truncated")
        .holds(bound)
        .check();
}

#[test]
fn b10_contexts_without_or_with_too_many_syntaxes() {
    let (class, syntax) = (item(0x30, ECHO), item(0x40, LE));
    let rows: [(&[Vec<u8>], u8); 4] = [
        (std::slice::from_ref(&syntax), 2),
        (&[class.clone(), class.clone(), syntax.clone()], 2),
        (&[class], 4),
        (&[], 2),
    ];
    for (syntaxes, result) in rows {
        let rq = Rq::of([context_of(1, syntaxes), context(3, ECHO)]);
        accepts("B10", rq.wire(), ac(&[(1, result, LE), (3, 0, LE)], &[]));
    }
}

#[test]
fn b11_uids_that_are_none() {
    for padding in [&b"\0"[..], b" ", b"\0\0", b"  \0"] {
        let padded = |uid: &[u8]| [uid, padding].concat();
        let mut rq = Rq::of([context_of(
            1,
            &[item(0x30, padded(ECHO)), item(0x40, padded(LE))],
        )]);
        rq.items[0] = item(0x10, padded(APPLICATION));
        accepts("B11", rq.wire(), AC);
    }
    let long = [b"1.".repeat(32), b"1".to_vec()].concat();
    let longest = vec![b'1'; 65_000];
    let embedded = [&ECHO[..5], b"\0", &ECHO[5..]].concat();
    let latin: &[u8] = b"1.2.\xe9.\xff";
    for class in [
        &[][..],
        &long,
        &longest,
        &embedded,
        latin,
        b"../../etc",
        b" 1.2",
    ] {
        accepts(
            "B11",
            Rq::of([context(1, class)]).wire(),
            ac(&[(1, 3, LE)], &[]),
        );
        // And as a transfer syntax, which is not shown in the answer.
        let rq = Rq::of([context_of(
            1,
            &[
                item(0x30, ECHO),
                item(0x40, class.get(..60_000).unwrap_or(class)),
            ],
        )]);
        accepts("B11", rq.wire(), ac(&[(1, 4, LE)], &[]));
    }
}

#[test]
fn b12_and_b13_items_that_overrun() {
    let grown = |at: usize, by: u16| {
        let mut wire = RQ.to_vec();
        let length = u16::from_be_bytes([wire[at], wire[at + 1]]).saturating_add(by);
        wire[at..at + 2].copy_from_slice(&length.to_be_bytes());
        wire
    };
    // 50H, the last item, by one byte; others by far.
    for (at, by) in [(151, 1), (151, 0xffff), (76, 0xffff), (101, 0xffff)] {
        aborts("B12", grown(at, by), "truncated");
    }
    for stray in 1..=3 {
        let wire = pdu(1, &[&RQ[6..], &vec![0; stray]].concat());
        aborts("B12", wire, "truncated");
    }
    // 30H and 40H in the 20H, 51H, 52H and 55H in the 50H: past their parent, inside the PDU.
    for (at, by) in [
        (109, 1),
        (109, 23),
        (130, 1),
        (130, 30),
        (155, 0x40),
        (163, 13),
    ] {
        aborts("B13", grown(at, by), "truncated");
    }
    let mut not_the_last = Rq::new();
    not_the_last.items.reverse();
    let mut wire = not_the_last.wire();
    assert_eq!(wire[97..101], [0x55, 0, 0, 8]);
    wire[100] = 9;
    aborts("B13", wire, "truncated");
}

#[test]
fn b14_and_b15_unknown_items_and_any_order() {
    let unknown = item(0x99, b"whatever");
    let mut rq = Rq::of([context_of(
        1,
        &[
            item(0x77, b"?"),
            item(0x30, ECHO),
            item(0x41, []),
            item(0x40, LE),
        ],
    )]);
    rq.items.insert(0, unknown.clone());
    rq.items.insert(2, item(0, b""));
    rq.items[4] = user(&[item(0xf0, b"?"), item(0x01, [])]);
    rq.items.push(unknown);
    accepts("B14", rq.wire(), AC);

    let mut rq = Rq::of([context(3, ECHO), context(1, ECHO)]);
    rq.items.reverse();
    accepts("B15", rq.wire(), ac(&[(1, 0, LE), (3, 0, LE)], &[]));
    let mut none = Rq::new();
    none.items.pop();
    accepts("B15", none.wire(), AC);
    let mut two = Rq::new();
    two.items.push(user(&[]));
    rejects("B15", &two, (1, 2, 1));
}

#[test]
fn b16_and_b17_maximum_length() {
    let announcing = |length| {
        let mut rq = Rq::new();
        rq.items[2] = user_announcing(length, &[]);
        rq
    };
    for length in 1..8 {
        rejects("B16", &announcing(length), (1, 2, 1));
    }
    let mut absent = Rq::new();
    absent.items[2] = item(0x50, item(0x52, b"1.2.3.4"));
    let rows = [
        (absent, 16384 - 6),
        (announcing(0), 131_066),
        (announcing(8), 2),
        (announcing(9), 2),
        (announcing(127), 120),
        (announcing(16384), 16378),
        (announcing(u32::MAX), 131_066),
    ];
    for (rq, fragment) in rows {
        accepts("B16", rq.wire(), AC);
        let mut end = End::reach(Role::Acceptor, Sta2).unwrap();
        end.answers = Some(policy());
        end.feed(&rq.wire());
        assert_eq!(end.connection.max_fragment(), fragment);
    }
    for length in [0, 3, 5] {
        let mut rq = Rq::new();
        rq.items[2] = item(0x50, item(0x51, vec![0; length]));
        let fault = if length < 4 {
            "truncated"
        } else {
            "stray-bytes"
        };
        aborts("B17", rq.wire(), fault);
    }
    let twice = Rq::with_user(&[item(0x51, 0x4000_u32.to_be_bytes())]);
    rejects("B17", &twice, (1, 2, 1));
}

#[test]
fn b18_asynchronous_operations_window() {
    let window = |invoked: u16, performed: u16| {
        item(
            0x53,
            [invoked.to_be_bytes(), performed.to_be_bytes()].concat(),
        )
    };
    for (offered, limit, granted) in [
        ((0, 0), 1, (1, 1)),
        ((0, 0), 0, (64, 64)),
        ((65535, 65535), 8, (8, 8)),
        ((3, 0), 5, (3, 5)),
        ((1, 1), 5, (1, 1)),
    ] {
        let policy = AcceptorPolicy {
            max_ops_invoked: limit,
            max_ops_performed: limit,
            ..policy()
        };
        let rq = Rq::with_user(&[window(offered.0, offered.1)]).wire();
        let answer = ac(&[(1, 0, LE)], &[window(granted.0, granted.1)]);
        accepting("B18", rq, answer)
            .answered_by(Some(policy))
            .check();
    }
}

#[test]
fn b19_role_selection() {
    let role = |class: &[u8], scu, scp| item(0x54, [uid(class), vec![scu, scp]].concat());
    accepts("B19", Rq::with_user(&[role(b"1.2.3", 1, 1)]).wire(), AC);
    let refused = Rq::with_user(&[role(ECHO, 0, 0)]);
    accepts("B19", refused.wire(), ac(&[(1, 1, LE)], &[]));
    let flood = Rq::with_user(&vec![role(b"1", 1, 1); 7000]).wire();
    let bound = 2 * flood.len();
    accepting("B19", flood, AC).holds(bound).check();
    // Of two roles for a class the first counts, and is answered once.
    let twice = Rq::with_user(&[role(ECHO, 1, 0), role(ECHO, 0, 0)]);
    accepts("B19", twice.wire(), ac(&[(1, 0, LE)], &[role(ECHO, 1, 0)]));
}

#[test]
fn b20_extended_negotiation_that_overruns() {
    let liars = [
        item(0x56, [0, 6, b'1', b'.', b'2']),
        item(0x56, [0xff, 0xff]),
        item(0x56, [0]),
        item(0x57, [&[0xff, 0xf0][..], ECHO].concat()),
        item(0x57, [uid(ECHO), vec![0, 9, b'1']].concat()),
        item(0x57, [uid(ECHO), uid(b"1.2"), vec![0, 4, 0, 3]].concat()),
        item(
            0x57,
            [uid(ECHO), uid(b"1.2"), vec![0, 4, 0, 3, b'1', b'.']].concat(),
        ),
        item(0x57, uid(ECHO)),
    ];
    for liar in liars {
        aborts("B20", Rq::with_user(&[liar]).wire(), "truncated");
    }
    let empty = item(0x56, uid(ECHO));
    accepts("B20", Rq::with_user(&[empty]).wire(), AC);
}

#[test]
fn b21_and_b22_user_identity() {
    let identity = |kind: u8, asked: u8, primary: &[u8], secondary: &[u8]| {
        item(
            0x58,
            [vec![kind, asked], uid(primary), uid(secondary)].concat(),
        )
    };
    let ticket = vec![b'x'; 65_400];
    for proposal in [
        identity(0, 0, b"", b""),
        identity(6, 1, b"who", b""),
        identity(255, 255, b"who", b"what"),
        identity(5, 1, &ticket, b""),
        identity(4, 0, &ticket, b""),
        identity(2, 0, b"who", b""),
        identity(1, 0, b"\xff\xfe\x00", b""),
        // B22: a positive response is asked for, and nobody here can verify.
        identity(1, 1, b"who", b""),
        identity(2, 1, b"who", b"pass"),
    ] {
        accepts("B21", Rq::with_user(&[proposal]).wire(), AC);
    }
    for liar in [
        item(0x58, [2, 0, 0, 9, b'x']),
        item(0x58, [2, 0]),
        item(0x58, [vec![2, 0], uid(b"who")].concat()),
        item(0x58, [vec![2, 0], uid(b"who"), vec![0xff, 0xff]].concat()),
    ] {
        aborts("B21", Rq::with_user(&[liar]).wire(), "truncated");
    }
    let stray = item(0x58, [vec![1, 0], uid(b"who"), uid(b""), vec![0]].concat());
    aborts("B21", Rq::with_user(&[stray]).wire(), "stray-bytes");
    rejects(
        "B21",
        &Rq::with_user(&[identity(1, 0, b"a", b""), identity(1, 0, b"b", b"")]),
        (1, 2, 1),
    );
}

#[test]
fn b23_limits_are_the_users_to_say() {
    for (rejection, triple) in [
        (AssociateRj::LOCAL_LIMIT, rj(2, 3, 2)),
        (AssociateRj::CONGESTION, rj(2, 3, 1)),
        (AssociateRj::USER_TRANSIENT, rj(2, 1, 1)),
    ] {
        let mut end = End::reach(Role::Acceptor, Sta3).unwrap();
        end.ask(|c: &mut Connection| c.reject(rejection));
        assert_eq!((end.state(), &end.sent[..]), (Sta13, &triple[..]));
    }
}

#[test]
fn b24_reserved_fields_are_not_tested() {
    let mut wire = RQ.to_vec();
    let items = [75, 100, 104, 105, 106, 108, 129, 150, 154, 162, 173];
    let reserved = [1, 8, 9].into_iter().chain(42..74).chain(items);
    for at in reserved {
        assert_eq!(wire[at], 0);
        wire[at] = 0xff;
    }
    // The answer is a byte copy of what it must copy (Table 9-17).
    let mut answer = AC.to_vec();
    answer[42..74].fill(0xff);
    accepts("B24", wire, answer);
}
