//! Data sets as structure only (PS3.5 section 7).
