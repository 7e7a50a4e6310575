//! Plain memory to a device. In: a slice; out: a tensor.

use tch::{Device, Tensor, kind::Element};

/// The values `[len]` on a device, in their own kind.
///
/// To a GPU from pinned memory: the copy is queued and nobody waits for it, so that the host decodes the next column, or queues
/// the next product, meanwhile. The pinned block is torch's, which uses it again once the copy is done.
pub fn upload<T: Element>(values: &[T], device: Device) -> Tensor {
    let here = Tensor::from_slice(values);
    // Not `pin_memory`: libtorch warns at every call with a device, and tch makes no other.
    if device.is_cuda() {
        here.internal_pin_memory(device).to_device_(device, T::KIND, true, false)
    } else {
        here
    }
}
