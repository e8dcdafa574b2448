//! A door for measurements: what is done for a request before its body is read.

use std::net::SocketAddr;
use std::sync::Arc;

use http::Request;
use vb_api::oss::IndexName;

use crate::exchange::Exchange;
use crate::serve::Service;
use crate::transport::Client;

/// The path of a request from its head to the decision about its caller.
#[doc(hidden)]
pub struct AccessPath(Arc<Service>);

impl AccessPath {
    pub(crate) fn new(service: Arc<Service>) -> Self {
        Self(service)
    }

    /// Authenticates and authorizes a request as a connection does, and then once more for the index
    /// that its body would name. The status of the refusal, if it is one.
    ///
    /// # Errors
    /// The status.
    pub async fn decide(&self, request: Request<()>, index: &str) -> Result<(), u16> {
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        let from = Client { addr, secure: false };
        let mut exchange = Exchange::begin(&request, from, self.0.metrics());
        let (head, ()) = request.into_parts();
        let grant = self.0.granted(&head, &mut exchange).await.map_err(|r| r.error.status())?;
        let index = IndexName::parse(index).map_err(|error| error.status())?;
        if grant.reaches(&index) { Ok(()) } else { Err(403) }
    }
}
