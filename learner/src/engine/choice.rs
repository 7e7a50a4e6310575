//! Which engine a run uses. In: its settings; out: that engine, behind the seam.

use std::sync::Arc;

use common::{
    ItemTable,
    config::{Config, EngineKind, Precision, TrainConfig},
};

#[cfg(feature = "torch")]
use super::torch::{TorchEngine, device};
use super::{Engine, Error, native::NativeEngine};

/// What to do about a build that lacks libtorch.
pub(crate) const NEEDS_TORCH: &str = "this program was built without libtorch (--no-default-features): run make setup, then build it without that flag";

/// `train.engine` with `auto` made out: native where `train.device` is a CPU, torch elsewhere.
pub fn choose(config: &Config) -> Result<EngineKind, Error> {
    pick(&config.train, is_cpu(&config.train.device)?)
}

fn pick(train: &TrainConfig, on_cpu: bool) -> Result<EngineKind, Error> {
    Ok(match train.engine {
        EngineKind::Auto if on_cpu => EngineKind::Native,
        EngineKind::Auto if train.precision == Precision::Bf16 => return Err(Error::Precision),
        EngineKind::Auto => EngineKind::Torch,
        #[cfg(not(feature = "torch"))]
        EngineKind::Torch => return Err(Error::NoTorch),
        chosen => chosen,
    })
}

#[cfg(feature = "torch")]
fn is_cpu(name: &str) -> Result<bool, Error> {
    Ok(device::parse(name)? == tch::Device::Cpu)
}

/// Nothing else without libtorch.
#[cfg(not(feature = "torch"))]
fn is_cpu(name: &str) -> Result<bool, Error> {
    if matches!(name, "auto" | "cpu") {
        Ok(true)
    } else {
        Err(Error::Device { name: name.into(), problem: NEEDS_TORCH.into() })
    }
}

/// The engine of a run, with initial parameters drawn from its seed.
pub fn open(config: &Config, items: &Arc<ItemTable>) -> Result<Box<dyn Engine>, Error> {
    let chosen = choose(config)?;
    tracing::info!(engine = chosen.name(), "engine");
    if config.train.precision == Precision::Bf16 && !kernels::halves::is_native(kernels::Level::best()) {
        tracing::warn!(
            "train.precision is bf16, but this CPU lacks AVX-512 BF16: products are emulated, at a fraction of f32's speed"
        );
    }
    Ok(match chosen {
        #[cfg(feature = "torch")]
        EngineKind::Torch => Box::new(TorchEngine::new(config, items)?),
        _ => Box::new(NativeEngine::new(config, items)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_has_the_native_engine_unless_torch_is_asked_for() {
        let mut config = Config::default();
        config.train.device = "cpu".into();
        for asked in [EngineKind::Auto, EngineKind::Native] {
            config.train.engine = asked;
            assert_eq!(choose(&config).unwrap(), EngineKind::Native);
        }
        config.train.engine = EngineKind::Torch;
        #[cfg(feature = "torch")]
        assert_eq!(choose(&config).unwrap(), EngineKind::Torch);
        #[cfg(not(feature = "torch"))]
        assert!(choose(&config).unwrap_err().to_string().contains("make setup"));
        config.train.engine = EngineKind::Auto;
        config.train.precision = Precision::Bf16;
        assert_eq!(pick(&config.train, true).unwrap(), EngineKind::Native);
        assert!(pick(&config.train, false).unwrap_err().to_string().contains("train.engine = native"));
        config.train.device = "tpu".into();
        assert!(choose(&config).unwrap_err().to_string().contains("tpu"));
    }
}
