//! The seven PDUs (PS3.8 9.3): their common header, which is checked before the body arrives, and their bodies.

use alloc::format;
use alloc::vec::Vec;

use bytes::Bytes;

use super::associate::Associate;
use super::data::{self, Pdv};
use super::reason::{Abort, AbortReason, AbortSource, AssociateRj, RejectResult, RejectSource};
use crate::error::DecodeError;
use crate::wire::{Reader, Writer};

/// A protocol data unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pdu {
    /// 01H.
    AssociateRq(Associate),
    /// 02H.
    AssociateAc(Associate),
    /// 03H.
    AssociateRj(AssociateRj),
    /// 04H.
    PData(Vec<Pdv>),
    /// 05H.
    ReleaseRq,
    /// 06H.
    ReleaseRp,
    /// 07H.
    Abort(Abort),
}

/// Type and length: the six bytes in front of every PDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// PDU type, 01H to 07H when known.
    pub pdu_type: u8,
    /// Bytes that follow the header.
    pub length: u32,
}

/// The longest PDU bodies that this end accepts, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PduLimits {
    /// A-ASSOCIATE-RQ and -AC, for which the standard has no limit. Default 1 MiB.
    pub associate: u32,
    /// P-DATA-TF: the maximum length that this end announced. The default 0 announced no limit: 16 MiB are accepted.
    pub p_data: u32,
}

impl Default for PduLimits {
    fn default() -> Self {
        Self {
            associate: 0x0010_0000,
            p_data: 0,
        }
    }
}

/// Accepted length of a P-DATA-TF when this end announced no limit.
const P_DATA_CAP: u32 = 0x0100_0000;

/// Bytes in front of the variable items of A-ASSOCIATE-RQ and -AC.
const ASSOCIATE_FIXED: u32 = 68;

/// Up to this length an A-ABORT of a wrong length (not 4) counts as an abort.
const ABORT_CAP: u32 = 1024;

impl Header {
    /// Length of the header in bytes.
    pub const LENGTH: usize = 6;

    /// Decodes the six bytes. The second is reserved and not tested.
    #[must_use]
    pub const fn read(bytes: &[u8; Self::LENGTH]) -> Self {
        let [pdu_type, _, a, b, c, d] = *bytes;
        Self {
            pdu_type,
            length: u32::from_be_bytes([a, b, c, d]),
        }
    }

    /// Checks type and length, before the body is awaited and memory is reserved for it.
    ///
    /// # Errors
    /// `unknown-pdu`, `tls-alert`, `pdu-too-short`, `pdu-too-long`, or `pdu-length` for a type of one fixed length.
    pub fn check(&self, limits: &PduLimits) -> Result<(), DecodeError> {
        let length = self.length;
        // The smallest and the largest length of each type. Everything between is for the decoder of the body.
        let name = self.type_name();
        let fault = |code, what, section| Err(DecodeError::new(code, what, 0, section));
        match self.pdu_type {
            0x01 | 0x02 if length < ASSOCIATE_FIXED => fault(
                "pdu-too-short",
                format!("{name} of {length} bytes, its fixed part alone has {ASSOCIATE_FIXED}"),
                "PS3.8 9.3.2",
            ),
            0x01 | 0x02 if length > limits.associate => fault(
                "pdu-too-long",
                format!(
                    "{name} of {length} bytes exceeds the limit {}",
                    limits.associate
                ),
                "PS3.8 9.3.2",
            ),
            0x04 if length < 6 => fault(
                "pdu-too-short",
                format!("{name} of {length} bytes holds no presentation data value"),
                "PS3.8 9.3.5",
            ),
            0x04 if limits.p_data == 0 && length > P_DATA_CAP => fault(
                "pdu-too-long",
                format!("{name} of {length} bytes exceeds the limit {P_DATA_CAP}"),
                "PS3.8 D.1",
            ),
            0x04 if limits.p_data != 0 && length > limits.p_data => fault(
                "pdu-too-long",
                format!(
                    "{name} of {length} bytes exceeds the negotiated maximum {}",
                    limits.p_data
                ),
                "PS3.8 D.1",
            ),
            0x03 | 0x05 | 0x06 if length != 4 => fault(
                "pdu-length",
                format!("{name} of {length} bytes instead of 4"),
                "PS3.8 9.3.1",
            ),
            0x07 if length > ABORT_CAP => fault(
                "pdu-too-long",
                format!("{name} of {length} bytes instead of 4"),
                "PS3.8 9.3.8",
            ),
            0x01..=0x07 => Ok(()),
            other => Err(unknown_type(other, length)),
        }
    }

