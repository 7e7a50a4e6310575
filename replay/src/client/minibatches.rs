//! The stream through which minibatches of one shard come.
//!
//! In: requests; out: an answer to each, in their order. The stream is opened by the first request, and by the first one
//! after it broke: requests that were under way then fail with what broke it. Owner: all samplers of a member share it; a
//! task on the runtime reads the answers, and ends with the last handle.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use node::connection::Connection;
use proto::v1::{self, minibatches_response::Kind, replay_client::ReplayClient};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

/// Requests that a shard has not answered: one more is an error.
const UNANSWERED: usize = 1_024;

type Answer = Result<v1::SampleResponse, Status>;

/// Who waits for the answers to come, in the order of the requests; `None`: the stream has ended.
#[derive(Debug)]
struct Waiting(Mutex<Option<VecDeque<oneshot::Sender<Answer>>>>);

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Option<VecDeque<oneshot::Sender<Answer>>>> {
        // Changed by whole pushes and pops.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Open {
    requests: mpsc::Sender<v1::SampleRequest>,
    waiting: Arc<Waiting>,
}

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Minibatches {
    client: ReplayClient<Connection>,
    open: Arc<Mutex<Option<Open>>>,
}

impl Minibatches {
    /// Of the shard behind a client; opens nothing yet.
    pub(super) fn of(client: ReplayClient<Connection>) -> Self {
        Self { client, open: Arc::default() }
    }

    /// The answer to one request. Dropping the call does not take the request back.
    pub(super) async fn ask(&self, request: v1::SampleRequest, runtime: &Handle) -> Answer {
        let ended = || Status::unavailable("the stream of minibatches has ended");
        self.send(request, runtime)?.await.unwrap_or_else(|_| Err(ended()))
    }

    fn send(
        &self,
        request: v1::SampleRequest,
        runtime: &Handle,
    ) -> Result<oneshot::Receiver<Answer>, Status> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let is_open = |open: &Open| !open.requests.is_closed() && open.waiting.lock().is_some();
        let Open { requests, waiting } = match open.take() {
            Some(still) if is_open(&still) => open.insert(still),
            _ => open.insert(self.begin(runtime)),
        };
        let (answer, receiver) = oneshot::channel();
        // Both queues under one lock, so that they have the same order. The stream may have ended since the look above: then
        // nobody waits, and the dropped sender says so.
        if let Some(waiting) = &mut *waiting.lock() {
            if requests.try_send(request).is_err() {
                let problem =
                    format!("the shard has not answered {} requests for minibatches", waiting.len());
                return Err(Status::resource_exhausted(problem));
            }
            waiting.push_back(answer);
        }
        Ok(receiver)
    }

    fn begin(&self, runtime: &Handle) -> Open {
        let (requests, receiver) = mpsc::channel(UNANSWERED);
        let waiting = Arc::new(Waiting(Mutex::new(Some(VecDeque::new()))));
        let (client, answers) = (self.client.clone(), Arc::clone(&waiting));
        runtime.spawn(async move {
            let why = read(client, receiver, &answers).await;
            let left = answers.lock().take();
            for waiter in left.into_iter().flatten() {
                // Whoever has given up does not hear of it.
                let _gone = waiter.send(Err(why.clone()));
            }
        });
        Open { requests, waiting }
    }
}

/// Hands answers to those who wait until the stream ends; why it did.
async fn read(
    mut client: ReplayClient<Connection>,
    requests: mpsc::Receiver<v1::SampleRequest>,
    waiting: &Waiting,
) -> Status {
    let mut answers = match client.minibatches(ReceiverStream::new(requests)).await {
        Ok(answers) => answers.into_inner(),
        Err(status) => return status,
    };
    loop {
        let answer = match answers.message().await {
            Ok(Some(v1::MinibatchesResponse { kind: Some(Kind::Minibatch(rows)) })) => Ok(rows),
            Ok(Some(v1::MinibatchesResponse { kind: Some(Kind::Refusal(refusal)) })) => {
                Err(Status::new(Code::from_i32(refusal.code as i32), refusal.message))
            }
            Ok(Some(v1::MinibatchesResponse { kind: None })) => {
                return Status::internal("an answer of a stream of minibatches has no kind");
            }
            Ok(None) => return Status::unavailable("the shard has ended the stream of minibatches"),
            Err(status) => return status,
        };
        let Some(waiter) = waiting.lock().as_mut().and_then(VecDeque::pop_front) else {
            return Status::internal("the shard sends a minibatch that nobody asked for");
        };
        // Whoever has given up does not hear of it.
        let _gone = waiter.send(answer);
    }
}
