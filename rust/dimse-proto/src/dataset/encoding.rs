//! How the bytes of a data set are encoded in each transfer syntax (PS3.5 section 10, Annex A).

use crate::Uid;

/// How the elements of a data set are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Implicit VR Little Endian (PS3.5 A.1).
    ImplicitLe,
    /// Explicit VR Little Endian (PS3.5 A.2), also around encapsulated pixel data (A.4) and after inflation (A.5).
    ExplicitLe,
    /// Explicit VR Big Endian (retired).
    ExplicitBe,
}

impl Encoding {
    /// The encoding of a transfer syntax, after inflation if it [`is_deflated`]; `None` for a private or unknown
    /// transfer syntax, whose data sets are opaque bytes.
    #[must_use]
    pub fn of_transfer_syntax(uid: &Uid) -> Option<Self> {
        match standard_suffix(uid)? {
            // 20: Papyrus 3 Implicit VR Little Endian (retired).
            b"2" | b"20" => Some(Self::ImplicitLe),
            b"2.2" => Some(Self::ExplicitBe),
            b"2.1" | b"2.1.98" | b"2.1.99" | b"2.5" | b"2.8.1" => Some(Self::ExplicitLe),
            other => other.starts_with(b"2.4.").then_some(Self::ExplicitLe),
        }
    }
}

/// Whether the whole data set is deflated (PS3.5 A.5): Deflated Explicit VR Little Endian and the JPIP Referenced
/// Deflate syntaxes.
#[must_use]
pub fn is_deflated(transfer_syntax: &Uid) -> bool {
    matches!(
        standard_suffix(transfer_syntax),
        Some(b"2.1.99" | b"2.4.95" | b"2.4.205")
    )
}

/// Whether pixel data is a sequence of fragments (PS3.5 A.4). The JPIP Referenced syntaxes hold no pixel data.
#[must_use]
pub fn is_encapsulated(transfer_syntax: &Uid) -> bool {
    match standard_suffix(transfer_syntax) {
        Some(b"2.4.94" | b"2.4.95" | b"2.4.204" | b"2.4.205") | None => false,
        Some(b"2.5" | b"2.8.1" | b"2.1.98") => true,
        Some(other) => other.starts_with(b"2.4."),
    }
}

/// The part of a UID after `1.2.840.10008.1.`, the root of the standard transfer syntaxes.
fn standard_suffix(uid: &Uid) -> Option<&[u8]> {
    uid.as_bytes().strip_prefix(b"1.2.840.10008.1.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoding(text: &'static str) -> Option<Encoding> {
        Encoding::of_transfer_syntax(&Uid::from_static(text))
    }

    #[test]
    fn standard_syntaxes_have_an_encoding() {
        assert_eq!(encoding("1.2.840.10008.1.2"), Some(Encoding::ImplicitLe));
        assert_eq!(encoding("1.2.840.10008.1.2.2"), Some(Encoding::ExplicitBe));
        for explicit in [
            "1", "1.98", "1.99", "4.50", "4.70", "4.90", "4.205", "5", "8.1",
        ] {
            let uid = Uid::new(&alloc::format!("1.2.840.10008.1.2.{explicit}")).unwrap();
            assert_eq!(
                Encoding::of_transfer_syntax(&uid),
                Some(Encoding::ExplicitLe),
                "{uid}"
            );
        }
    }

    #[test]
    fn private_and_unknown_syntaxes_are_opaque() {
        for opaque in [
            "1.2.840.113619.5.2",
            "1.2.840.10008.1.2.3",
            "1.2.840.10008.1.2.4",
            "1.2.840.10008.1.20.1",
            "1.2.840.10008.1.2.6.1",
            "",
        ] {
            assert_eq!(encoding(opaque), None, "{opaque}");
        }
    }

    #[test]
    fn deflated_and_encapsulated_are_told_apart() {
        let deflated = Uid::from_static("1.2.840.10008.1.2.1.99");
        let jpeg = Uid::from_static("1.2.840.10008.1.2.4.70");
        let plain = Uid::from_static("1.2.840.10008.1.2.1");
        assert!(is_deflated(&deflated) && !is_encapsulated(&deflated));
        assert!(!is_deflated(&jpeg) && is_encapsulated(&jpeg));
        assert!(!is_deflated(&plain) && !is_encapsulated(&plain));
    }
}