    /// The standard's name of the type: `P-DATA-TF`.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        type_name(self.pdu_type)
    }
}

/// First byte of a TLS record of type alert (RFC 8446 5.1): the answer of a TLS server to bytes that are not TLS.
const TLS_ALERT: u8 = 0x15;

/// The fault of a first byte that is no PDU type: it names the protocol that the peer seems to speak.
fn unknown_type(pdu_type: u8, length: u32) -> DecodeError {
    let code = if pdu_type == TLS_ALERT {
        "tls-alert"
    } else {
        "unknown-pdu"
    };
    let resembled = resembles(pdu_type);
    let what = format!("PDU of unknown type {pdu_type:02X}H, length {length}{resembled}");
    DecodeError::new(code, what, 0, "PS3.8 9.3.1")
}

/// The protocol whose connections begin with this byte and reach DICOM ports by mistake.
const fn resembles(first: u8) -> &'static str {
    match first {
        TLS_ALERT => ": this is how TLS says no, on a port with TLS",
        0x16 => ": this is how TLS begins, on a port without TLS",
        0x0B => ": this is how HL7 messages (MLLP) begin",
        b'S' => ": this is how SSH begins",
        b'P' => ": this is how HTTP, or a PROXY header, begins",
        b'G' | b'H' | b'O' | b'D' | b'C' => ": this is how HTTP begins",
        _ => "",
    }
}

const fn type_name(pdu_type: u8) -> &'static str {
    match pdu_type {
        0x01 => "A-ASSOCIATE-RQ",
        0x02 => "A-ASSOCIATE-AC",
        0x03 => "A-ASSOCIATE-RJ",
        0x04 => "P-DATA-TF",
        0x05 => "A-RELEASE-RQ",
        0x06 => "A-RELEASE-RP",
        0x07 => "A-ABORT",
        _ => "unknown PDU",
    }
}

impl Pdu {
    /// Decodes a whole body. Fragments and items are slices of it, not copies.
    ///
    /// # Errors
    /// `unknown-pdu`, `truncated` and the faults named by the items and by the P-DATA decoder.
    pub fn decode(header: Header, body: Bytes) -> Result<Self, DecodeError> {
        match header.pdu_type {
            0x01 => Associate::decode(&body).map(Self::AssociateRq),
            0x02 => Associate::decode(&body).map(Self::AssociateAc),
            0x03 => {
                let mut reader = Reader::new(body, "PS3.8 9.3.4");
                let [_, result, source, reason] = reader.array("A-ASSOCIATE-RJ")?;
                Ok(Self::AssociateRj(AssociateRj {
                    result: RejectResult(result),
                    source: RejectSource(source),
                    reason,
                }))
            }
            0x04 => data::decode(body).map(Self::PData),
            0x05 => Ok(Self::ReleaseRq),
            0x06 => Ok(Self::ReleaseRp),
            // An abort of a wrong length is still an abort: answered as a fault, it could be answered in turn
            // (case C25).
            0x07 => Ok(Self::Abort(Abort {
                source: AbortSource(body.get(2).copied().unwrap_or(0)),
                reason: AbortReason(body.get(3).copied().unwrap_or(0)),
            })),
            other => Err(DecodeError::new(
                "unknown-pdu",
                format!("PDU of unknown type {other:02X}H"),
                0,
                "PS3.8 9.3.1",
            )),
        }
    }

    /// The whole PDU, header included. Reserved fields are zero, items in the order given.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Writer::new();
        out.u8(self.pdu_type());
        out.u8(0);
        out.counted_u32(|out| match self {
            Self::AssociateRq(associate) | Self::AssociateAc(associate) => associate.encode(out),
            Self::AssociateRj(rj) => out.bytes(&[0, rj.result.0, rj.source.0, rj.reason]),
            Self::PData(pdvs) => pdvs.iter().for_each(|pdv| pdv.encode(out)),
            Self::ReleaseRq | Self::ReleaseRp => out.u32(0),
            Self::Abort(abort) => out.bytes(&[0, 0, abort.source.0, abort.reason.0]),
        });
        out.finish()
    }

    /// The type on the wire.
    #[must_use]
    pub const fn pdu_type(&self) -> u8 {
        match self {
            Self::AssociateRq(_) => 0x01,
            Self::AssociateAc(_) => 0x02,
            Self::AssociateRj(_) => 0x03,
            Self::PData(_) => 0x04,
            Self::ReleaseRq => 0x05,
            Self::ReleaseRp => 0x06,
            Self::Abort(_) => 0x07,
        }
    }

    /// The standard's name of the type: `A-ASSOCIATE-RQ`.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        type_name(self.pdu_type())
    }
}
