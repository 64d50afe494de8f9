//! PDUs and negotiation.

use bytes::Bytes;
use dimse_proto::DecodeError;
use dimse_proto::ul::associate::{Associate, Item};
use dimse_proto::ul::negotiate::{
    AcceptorPolicy, NegotiatedContext, Preference, UnknownClasses, UnknownStorage, Verdict, answer,
    outcome,
};
use dimse_proto::ul::pdu::{Header, Pdu, PduLimits};

/// Six bytes of header, and a body of whatever length there is.
pub fn pdu_decode(data: &[u8]) {
    let Some((header, body)) = data.split_first_chunk() else {
        return;
    };
    let declared = Header::read(header);
    let _ = declared.check(&PduLimits::default());
    let decoded = decode(declared.pdu_type, body);
    if let Ok(pdu) = &decoded {
        assert!(values(pdu) <= body.len() / 4 + 1, "grew");
        assert!(!format!("{pdu:?}").is_empty());
    }
    if let Ok(Pdu::AssociateRq(request)) = decoded {
        negotiate(&request);
    }
}

/// An answer can be sent, read, and understood by who asked.
fn negotiate(request: &Associate) {
    let mut policy = AcceptorPolicy::new([]);
    policy.unknown_storage = Some(UnknownStorage {
        classes: UnknownClasses::Any,
        transfer_syntaxes: vec![],
        preference: Preference::Requestor,
    });
    let Verdict::Accept { answer, negotiated } = answer(request, &policy) else {
        return;
    };
    let wire = Pdu::AssociateAc(answer.clone()).encode();
    let Ok(Pdu::AssociateAc(read)) = decode(2, &wire[Header::LENGTH..]) else {
        panic!("an answer of ours cannot be read")
    };
    assert_eq!(read, answer);
    for context in &negotiated.contexts {
        assert_eq!(negotiated.by_id(context.id), Some(context));
        assert_eq!(context.is_accepted(), context.transfer_syntax.is_some());
    }
    let Ok(theirs) = outcome(request, &answer) else {
        panic!("an answer of ours is not understood")
    };
    let accepted = |list: &[NegotiatedContext]| list.iter().filter(|c| c.is_accepted()).count();
    assert_eq!(accepted(&theirs.contexts), accepted(&negotiated.contexts));
    // A request read as an answer is nonsense, and no more.
    let _ = outcome(request, request);
}

/// A type, and a body.
pub fn pdu_roundtrip(data: &[u8]) {
    let Some((&pdu_type, body)) = data.split_first() else {
        return;
    };
    let Ok(pdu) = decode(pdu_type, body) else {
        return;
    };
    let wire = pdu.encode();
    let Some((header, again)) = wire.split_first_chunk() else {
        panic!("no header")
    };
    let header = Header::read(header);
    assert_eq!(header.length as usize, again.len());
    assert!(again.len() <= body.len().max(4), "grew");
    assert_eq!(decode(header.pdu_type, again), Ok(pdu));
}

/// A body is decoded after its header was judged.
fn decode(pdu_type: u8, body: &[u8]) -> Result<Pdu, DecodeError> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let header = Header { pdu_type, length };
    header.check(&PduLimits::default())?;
    Pdu::decode(header, Bytes::copy_from_slice(body))
}

/// Roughly what a decoded PDU holds, in values.
fn values(pdu: &Pdu) -> usize {
    let (Pdu::AssociateRq(associate) | Pdu::AssociateAc(associate)) = pdu else {
        return match pdu {
            Pdu::PData(pdvs) => pdvs.len(),
            _ => 1,
        };
    };
    let nested = associate.items.iter().map(|item| match item {
        Item::PresentationContextRq(context) => {
            context.abstract_syntaxes.len() + context.transfer_syntaxes.len()
        }
        Item::PresentationContextAc(context) => context.transfer_syntaxes.len(),
        Item::UserInformation(items) => items.len(),
        _ => 0,
    });
    associate.items.len() + nested.sum::<usize>()
}
