//! Figures as plain data; the report draws them.

/// A curve or a chart.
#[derive(Clone, Debug, PartialEq)]
pub enum Figure {
    /// Values over environment steps.
    Curves {
        /// For file names; letters, digits and `-`.
        id: String,
        /// Over the figure.
        title: String,
        /// Of the values.
        unit: &'static str,
        /// Name and (steps, value).
        series: Vec<(String, Vec<(f64, f64)>)>,
    },
    /// A value with an interval each.
    Bars {
        /// For file names; letters, digits and `-`.
        id: String,
        /// Over the figure.
        title: String,
        /// Of the values.
        unit: String,
        /// From the top.
        bars: Vec<Bar>,
    },
}

/// A row of a chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// Before it.
    pub name: String,
    /// Lengths that add up: one, or click and order reward.
    pub parts: Vec<f64>,
    /// Of their sum.
    pub interval: (f64, f64),
    /// Whether it is the one the reader looks for.
    pub is_subject: bool,
}

impl Figure {
    /// For file names.
    pub fn id(&self) -> &str {
        match self {
            Self::Curves { id, .. } | Self::Bars { id, .. } => id,
        }
    }
}
