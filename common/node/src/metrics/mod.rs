//! Every Prometheus metric of every role, and where they are served.
//!
//! In: `metrics::REPLAY_INSERTED.increment(n, ["low"])`, label values in the order of the catalogue; out: `/metrics` in
//! Prometheus's text form. What is recorded before [`serve`] or [`install`] is lost, and so are its handles: start with
//! that. Invariant: a metric is recorded only through the catalogue, so that docs/metrics.md can be checked against it.

mod catalogue;
mod exporter;

use ::metrics::{Key, Label, Unit};

pub use ::metrics::Histogram as HistogramHandle;
pub use catalogue::*;
pub use exporter::{Recorded, install, serve};

/// What a metric does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Counts up, from 0 at the process's start.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution: `_bucket`, `_sum`, `_count`.
    Histogram,
}

/// A line of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name, base unit included.
    pub name: &'static str,
    /// What it does.
    pub kind: Kind,
    /// What it says.
    pub help: &'static str,
    /// Names of its labels.
    pub labels: &'static [&'static str],
}

impl Metric {
    /// The unit, by the name.
    fn unit(&self) -> Option<Unit> {
        let name = self.name.strip_suffix("_total").unwrap_or(self.name);
        match name.rsplit('_').next() {
            Some("seconds") => Some(Unit::Seconds),
            Some("bytes") => Some(Unit::Bytes),
            _ => None,
        }
    }
}

/// A key with its labels' values.
fn labels<const N: usize>(names: [&'static str; N], values: [&str; N]) -> Vec<Label> {
    names.into_iter().zip(values).map(|(name, value)| Label::new(name, value.to_owned())).collect()
}

macro_rules! kind {
    ($(#[$doc:meta])+ $name:ident $register:ident) => {
        $(#[$doc])+
        #[derive(Clone, Copy, Debug)]
        pub struct $name<const N: usize> {
            name: &'static str,
            labels: [&'static str; N],
        }

        impl<const N: usize> $name<N> {
            const fn new(name: &'static str, labels: [&'static str; N]) -> Self {
                Self { name, labels }
            }

            /// Its name.
            pub const fn name(&self) -> &'static str {
                self.name
            }

            /// The handle for these values of the labels, to be kept where it is used often.
            pub fn with(&self, values: [&str; N]) -> ::metrics::$name {
                let key = Key::from_parts(self.name, labels(self.labels, values));
                let metadata = ::metrics::Metadata::new(module_path!(), ::metrics::Level::INFO, None);
                ::metrics::with_recorder(|recorder| recorder.$register(&key, &metadata))
            }
        }
    };
}

kind! {
    /// Counts up.
    Counter register_counter
}
kind! {
    /// Goes up and down.
    Gauge register_gauge
}
kind! {
    /// A distribution.
    Histogram register_histogram
}

impl<const N: usize> Counter<N> {
    /// Adds `n`.
    pub fn increment(&self, n: u64, values: [&str; N]) {
        self.with(values).increment(n);
    }
}

impl<const N: usize> Gauge<N> {
    /// Is `value` now.
    pub fn set(&self, value: f64, values: [&str; N]) {
        self.with(values).set(value);
    }

    /// Is `by` more.
    pub fn increment(&self, by: f64, values: [&str; N]) {
        self.with(values).increment(by);
    }

    /// Is `by` less.
    pub fn decrement(&self, by: f64, values: [&str; N]) {
        self.with(values).decrement(by);
    }
}

impl<const N: usize> Histogram<N> {
    /// One more value.
    pub fn record(&self, value: f64, values: [&str; N]) {
        self.with(values).record(value);
    }

    /// `n` more of the same value.
    pub fn record_many(&self, value: f64, n: u64, values: [&str; N]) {
        self.with(values).record_many(value, n as usize);
    }
}
