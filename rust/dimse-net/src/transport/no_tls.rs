//! In place of `tls` where the crate is built without it: there is none to be had.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use crate::error::Error;
use crate::events::hub::Events;
use crate::transport::stream::Stream;

/// TLS, of which there is none.
#[derive(Debug)]
pub struct Tls(Infallible);

#[expect(clippy::unused_async, reason = "as it is where there is TLS")]
impl Tls {
    pub(crate) async fn connect(self: &Arc<Self>, _: Stream, _: &str) -> Result<Stream, Error> {
        match self.0 {}
    }

    pub(crate) async fn accept(self: &Arc<Self>, _: Stream, _: &Events) -> Result<Stream, Error> {
        match self.0 {}
    }
}

pub(crate) fn of_stream(_: &io::Error) -> Option<Error> {
    None
}
