//! Trainable parameters of a method's network, and the optimisers that move them.
//!
//! In: shapes and a seed; out: tensors whose draws come from the streams alone, never from torch's generator. Owner: the
//! thread that fits. What is fitted leaves as plain numbers.

use common::seed::Streams;
use rand::RngExt;
use tch::Tensor;

use super::{Error, file::MethodFile};
use crate::algorithm::adam::Adam;

/// Name, shape and initial bound of a parameter.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    /// Its name in a file.
    pub(super) name: &'static str,
    /// Its shape.
    pub(super) shape: Vec<usize>,
    /// Drawn uniformly from (-bound, bound); 0 for zeros.
    pub(super) bound: f32,
}

impl Spec {
    /// A parameter of a layer with this many inputs: torch's default bound.
    pub(super) fn of_layer(name: &'static str, shape: &[usize], n_inputs: usize) -> Self {
        Self { name, shape: shape.to_vec(), bound: 1.0 / (n_inputs as f32).sqrt() }
    }

    /// Number of its values.
    pub(super) fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Parameters as plain numbers, in the order of their specs.
pub(super) type Values = Vec<Vec<f32>>;

/// Draws initial values.
pub(super) fn initial(specs: &[Spec], streams: &Streams) -> Values {
    let draw = |(number, spec): (u64, &Spec)| {
        let mut rng = streams.at(number, 0);
        (0..spec.len()).map(|_| spec.bound * (2.0 * rng.random::<f32>() - 1.0)).collect()
    };
    (0..).zip(specs).map(draw).collect()
}

/// Adds parameters to a file.
pub(super) fn store(mut file: MethodFile, specs: &[Spec], values: &Values) -> MethodFile {
    for (spec, values) in specs.iter().zip(values) {
        file = file.tensor(spec.name, &spec.shape, values);
    }
    file
}

/// Reads what [`store`] added.
pub(super) fn restore(file: &MethodFile, specs: &[Spec]) -> Result<Values, Error> {
    specs.iter().map(|spec| file.read(spec.name, &spec.shape)).collect()
}

/// Parameters under training.
pub(super) struct Network {
    /// In the order of the specs.
    pub(super) tensors: Vec<Tensor>,
}

impl Network {
    /// Trainable tensors with these values.
    pub(super) fn new(specs: &[Spec], values: &Values) -> Self {
        let tensor = |(spec, values): (&Spec, &Vec<f32>)| {
            let shape: Vec<i64> = spec.shape.iter().map(|&size| size as i64).collect();
            Tensor::from_slice(values).view(shape.as_slice()).set_requires_grad(true)
        };
        Self { tensors: specs.iter().zip(values).map(tensor).collect() }
    }

    /// The present values.
    pub(super) fn values(&self) -> Values {
        let values = |tensor: &Tensor| {
            let mut values = vec![0.0; tensor.numel()];
            tensor.detach().copy_data(&mut values, tensor.numel());
            values
        };
        self.tensors.iter().map(values).collect()
    }
}

/// AdaGrad (Duchi et al. 2011) with the sums of squares starting at 0.1, as in Wide & Deep's own code.
pub(super) struct AdaGrad {
    rate: f64,
    squares: Vec<Tensor>,
}

impl AdaGrad {
    /// For the parameters of a network.
    pub(super) fn new(network: &Network, rate: f64) -> Self {
        let squares = network.tensors.iter().map(|tensor| tensor.detach().full_like(0.1)).collect();
        Self { rate, squares }
    }

    /// One step.
    pub(super) fn step(&mut self, network: &Network, gradients: &[Tensor]) {
        for ((parameter, square), gradient) in network.tensors.iter().zip(&mut self.squares).zip(gradients) {
            let _ = square.addcmul_(gradient, gradient);
            let _ = parameter.detach().addcdiv_(&(gradient * -self.rate), &square.sqrt());
        }
    }
}

/// Adam over all parameters of a network.
pub(super) struct Adams(Vec<Adam>);

impl Adams {
    /// For the parameters of a network.
    pub(super) fn new(network: &Network, rate: f64) -> Self {
        Self(network.tensors.iter().map(|tensor| Adam::single(rate, &tensor.detach().view(-1))).collect())
    }

    /// One step.
    pub(super) fn step(&mut self, network: &Network, gradients: &[Tensor]) {
        for ((adam, parameter), gradient) in self.0.iter_mut().zip(&network.tensors).zip(gradients) {
            adam.step(0, &parameter.detach().view(-1), &gradient.contiguous().view(-1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network() -> (Vec<Spec>, Network) {
        let specs =
            vec![Spec::of_layer("weight", &[2, 3], 4), Spec { name: "bias", shape: vec![3], bound: 0.0 }];
        let values = initial(&specs, &Streams::new(3, "test"));
        let network = Network::new(&specs, &values);
        assert_eq!(network.values(), values);
        assert!(values[0].iter().all(|x| x.abs() < 0.5) && values[1] == [0.0; 3]);
        (specs, network)
    }

    #[test]
    fn adagrad_divides_by_the_root_of_all_squares_so_far() {
        let (_, network) = network();
        let mut adagrad = AdaGrad::new(&network, 0.5);
        let gradients = |g: f32| network.tensors.iter().map(|t| t.detach().full_like(f64::from(g))).collect();
        let before = network.values();
        let first: Vec<Tensor> = gradients(2.0);
        adagrad.step(&network, &first);
        let second: Vec<Tensor> = gradients(-1.0);
        adagrad.step(&network, &second);
        let expected = -0.5 * (2.0 / 4.1_f32.sqrt() - 1.0 / 5.1_f32.sqrt());
        for (before, after) in before.iter().flatten().zip(network.values().iter().flatten()) {
            assert!(
                (after - before - expected).abs() < 1e-6,
                "moved by {}, expected {expected}",
                after - before
            );
        }
    }

    #[test]
    fn adam_moves_every_parameter_by_the_rate_at_first() {
        let (_, network) = network();
        let before = network.values();
        let gradients: Vec<Tensor> = network.tensors.iter().map(|t| t.detach().full_like(7.0)).collect();
        Adams::new(&network, 0.01).step(&network, &gradients);
        for (before, after) in before.iter().flatten().zip(network.values().iter().flatten()) {
            assert!((before - after - 0.01).abs() < 1e-6, "moved by {}", after - before);
        }
    }
}
