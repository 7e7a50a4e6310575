//! The Kubernetes manifests without a cluster: their form, their promises of security, and that they say what the programs
//! do; and their pods, as processes and as containers.
//!
//! | module | what it holds |
//! |---|---|
//! | [`read`] | the files as JSON values, and the pods in them |
//! | [`types`] | every document through the types of Kubernetes' API |
//! | [`schemas`] | every document against the schemas of several versions, and what schemas cannot say |
//! | [`closed`] | pods without rights, policies without other arrows than the design's |
//! | [`agree`] | ports, files, settings, probes, metrics: the same as in the code |
//! | [`overlays`] | that they build, and what they change |
//! | [`scripts`] | `make study`, `make k8s-trial` and `make k8s-secrets` |
//! | [`launch`] | the pods' very commands, as processes of this machine |
//! | [`containers`] | the same in containers, where there is an engine |

#![allow(clippy::unwrap_used)] // of the helpers; clippy.toml allows it in the tests themselves

mod agree;
mod closed;
mod containers;
mod launch;
mod overlays;
mod read;
mod schemas;
mod scripts;
mod types;
