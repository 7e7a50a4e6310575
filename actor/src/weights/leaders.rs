//! Connections to whoever leads. In: addresses that follow the cluster; out: a connection to the newest.

use control::Leader;
use node::{Dialer, Peer, Security};
use tokio::sync::watch;

/// Connects to each leader in turn; `None` before the first. Needs a tokio runtime around it.
pub fn connections(
    mut leaders: watch::Receiver<Option<Leader>>,
    security: Security,
) -> watch::Receiver<Option<Peer>> {
    let (sender, receiver) = watch::channel(None);
    let dialer = Dialer::new(&security);
    tokio::spawn(async move {
        loop {
            let leader = leaders.borrow_and_update().clone();
            if let Some(leader) = leader {
                match dialer.dial(&leader.address) {
                    Ok(peer) => drop(sender.send_replace(Some(peer))),
                    Err(error) => {
                        tracing::error!(error, address = leader.address, "cannot connect to the learner")
                    }
                }
            }
            if leaders.changed().await.is_err() {
                // A fixed address: the connection stays.
                sender.closed().await;
                return;
            }
        }
    });
    receiver
}
