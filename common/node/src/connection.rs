//! A channel that carries the run's token.

use tonic::{
    Request, Status,
    metadata::AsciiMetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

/// A client's side of a connection, cheap to clone.
pub type Connection = InterceptedService<Channel, Bearer>;

/// Adds `authorization: Bearer TOKEN` to every request, if there is a token.
#[derive(Clone, Debug, Default)]
pub struct Bearer(Option<AsciiMetadataValue>);

impl Bearer {
    /// A connection without a token, as within a process.
    pub fn none(channel: Channel) -> Connection {
        Connection::new(channel, Self::default())
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}
