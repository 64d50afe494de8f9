//! The seven PDUs (PS3.8 9.3).

use alloc::vec::Vec;

use super::associate::Associate;
use super::data::Pdv;
use super::reason::{Abort, AssociateRj};

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
