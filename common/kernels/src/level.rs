//! Instruction levels. A [`Level`] value is the proof that this CPU has its instructions: the only ways to get one
//! ask the CPU first. The safe functions of this crate rest on that.

use std::{fmt, sync::OnceLock};

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
    /// Plain Rust, on every CPU.
    pub const PORTABLE: Self = Self(Kind::Portable);

    /// The fastest level of this CPU; asked once a process.
    pub fn best() -> Self {
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(|| *Self::available().last().expect("the portable level is always available"))
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
}
