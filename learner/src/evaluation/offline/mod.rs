//! What a log says of a method without showing anything to anybody (Table 2 of the paper).
//!
//! In: rankers and the test sessions of a log; out: how well each orders the items that a session showed, beside the
//! order they were shown in and random order, with 95% intervals over sessions. Where the log holds propensities, also an
//! estimate of the reward that each method would have earned.
//!
//! | module | what it holds |
//! |---|---|
//! | [`order`] | a session's items in the order of a ranker, all at once or one by one |
//! | [`measures`] | AP, NDCG@20, NDCG@40, reciprocal rank of the first order |
//! | [`ranking`] | the measures of a method over sessions |
//! | [`table`] | methods side by side: text, CSV, JSON |
//! | [`agent_ranker`] | MaHRL's critic as a ranker |
//! | [`off_policy`] | per-decision IPS, SNIPS and doubly robust estimates |
//! | [`mod@decisions`] | what those need of a log and a ranker |

pub mod agent_ranker;
pub mod decisions;
pub mod measures;
pub mod off_policy;
pub mod order;
pub mod ranking;
pub mod table;

pub use agent_ranker::AgentRanker;
pub use decisions::{Decision, ItemMeans, decisions};
pub use measures::Quality;
pub use off_policy::OffPolicyEstimate;
pub use order::Mode;
pub use ranking::Ranking;
pub use table::RankingTable;
