//! Instruction levels. A [`Level`] value is the proof that this CPU has its instructions: the only ways to get one
//! ask the CPU first. The safe functions of this crate rest on that.

use std::{env, fmt, sync::OnceLock};

/// A set of vector instructions this CPU has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Level(pub(crate) Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    /// The variable of the environment that names the most that [`Self::best`] may be: `portable`, `avx2` or `avx512`. For
    /// comparisons, and, with AVX2 or less, for the same numbers on CPUs that differ.
    pub const LIMIT: &str = "MAHRL_INSTRUCTIONS";

    /// Plain Rust, on every CPU.
    pub const PORTABLE: Self = Self(Kind::Portable);

    /// The fastest level of this CPU, or the fastest up to [`Self::LIMIT`]; asked once a process.
    pub fn best() -> Self {
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(|| Self::best_within(env::var(Self::LIMIT).ok().as_deref()))
    }

    /// A name that is none limits nothing: settings refuse it.
    fn best_within(limit: Option<&str>) -> Self {
        let all = Self::available();
        let within = match limit {
            Some("portable") => &all[..1],
            // Slowest first: portable, AVX2.
            Some("avx2") => &all[..all.len().min(2)],
            _ => &all[..],
        };
        *within.last().expect("the portable level is always available")
    }

    /// Every level of this CPU, slowest first. For tests, which try them all.
    pub fn available() -> Vec<Self> {
        #[cfg_attr(not(target_arch = "x86_64"), allow(unused_mut))]
        let mut levels = vec![Self::PORTABLE];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            levels.push(Self(Kind::Avx2));
            if is_x86_feature_detected!("avx512f") {
                levels.push(Self(Kind::Avx512));
            }
        }
        levels
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_level_is_available_and_portable_always_is() {
        let levels = Level::available();
        assert_eq!(levels[0], Level::PORTABLE);
        assert!(levels.contains(&Level::best()));
    }

    #[test]
    fn a_limit_is_the_most_and_no_more_than_the_cpu_has() {
        let all = Level::available();
        let within = |limit| Level::best_within(Some(limit));
        assert_eq!(within("portable"), Level::PORTABLE);
        assert_eq!((within("avx512"), within("other")), (all[all.len() - 1], all[all.len() - 1]));
        assert_eq!(within("avx2"), all[all.len().min(2) - 1]);
        assert_eq!(Level::best_within(None), all[all.len() - 1]);
    }
}
