//! What a learned simulator keeps of its log: where sessions start, what was shown and clicked.

use common::{ItemId, ItemTable, history::N_WINDOWS};

use super::{Tensors, Values, model::N_CLASSES};
use crate::Error;

/// Checked numbers of the log. See the module's table for their meaning.
#[derive(Clone, Debug, PartialEq)]
pub struct LogStatistics {
    window: usize,
    /// `[n_contexts, 3, N]`
    windows: Vec<ItemId>,
    impressions: Vec<f32>,
    clicks: Vec<f32>,
    base_rates: [f32; N_CLASSES],
}

impl LogStatistics {
    /// The statistics for a catalogue: windows `[n_contexts, 3, N]` with N = `window`; impressions and clicks
    /// `[n_items]`; shares of skip, click, order. An error says which value is wrong.
    pub fn new(
        items: &ItemTable,
        window: usize,
        windows: Vec<ItemId>,
        impressions: Vec<f32>,
        clicks: Vec<f32>,
        base_rates: [f32; N_CLASSES],
    ) -> Result<Self, Error> {
        let refuse = |problem: String| Err(Error::Build(format!("log statistics: {problem}")));
        let size = N_WINDOWS * window;
        if size == 0 || windows.is_empty() || !windows.len().is_multiple_of(size) {
            return refuse(format!(
                "`windows` holds {} ids, expected contexts of [3, {window}]",
                windows.len()
            ));
        }
        for (number, one) in windows.chunks_exact(window).enumerate() {
            if let Some(item) = one.iter().find(|item| !item.is_padding() && !items.contains(**item)) {
                return refuse(format!("context {}: no item {item} in the catalogue", number / N_WINDOWS));
            }
            let n_padding = one.iter().take_while(|item| item.is_padding()).count();
            if one[n_padding..].iter().any(|item| item.is_padding()) {
                return refuse(format!("context {}: padding right of an item", number / N_WINDOWS));
            }
        }
        for (name, counts) in [("impressions", &impressions), ("clicks", &clicks)] {
            if counts.len() != items.n_items() {
                return refuse(format!("{} {name} for {} items", counts.len(), items.n_items()));
            }
            if let Some(count) = counts.iter().find(|count| !(0.0..=f32::MAX).contains(*count)) {
                return refuse(format!("`{name}` holds {count}, not a count"));
            }
        }
        let sum: f32 = base_rates.iter().sum();
        if base_rates.iter().any(|rate| rate.is_nan() || *rate <= 0.0) || (sum - 1.0).abs() > 1e-3 {
            return refuse(format!("`base_rates` are {base_rates:?}, expected positive shares of sum 1"));
        }
        Ok(Self { window, windows, impressions, clicks, base_rates })
    }

    /// The same with the clicks of another log of the same items: those that the popularity policy may know.
    pub fn with_clicks_of(mut self, other: &Self) -> Self {
        assert_eq!(self.clicks.len(), other.clicks.len(), "logs of one catalogue");
        self.clicks.copy_from_slice(&other.clicks);
        self
    }

    /// Length of a window, N.
    pub fn window(&self) -> usize {
        self.window
    }

    /// Number of starts to draw from.
    pub fn n_contexts(&self) -> usize {
        self.windows.len() / (N_WINDOWS * self.window)
    }

    /// The windows `[3, N]` of a start.
    pub fn context(&self, number: usize) -> &[ItemId] {
        let size = N_WINDOWS * self.window;
        &self.windows[number * size..][..size]
    }

    /// `[n_items]` how often each item was shown.
    pub fn impressions(&self) -> &[f32] {
        &self.impressions
    }

    /// `[n_items]` how often each item was clicked.
    pub fn clicks(&self) -> &[f32] {
        &self.clicks
    }

    /// Shares of skip, click, order.
    pub fn base_rates(&self) -> [f32; N_CLASSES] {
        self.base_rates
    }

    /// As the tensors of `log.safetensors`.
    pub(super) fn tensors(&self) -> Result<Tensors, Error> {
        let mut tensors = Tensors::new();
        let windows = bytemuck::cast_slice(&self.windows).to_vec();
        tensors.insert("windows", &[self.n_contexts(), N_WINDOWS, self.window], Values::U32(windows))?;
        let n = [self.impressions.len()];
        tensors.insert("impressions", &n, Values::F32(self.impressions.clone()))?;
        tensors.insert("clicks", &n, Values::F32(self.clicks.clone()))?;
        tensors.insert("base_rates", &[N_CLASSES], Values::F32(self.base_rates.to_vec()))?;
        Ok(tensors)
    }

    /// From the tensors of `log.safetensors`.
    pub(super) fn from_tensors(items: &ItemTable, tensors: &Tensors) -> Result<Self, Error> {
        let [n_contexts, n_windows, window] = tensors.axes("windows")?;
        if n_windows != N_WINDOWS {
            return Err(Error::Build(format!(
                "tensor `windows` has {n_windows} windows a context, expected 3"
            )));
        }
        let windows = tensors.integers("windows", &[n_contexts, n_windows, window])?;
        let n = [items.n_items()];
        let rates = tensors.floats("base_rates", &[N_CLASSES])?;
        Self::new(
            items,
            window,
            windows.iter().map(|&id| ItemId(id)).collect(),
            tensors.floats("impressions", &n)?.to_vec(),
            tensors.floats("clicks", &n)?.to_vec(),
            [rates[0], rates[1], rates[2]],
        )
    }
}
