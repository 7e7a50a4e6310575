//! One network with its optimiser. In: packed windows, features, actions; out: states, actions, values, steps.

use tch::Tensor;

use crate::algorithm::{
    adam::Adam,
    assert_shape, encoder,
    heads::{self, CriticForms},
    layout::{Layout, Role},
    parameters::Parameters,
    settings::Settings,
    state,
    window::Windows,
};

/// The forms of a network that are not parameters.
#[derive(Clone, Copy, Debug)]
pub struct Forms {
    /// B.
    pub bound: f64,
    /// Those of critics.
    pub critic: CriticForms,
}

impl Forms {
    /// The forms that the settings ask for.
    pub fn new(settings: &Settings) -> Self {
        Self {
            bound: settings.bound,
            critic: CriticForms {
                action: settings.model.critic_action,
                norm: settings.model.head_norm,
                output: settings.model.critic_output,
            },
        }
    }
}

/// An actor or a critic, online or target.
#[derive(Debug)]
pub struct Network {
    parameters: Parameters,
    forms: Forms,
}

impl Network {
    /// A network with these parameters.
    pub fn new(parameters: Parameters, forms: Forms) -> Self {
        Self { parameters, forms }
    }

    /// A network of its own with the same parameters.
    pub fn copy(&self) -> Self {
        Self { parameters: self.parameters.copy(), forms: self.forms }
    }

    /// Its parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Names, shapes and places of its parameters.
    pub fn layout(&self) -> &Layout {
        self.parameters.layout()
    }

    /// The parameters of the heads.
    fn heads(&self) -> &[Tensor] {
        &self.parameters.blocks()[self.layout().n_encoder_blocks()..]
    }

    /// The state with its features, `[B, D]`.
    pub fn state(&self, windows: &Windows, features: Option<&Tensor>) -> Tensor {
        encode(&[self], windows).remove(0).state(features)
    }

    /// An actor's actions `[B, H, n]`.
    pub fn act(&self, windows: &Windows, features: Option<&Tensor>) -> Tensor {
        self.act_in(&self.state(windows, features))
    }

    /// The same in states `[B, D]` that this actor's own encoder made.
    pub fn act_in(&self, state: &Tensor) -> Tensor {
        assert_eq!(self.layout().role, Role::Actor, "a critic does not act");
        heads::action(&heads::pre_activation(self.heads(), state), self.forms.bound)
    }

    /// A critic's values `[B, H]` of actions `[B, H, n]`.
    pub fn value(&self, windows: &Windows, features: Option<&Tensor>, action: &Tensor) -> Tensor {
        self.value_in(windows, &self.state(windows, features), action)
    }

    /// The same in states `[B, D]` that this critic's own encoder made of the windows.
    pub fn value_in(&self, windows: &Windows, state: &Tensor, action: &Tensor) -> Tensor {
        self.value_of(self.heads(), windows, state, action)
    }

    fn value_of(&self, blocks: &[Tensor], windows: &Windows, state: &Tensor, action: &Tensor) -> Tensor {
        assert_eq!(self.layout().role, Role::Critic, "an actor gives no values");
        heads::value(blocks, Some(windows), (state, action), self.forms.critic)
    }

    /// A step's pass on from what this network's encoder made of the windows: autograd sees the heads only, from the state on.
    pub fn differentiate<'a>(
        &'a self,
        encoded: Encoded,
        windows: &'a Windows,
        features: Option<&Tensor>,
    ) -> Graph<'a> {
        let leaf = |t: &Tensor| t.detach().set_requires_grad(true);
        let Encoded { s, tape } = encoded;
        let s = leaf(&s);
        let state = state::join(s.shallow_clone(), features);
        let blocks = self.heads().iter().map(leaf).collect();
        Graph { network: self, windows, tape, s, state, blocks }
    }
}

/// What a network's encoder made of windows.
#[derive(Debug)]
pub struct Encoded {
    /// `[B, w]`.
    s: Tensor,
    tape: encoder::Tape,
}

impl Encoded {
    /// The state with its features, `[B, D]`.
    pub fn state(self, features: Option<&Tensor>) -> Tensor {
        state::join(self.s, features)
    }
}

/// The encoders of several networks over the same windows: on a GPU side by side.
pub fn encode(networks: &[&Network], windows: &Windows) -> Vec<Encoded> {
    let parameters: Vec<&Parameters> = networks.iter().map(|network| &network.parameters).collect();
    let encoded = encoder::forward(&parameters, windows).into_iter();
    encoded.map(|(s, tape)| Encoded { s, tape }).collect()
}

/// A forward pass that can be differentiated.
#[derive(Debug)]
pub struct Graph<'a> {
    network: &'a Network,
    windows: &'a Windows,
    tape: encoder::Tape,
    /// Leaf: the encoder's output.
    s: Tensor,
    state: Tensor,
    /// Leaves: the heads' parameters.
    blocks: Vec<Tensor>,
}

impl Graph<'_> {
    /// A critic's values, see [`Network::value`].
    pub fn value(&self, action: &Tensor) -> Tensor {
        self.network.value_of(&self.blocks, self.windows, &self.state, action)
    }

    /// An actor's pre-activations and actions, `[B, H, n]` each.
    pub fn act(&self) -> (Tensor, Tensor) {
        let u = heads::pre_activation(&self.blocks, &self.state);
        let action = heads::action(&u, self.network.forms.bound);
        (u, action)
    }

    /// The gradient of a scalar loss, `[len]`. Ends the graph.
    pub fn gradient(self, loss: &Tensor) -> Tensor {
        assert_shape("loss", loss, &[]);
        let leaves: Vec<&Tensor> = std::iter::once(&self.s).chain(&self.blocks).collect();
        let mut gradients = Tensor::run_backward(&[loss], &leaves, false, false).into_iter();
        let d_s = gradients.next().expect("one gradient a leaf");
        let encoder = encoder::backward(&self.network.parameters, self.windows, &self.tape, &d_s);
        let flat: Vec<Tensor> = encoder.into_iter().chain(gradients).map(|g| g.reshape([-1])).collect();
        Tensor::cat(&flat, 0)
    }
}

/// An online network, its optimiser and its last gradient.
#[derive(Debug)]
pub struct Trained {
    /// The network.
    pub network: Network,
    /// Its optimiser.
    pub adam: Adam,
    /// The gradient of its last step, `[len]`, after clipping; for tests.
    pub gradient: Option<Tensor>,
}

impl Trained {
    /// Moves the groups along a gradient of at most `clip` (0: any) and returns its norm before clipping, a scalar.
    pub fn step(&mut self, groups: &[usize], gradient: Tensor, clip: f64) -> Tensor {
        let norm = gradient.norm();
        let gradient = if clip > 0.0 { gradient * (clip / (&norm + 1e-12)).clamp_max(1.0) } else { gradient };
        for &group in groups {
            self.adam.step(group, self.network.parameters.flat(), &gradient);
        }
        self.gradient = Some(gradient);
        norm
    }
}
