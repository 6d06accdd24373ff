//! The forward pass of a model as data: named operations over taps.
//!
//! A [`Program`] follows from a family's file and a config; nothing in it is left to decide. Rows of
//! every tap are tokens, in the order in which they lie in a batch.

/// A model's forward pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// Width of the hidden state: that of [`Program::HIDDEN`].
    pub hidden: usize,
    /// Tokens that the embedding knows.
    pub vocabulary: usize,
    /// The longest sequence that the model was made for; `None` where the config does not tell.
    pub context: Option<usize>,
    /// Every tap, in the order of [`Tap`].
    pub taps: Vec<TapFacts>,
    /// From token ids to hidden states.
    pub embedding: Embedding,
    /// The layers in order.
    pub blocks: Vec<Block>,
    /// From hidden states to logits.
    pub head: Head,
}

/// A buffer that operations take and make, `[tokens, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tap(pub usize);

/// Name and width of a tap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapFacts {
    /// As the family's file calls it.
    pub name: String,
    /// Columns.
    pub width: usize,
}

/// From token ids to hidden states: a row of the tensor, times `scale`.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    /// The tensor, `[vocabulary, hidden]`.
    pub tensor: String,
    /// What a row is multiplied by.
    pub scale: f32,
}

/// One layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// Its number.
    pub layer: usize,
    /// Its site groups in order. The weights of one phase are in memory at a time.
    pub phases: Vec<Phase>,
}

/// A site group: operations whose weights are fetched together.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    /// `model.layers.3.self_attn`, `model.layers.3.mlp.experts.5`: for messages.
    pub name: String,
    /// The expert that it is, where it is one.
    pub expert: Option<usize>,
    /// What is done, in order.
    pub operations: Vec<Operation>,
    /// Taps that a later phase takes, the hidden state first. All others end with the phase.
    pub carried: Vec<Tap>,
}

impl Phase {
    /// The tensors that its operations multiply with or add, biases included.
    pub fn weights(&self) -> impl Iterator<Item = &str> {
        self.operations.iter().flat_map(|operation| {
            let (weight, bias) = match operation {
                Operation::Norm { weight, .. } => (Some(weight), None),
                Operation::Linear(linear) => (Some(&linear.weight), linear.bias.as_ref()),
                _ => (None, None),
            };
            weight.into_iter().chain(bias).map(String::as_str)
        })
    }
}

/// One step of a program.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// Root mean square norm (Zhang and Sennrich 2019, section 4): each run of `width` columns of a
    /// row divided by `sqrt(mean(x^2) + epsilon)`, times the weight.
    Norm {
        /// What is normalized.
        input: Tap,
        /// Where it goes, which may be the same tap.
        output: Tap,
        /// The tensor of gains, `[width]` or, where several runs have gains of their own, as wide as the tap.
        weight: String,
        /// What is added to the mean square.
        epsilon: f32,
        /// Whether the gain is one plus the weight.
        from_one: bool,
        /// Columns that are normalized together: the whole row, or a head.
        width: usize,
    },
    /// `output = input W^T + bias`.
    Linear(Linear),
    /// Columns of the input, dealt out to the outputs one after the other.
    Split {
        /// What is cut.
        input: Tap,
        /// As wide together as the input.
        outputs: Vec<Tap>,
    },
    /// Rotary embedding (Su and others 2021, section 3.4.2) of every head of these taps, in place.
    Rotate {
        /// Queries and keys.
        taps: Vec<Tap>,
        /// Columns of a head.
        head_width: usize,
        /// Angles.
        rope: Rope,
    },
    /// Causal attention of each sequence to itself, with the keys and values that it kept.
    Attend(Attention),
    /// `output = activation(gate) * up`.
    Gate {
        /// What goes through the activation.
        gate: Tap,
        /// What it is multiplied with.
        up: Tap,
        /// Where it goes.
        output: Tap,
        /// The function.
        activation: Activation,
    },
    /// `output += scale * input`.
    Add {
        /// What is added.
        input: Tap,
        /// What it is added to.
        output: Tap,
        /// What it is multiplied by first.
        scale: f32,
    },
    /// Router of a mixture of experts: from logits to the weight of every expert, zero where a token
    /// does not go. `output` is as wide as there are experts.
    Route {
        /// Logits, `[tokens, experts]`.
        input: Tap,
        /// Weights, `[tokens, experts]`.
        output: Tap,
        /// Experts per token: those of the largest logits, of equal ones the first.
        top: usize,
        /// Whether the weights of the chosen are a softmax among themselves (which equals a softmax
        /// over all, divided by the sum of the chosen), or keep their share of the softmax over all.
        renormalize: bool,
    },
    /// The rows of `input` that go to `expert`. Taps made from `output` have as many rows.
    Gather {
        /// What is picked from.
        input: Tap,
        /// Weights of all experts.
        routes: Tap,
        /// Which one.
        expert: usize,
        /// The rows picked, in order.
        output: Tap,
    },
    /// The inverse: adds each row, times its weight, to the row of `output` from which it was picked.
    /// `output` begins as zeros.
    Scatter {
        /// The expert's rows.
        input: Tap,
        /// Weights of all experts.
        routes: Tap,
        /// Which one.
        expert: usize,
        /// What they are added to.
        output: Tap,
    },
}

/// A matrix product with the transpose of a weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linear {
    /// `[tokens, columns]`.
    pub input: Tap,
    /// `[tokens, rows]`.
    pub output: Tap,
    /// The weight, `[rows, columns]`.
    pub weight: String,
    /// The tensor that is added, `[rows]`.
    pub bias: Option<String>,
    /// Output features.
    pub rows: usize,
    /// Input features.
    pub columns: usize,
}

