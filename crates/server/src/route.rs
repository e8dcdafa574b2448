//! Which node serves a request.
//!
//! Requests on the vectors of an index go to the index's owner, whose memory is warm for it;
//! everything else is served where it arrives, and so is what another node sent. See
//! [`crate::nodes`].

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use vb_api::oss::{Fault, Level, Operation};

use crate::authorize::Grant;
use crate::exchange::{Exchange, Route};
use crate::nodes::{Forwarded, Nodes, Peer, Request};
use crate::reply::{Refusal, Reply};
use crate::serve::Service;

impl Service {
    /// The owner's answer; `None`: the request is to be served here.
    ///
    /// # Errors
    /// [`Fault::OutcomeUnknown`] for a write that the owner may or may not have executed.
    pub(crate) async fn elsewhere(
        &self,
        head: &Parts,
        body: &Bytes,
        grant: &Grant,
        exchange: &mut Exchange,
    ) -> Result<Option<Reply>, Refusal> {
        let Some((nodes, peer)) = self.owner(body, grant, exchange).await else { return Ok(None) };
        let (mark, is_write) = (exchange.outgoing_mark(), grant.operation().is_write());
        let request = Request { head, body: body.clone(), mark, is_write };
        let name = peer.name().into();
        match nodes.forward(&peer, request).await {
            Forwarded::Answered(answer) => {
                exchange.route = Route::Forwarded(name);
                Ok(Some(Reply::relayed(answer)))
            }
            Forwarded::ServeHere => {
                exchange.route = Route::Fallback(name);
                Ok(None)
            }
            Forwarded::Unknown => {
                exchange.route = Route::Unknown(name);
                Err(Fault::OutcomeUnknown.into())
            }
        }
    }

    /// The other node that owns what the request is about, if there is one.
    async fn owner(
        &self,
        body: &Bytes,
        grant: &Grant,
        exchange: &Exchange,
    ) -> Option<(&Arc<Nodes>, Arc<Peer>)> {
        let nodes = self.nodes().filter(|nodes| !nodes.peers().is_empty())?;
        if exchange.mark().is_some() || !has_owner(grant.operation()) {
            return None;
        }
        let index = self.context().index_of(grant, body.clone()).await?;
        Some((nodes, nodes.owner(index)?))
    }
}

/// Whether an operation is about the vectors of one index.
fn has_owner(operation: Operation) -> bool {
    operation.level() == Level::Data && !operation.is_fusion()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_have_an_owner_and_nothing_else_has() {
        let owned = Operation::ALL.iter().filter(|operation| has_owner(**operation));
        let names: Vec<&str> = owned.map(|operation| operation.name()).collect();
        let expected = ["PutVectors", "GetVectors", "ListVectors", "DeleteVectors", "QueryVectors"];
        assert_eq!(names, expected);
    }
}
