//! The device of a run. In: `train.device`; out: torch's device.

use tch::{Cuda, Device};

use crate::engine::Error;

/// `auto` (the first GPU if there is one), `cpu` or `cuda:N`.
pub fn parse(name: &str) -> Result<Device, Error> {
    let error = |problem: String| Error::Device { name: name.to_owned(), problem };
    match name {
        "auto" => Ok(Device::cuda_if_available()),
        "cpu" => Ok(Device::Cpu),
        _ => {
            let number: usize = name
                .strip_prefix("cuda:")
                .and_then(|n| n.parse().ok())
                .ok_or_else(|| error("expected `auto`, `cpu` or `cuda:N`".into()))?;
            let found = if Cuda::is_available() { Cuda::device_count() } else { 0 };
            if (number as i64) < found {
                Ok(Device::Cuda(number))
            } else {
                Err(error(format!(
                    "this libtorch sees {found} GPUs (`make setup CUDA=1` installs the one for GPUs)"
                )))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named() {
        assert_eq!(parse("cpu").unwrap(), Device::Cpu);
        assert!(parse("cuda:99").unwrap_err().to_string().contains("GPUs"));
        assert!(parse("tpu").unwrap_err().to_string().contains("`auto`"));
    }
}
