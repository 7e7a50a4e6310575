//! Which engine a run uses. In: its settings; out: that engine, behind the seam.

use common::{
    ItemTable,
    config::{Config, EngineKind},
};
use tch::Device;

use super::{
    Engine, Error,
    native::NativeEngine,
    torch::{TorchEngine, device},
};

/// `train.engine` with `auto` made out: native where `train.device` is a CPU, torch elsewhere.
pub fn choose(config: &Config) -> Result<EngineKind, Error> {
    let device = device::parse(&config.train.device)?;
    Ok(match config.train.engine {
        EngineKind::Auto if device == Device::Cpu => EngineKind::Native,
        EngineKind::Auto => EngineKind::Torch,
        chosen => chosen,
    })
}

/// The engine of a run, with initial parameters drawn from its seed.
pub fn open(config: &Config, items: &ItemTable) -> Result<Box<dyn Engine>, Error> {
    let chosen = choose(config)?;
    tracing::info!(engine = chosen.name(), "engine");
    Ok(match chosen {
        EngineKind::Torch => Box::new(TorchEngine::new(config, items)?),
        EngineKind::Auto | EngineKind::Native => Box::new(NativeEngine::new(config, items)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_has_the_native_engine_unless_torch_is_asked_for() {
        let mut config = Config::default();
        config.train.device = "cpu".into();
        for (asked, expected) in [
            (EngineKind::Auto, EngineKind::Native),
            (EngineKind::Native, EngineKind::Native),
            (EngineKind::Torch, EngineKind::Torch),
        ] {
            config.train.engine = asked;
            assert_eq!(choose(&config).unwrap(), expected);
        }
        config.train.device = "tpu".into();
        assert!(choose(&config).unwrap_err().to_string().contains("tpu"));
    }
}
