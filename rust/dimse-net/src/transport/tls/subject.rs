//! Who a certificate says that it is for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::oid::db::rfc4519::COMMON_NAME;
use x509_cert::der::{self, Decode};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::{DirectoryString, GeneralName};

/// Who a certificate is for, in its own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The distinguished name, as RFC 4514 writes it.
    pub name: String,
    /// Hosts, addresses, mail addresses and URIs of the subjectAltName, then the common names.
    pub names: Vec<String>,
}

impl Subject {
    /// Reads a certificate (DER); no names where that cannot be done. Whether to believe it is another question.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        Self::read(der).unwrap_or_default()
    }

    fn read(der: &[u8]) -> der::Result<Self> {
        // Without the rules of RFC 5280 for serial numbers: devices break them.
        let certificate = CertificateInner::<Raw>::from_der(der)?;
        let certificate = certificate.tbs_certificate();
        let subject = certificate.subject();
        let mut names = match certificate.get_extension::<SubjectAltName>() {
            Ok(Some((_, alternatives))) => alternatives.0.iter().filter_map(text_of).collect(),
            _ => Vec::new(),
        };
        for attribute in subject.iter().filter(|one| one.oid == COMMON_NAME) {
            if let Ok(name) = attribute.value.decode_as::<DirectoryString>() {
                names.push(name.value().into_owned());
            }
        }
        Ok(Self {
            name: subject.to_string(),
            names,
        })
    }
}

fn text_of(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(text)
        | GeneralName::Rfc822Name(text)
        | GeneralName::UniformResourceIdentifier(text) => Some(text.to_string()),
        GeneralName::IpAddress(octets) => {
            let octets = octets.as_bytes();
            let address = <[u8; 4]>::try_from(octets)
                .map(|octets| IpAddr::V4(Ipv4Addr::from(octets)))
                .or_else(|_| <[u8; 16]>::try_from(octets).map(|it| IpAddr::V6(Ipv6Addr::from(it))));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}