/// Causal attention with grouped queries (Ainslie and others 2023): query head `h` reads the key and
/// value head `h * key_value_heads / heads`.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// `[tokens, heads * head_width]`.
    pub query: Tap,
    /// `[tokens, key_value_heads * head_width]`.
    pub key: Tap,
    /// `[tokens, key_value_heads * head_width]`.
    pub value: Tap,
    /// `[tokens, heads * head_width]`.
    pub output: Tap,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub key_value_heads: usize,
    /// Columns of a head.
    pub head_width: usize,
    /// What a score is multiplied by.
    pub scale: f32,
    /// A token sees itself and so many minus one before it; `None` is all.
    pub window: Option<usize>,
    /// Scores become `cap * tanh(score / cap)`.
    pub cap: Option<f32>,
}

/// A function of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x / (1 + exp(-x))`.
    Silu,
    /// `x * Phi(x)`, with the error function.
    Gelu,
    /// The approximation of it with the hyperbolic tangent (Hendrycks and Gimpel 2016, section 2).
    GeluTanh,
}

/// Angles of a rotary embedding. Column `i` of the first half of the rotated columns turns with
/// column `i` of the second half.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// The base.
    pub theta: f64,
    /// How many of a head's columns are rotated; the rest stays.
    pub width: usize,
    /// How frequencies change for contexts longer than the model was first trained on.
    pub scaling: RopeScaling,
}

/// Changes to the frequencies `theta^(-2i/width)`.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// None.
    None,
    /// Divided by a factor.
    Linear {
        /// The factor.
        factor: f64,
    },
    /// A base that grows once a sequence is longer than `original`.
    Dynamic {
        /// The factor.
        factor: f64,
        /// The length up to which nothing changes.
        original: usize,
    },
    /// YaRN (Peng and others 2023, section 3.2).
    Yarn {
        /// The factor.
        factor: f64,
        /// The length trained on first.
        original: usize,
        /// Rotations over `original` above which a frequency stays.
        beta_fast: f64,
        /// Rotations below which a frequency is divided by the factor.
        beta_slow: f64,
        /// What cosine and sine are multiplied by.
        attention_factor: f64,
        /// Whether the ends of the ramp are rounded outwards to whole columns.
        truncate: bool,
    },
    /// A factor per column, short up to the original length and long beyond (Ding and others 2024).
    Long {
        /// For sequences of at most `original`.
        short: Vec<f64>,
        /// For longer ones.
        long: Vec<f64>,
        /// The length trained on first.
        original: usize,
        /// What cosine and sine are multiplied by.
        attention_factor: f64,
    },
    /// Llama 3.1: by wavelength against the original context.
    Llama3 {
        /// The factor for long wavelengths.
        factor: f64,
        /// Wavelengths above `original / low` are divided by the factor.
        low: f64,
        /// Wavelengths below `original / high` stay.
        high: f64,
        /// The length trained on first.
        original: usize,
    },
}

/// From hidden states to logits: a norm, then a product with rows of the head.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// The norm, from [`Program::HIDDEN`] to itself, as a phase.
    pub norm: Phase,
    /// The tensor, `[vocabulary, hidden]`; the embedding's where they are one.
    pub tensor: String,
    /// What is added to logits, `[vocabulary]`.
    pub bias: Option<String>,
    /// What logits are multiplied by.
    pub scale: f32,
    /// Logits become `cap * tanh(logit / cap)`, after the scale.
    pub cap: Option<f32>,
}

impl Program {
    /// The hidden state, which every phase carries.
    pub const HIDDEN: Tap = Tap(0);

    /// Columns of a tap.
    pub fn width(&self, tap: Tap) -> usize {
        self.taps[tap.0].width
    }
}

impl Operation {
    /// Taps whose former values it uses, those among them that it changes in place.
    pub fn reads(&self) -> Vec<Tap> {
        match self {
            Self::Norm { input, .. } | Self::Split { input, .. } | Self::Route { input, .. } => {
                vec![*input]
            }
            Self::Linear(linear) => vec![linear.input],
            Self::Rotate { taps, .. } => taps.clone(),
            Self::Attend(attention) => vec![attention.query, attention.key, attention.value],
            Self::Gate { gate, up, .. } => vec![*gate, *up],
            Self::Add { input, output, .. } => vec![*input, *output],
            Self::Gather { input, routes, .. } => vec![*input, *routes],
            Self::Scatter { input, routes, output, .. } => vec![*input, *routes, *output],
        }
    }

    /// Taps that it makes or changes.
    pub fn writes(&self) -> Vec<Tap> {
        match self {
            Self::Norm { output, .. }
            | Self::Gate { output, .. }
            | Self::Add { output, .. }
            | Self::Route { output, .. }
            | Self::Gather { output, .. }
            | Self::Scatter { output, .. } => vec![*output],
            Self::Linear(linear) => vec![linear.output],
            Self::Split { outputs, .. } => outputs.clone(),
            Self::Rotate { taps, .. } => taps.clone(),
            Self::Attend(attention) => vec![attention.output],
        }
    }

    /// Tensors that it takes.
    pub fn tensors(&self) -> Vec<&str> {
        match self {
            Self::Norm { weight, .. } => vec![weight],
            Self::Linear(linear) => [Some(&linear.weight), linear.bias.as_ref()]
                .into_iter()
                .flatten()
                .map(String::as_str)
                .collect(),
            _ => Vec::new(),
        }
    }

    /// The matrix product, if it is one.
    pub fn linear(&self) -> Option<&Linear> {
        match self {
            Self::Linear(linear) => Some(linear),
            _ => None,
        }
    }
}
