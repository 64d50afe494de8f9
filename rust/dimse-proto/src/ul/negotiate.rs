//! Negotiation as a pure function (PS3.8 7.1.1, PS3.7 Annex D.3).
