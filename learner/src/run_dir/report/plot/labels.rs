//! Names at the right end of a plot, moved apart where they would lie on each other.

use super::super::{
    canvas::{At, Canvas, Font, Problem, line, write},
    style::Colour,
};

/// Least distance of two names.
const APART: i32 = 29;
/// From the plot's edge to the names; a thin line leads there.
const LEAD: i32 = 18;

/// A name beside what it names.
#[derive(Clone, Debug)]
pub(super) struct Label {
    pub(super) text: String,
    pub(super) colour: Colour,
    pub(super) bold: bool,
    /// Where it points to.
    pub(super) at: At,
}

/// Writes the labels to the right of `edge`, between the heights `top` and `bottom`.
pub(super) fn write_all(
    canvas: &Canvas<'_>,
    mut labels: Vec<Label>,
    edge: i32,
    (top, bottom): (i32, i32),
) -> Result<(), Problem> {
    labels.sort_by_key(|label| label.at.1);
    let heights = spread(&labels.iter().map(|label| label.at.1).collect::<Vec<_>>(), (top, bottom));
    for (label, height) in labels.iter().zip(heights) {
        if label.at.0 >= edge - 2 || height != label.at.1 {
            let start = (label.at.0.max(edge) + 3, label.at.1);
            line(canvas, vec![start, (edge + LEAD - 3, height)], label.colour, 1)?;
        }
        let font = Font::plain(label.colour);
        let font = if label.bold { font.bold() } else { font };
        write(canvas, (edge + LEAD, height), &label.text, font)?;
    }
    Ok(())
}

/// Ascending heights, moved as little as a sweep down and one up need to keep them [`APART`].
fn spread(heights: &[i32], (top, bottom): (i32, i32)) -> Vec<i32> {
    let mut moved = heights.to_vec();
    // Clusters are centred on what they name: half of the overlap goes up.
    for k in 1..moved.len() {
        let overlap = moved[k - 1] + APART - moved[k];
        if overlap > 0 {
            moved[k] += overlap;
        }
    }
    let shift = moved.iter().zip(heights).map(|(m, h)| m - h).max().unwrap_or(0) / 2;
    let mut floor = top;
    for (height, wanted) in moved.iter_mut().zip(heights) {
        *height = if *height == *wanted { *height } else { *height - shift };
        *height = (*height).max(floor);
        floor = *height + APART;
    }
    let mut ceiling = bottom;
    for height in moved.iter_mut().rev() {
        *height = (*height).min(ceiling);
        ceiling = *height - APART;
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_distance_and_their_order() {
        for heights in [vec![100, 101, 102], vec![10, 10], vec![480, 490, 495], vec![50, 300], vec![]] {
            let moved = spread(&heights, (0, 500));
            assert!(moved.windows(2).all(|pair| pair[1] - pair[0] >= APART), "{heights:?} to {moved:?}");
            assert!(moved.iter().all(|h| (0..=500).contains(h)), "{heights:?} to {moved:?}");
        }
        assert_eq!(spread(&[50, 300], (0, 500)), [50, 300]);
    }
}
