//! One connection to Redis that comes back by itself.
//!
//! In: commands; out: answers within [`Timing::command`] twice, or an error that says whether Redis is away or refuses us.
//! All commands of a process share one connection (pipelined). It is dropped after any failure of the connection, after
//! a command without an answer (a hung server), and after a refusal; the next command connects anew, at most once per
//! backoff: until then commands fail at once, so that nothing queues up.
//!
//! Not the crate's `ConnectionManager`: a reconnect that fails by other than an I/O error, as when a restarted server
//! still loads its file, leaves that broken for good.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, ErrorKind, FromRedisValue, RedisError, RedisResult, ScriptInvocation,
    aio::MultiplexedConnection,
};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use crate::{Error, unique};

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// A command's answer, and a connection's set-up.
    pub(crate) command: Duration,
    /// Longest pause between attempts to connect.
    pub(crate) backoff: Duration,
}

impl Timing {
    /// Short enough that a leader tries several times within its lease.
    pub(crate) fn within(lease: Duration) -> Self {
        let bounded = |part: Duration, least, most| {
            part.clamp(Duration::from_millis(least), Duration::from_millis(most))
        };
        Self { command: bounded(lease / 4, 50, 1_000), backoff: bounded(lease / 10, 20, 500) }
    }
}

/// First pause between attempts to connect; doubles from there.
const FIRST_BACKOFF: Duration = Duration::from_millis(10);

/// What is asked; it may be sent twice.
pub(crate) enum Request<'a> {
    Command(&'a redis::Cmd),
    Script(&'a ScriptInvocation<'a>),
}

/// The connection.
pub(crate) struct Link {
    client: Client,
    /// `HOST:PORT`, for errors.
    address: String,
    timing: Timing,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<MultiplexedConnection>,
    /// Connections made so far: tells the one that failed from one made since.
    made: u64,
    /// Attempts in a row that failed; when the next is due, and what to say until then.
    failed: u32,
    due: Option<(Instant, Failure)>,
}

impl Link {
    pub(crate) fn new(client: Client, address: String, timing: Timing) -> Self {
        Self { client, address, timing, state: Mutex::default() }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Asks, and once more on a new connection where the old one turns out to be closed: every request may be repeated.
    pub(crate) async fn ask<T: FromRedisValue>(&self, request: &Request<'_>) -> Result<T, Error> {
        let both = async {
            match self.once(request).await {
                Err((_, true)) => self.once(request).await.map_err(|(error, _)| error),
                answer => answer.map_err(|(error, _)| error),
            }
        };
        let limit = 2 * self.timing.command;
        timeout(limit, both).await.unwrap_or_else(|_| Err(self.away(format!("no answer within {limit:?}"))))
    }

    /// One attempt; a failure says whether the connection was an old one that has closed.
    async fn once<T: FromRedisValue>(&self, request: &Request<'_>) -> Result<T, (Error, bool)> {
        let (mut connection, number, fresh) = self.connection().await.map_err(|error| (error, false))?;
        let answer: RedisResult<T> = match timeout(self.timing.command, send(&mut connection, request)).await
        {
            Ok(answer) => answer,
            Err(_) => {
                self.drop_connection(number).await;
                return Err((self.away(format!("no answer within {:?}", self.timing.command)), false));
            }
        };
        match answer {
            Ok(answer) => Ok(answer),
            Err(error) => {
                let failure = Failure::of(&error);
                let lost = !matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
                    || failure.refused
                    || error.is_unrecoverable_error();
                if lost {
                    self.drop_connection(number).await;
                }
                let closed = !fresh && error.is_io_error() && !error.is_timeout();
                Err((self.error(failure), closed))
            }
        }
    }

    /// The connection, its number, and whether it was made just now.
    async fn connection(&self) -> Result<(MultiplexedConnection, u64, bool), Error> {
        let mut state = self.state.lock().await;
        if let Some(connection) = &state.connection {
            return Ok((connection.clone(), state.made, false));
        }
        if let Some((due, failure)) = &state.due
            && Instant::now() < *due
        {
            return Err(self.error(failure.clone()));
        }
        let limit = self.timing.command;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limit))
            .set_response_timeout(Some(limit));
        let made =
            match timeout(limit, self.client.get_multiplexed_async_connection_with_config(&config)).await {
                Ok(Ok(connection)) => Ok(connection),
                Ok(Err(error)) => Err(Failure::of(&error)),
                Err(_) => Err(Failure { refused: false, reason: format!("no connection within {limit:?}") }),
            };
        match made {
            Ok(connection) => {
                *state = State {
                    connection: Some(connection.clone()),
                    made: state.made + 1,
                    failed: 0,
                    due: None,
                };
                Ok((connection, state.made, true))
            }
            Err(failure) => {
                state.failed = (state.failed + 1).min(16);
                let pause = (FIRST_BACKOFF * (1 << state.failed)).min(self.timing.backoff);
                // Jitter from half to all of it: those who lost the same server do not return in step.
                let pause = pause.mul_f64(0.5 + 0.5 * (unique() as f64 / u64::MAX as f64));
                state.due = Some((Instant::now() + pause, failure.clone()));
                Err(self.error(failure))
            }
        }
    }

    async fn drop_connection(&self, number: u64) {
        let mut state = self.state.lock().await;
        if state.made == number {
            state.connection = None;
        }
    }

    fn away(&self, reason: String) -> Error {
        self.error(Failure { refused: false, reason })
    }

    fn error(&self, Failure { refused, reason }: Failure) -> Error {
        let address = self.address.clone();
        if refused { Error::Refused { address, reason } } else { Error::Unreachable { address, reason } }
    }
}

/// Why there is no answer.
#[derive(Clone)]
struct Failure {
    /// Redis is there and does not want us, which no repetition changes.
    refused: bool,
    reason: String,
}

impl Failure {
    fn of(error: &RedisError) -> Self {
        let refused = error.kind() == ErrorKind::AuthenticationFailed
            || matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM" | "DENIED"));
        Self { refused, reason: error.to_string() }
    }
}

async fn send<T: FromRedisValue>(
    connection: &mut MultiplexedConnection,
    request: &Request<'_>,
) -> RedisResult<T> {
    match request {
        Request::Command(command) => command.query_async(connection).await,
        Request::Script(script) => script.invoke_async(connection).await,
    }
}
