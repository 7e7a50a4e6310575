//! The catalogue of ShopWorld: 10,000 items in 24 categories and what users find in them.
//!
//! In: the world's seed and rho; out: embeddings, interest and need directions, attractiveness, quality. Everything
//! hidden is a function of the embedding plus a little noise, so that policies can learn it from embeddings.
//! ```text
//! e = B tanh(.75 (sqrt(.5) mu_category + sqrt(.5) xi))      mu, xi ~ N(0, I_50)
//! Q random orthogonal 50 x 50; R_c = rows 0-15; R_o = rho R_c + sqrt(1 - rho^2) rows 16-31
//! c = norm(R_c e/|e|)     interest direction               o = norm(R_o e/|e|)     need direction
//! b = z(z(w_b . e/|e|) + .3 noise), w_b = row 32           attractiveness
//! q likewise with w_q = -.5 w_b + sqrt(.75) row 33         quality: pretty items convert badly
//! ```
//! z is the z-score over the catalogue. Prices are unknown (0).

use std::sync::Arc;

use common::{
    ItemTable,
    seed::{Rng, Streams},
};
use rand::RngExt;
use rand_distr::StandardNormal;

use super::factors::{Factors, N_FACTORS};
use crate::Error;

/// Items of the catalogue.
pub const N_ITEMS: usize = 10_000;
/// Categories.
pub const N_CATEGORIES: usize = 24;
/// Embedding size, n.
pub const N_DIMS: usize = 50;
/// Bound B of the embeddings.
pub const BOUND: f32 = 1.94;
/// Correlation of quality with attractiveness.
const QUALITY_ON_ATTRACTIVENESS: f64 = -0.5;
/// Standard deviation of what embeddings do not tell of attractiveness and quality.
const UNEXPLAINED: f64 = 0.3;

/// A row of a 50-dimensional space, in double precision while the catalogue is made.
type Row = [f64; N_DIMS];

/// The items and their hidden sides. Made once, shared by all worlds of a process.
#[derive(Clone, Debug)]
pub struct Catalogue {
    world_seed: u64,
    rho: f64,
    items: Arc<ItemTable>,
    /// `[n_items]` unit vectors c.
    pub(crate) interest: Vec<Factors>,
    /// `[n_items]` unit vectors o.
    pub(crate) need: Vec<Factors>,
    /// `[n_items]` z-scores b.
    pub(crate) attractiveness: Vec<f32>,
    /// `[n_items]` z-scores q.
    pub(crate) quality: Vec<f32>,
}

impl Catalogue {
    /// The catalogue of a world seed, with interests and needs correlated by `rho` in [-1, 1]. Two values of rho share
    /// everything but the need directions.
    pub fn new(world_seed: u64, rho: f64) -> Result<Self, Error> {
        if !(-1.0..=1.0).contains(&rho) {
            return Err(Error::Build(format!("rho is {rho}: a correlation in [-1, 1]")));
        }
        let mut rng = Streams::new(world_seed, "shopworld/catalogue").sequential();
        let means: Vec<Row> = (0..N_CATEGORIES).map(|_| gaussian(&mut rng)).collect();
        let mut categories = Vec::with_capacity(N_ITEMS);
        let mut embeddings = Vec::with_capacity(N_ITEMS * N_DIMS);
        for _ in 0..N_ITEMS {
            let category = rng.random_range(0..N_CATEGORIES);
            let own = gaussian(&mut rng);
            categories.push(category as u32);
            embeddings.extend(std::iter::zip(means[category], own).map(|(mean, own)| {
                (f64::from(BOUND) * (0.75 * 0.5_f64.sqrt() * (mean + own)).tanh()) as f32
            }));
        }
        let items = ItemTable::new(N_DIMS, BOUND, embeddings, categories, vec![0.0; N_ITEMS])
            .map_err(|error| Error::Build(format!("the catalogue of world seed {world_seed}: {error}")))?;

        let rows = orthonormal_rows(&mut rng);
        let interest_rows = &rows[..N_FACTORS];
        let need_rows: Vec<Row> = std::iter::zip(interest_rows, &rows[N_FACTORS..2 * N_FACTORS])
            .map(|(shared, own)| mix(rho, shared, (1.0 - rho * rho).sqrt(), own))
            .collect();
        let attractive = rows[2 * N_FACTORS];
        let rest = (1.0 - QUALITY_ON_ATTRACTIVENESS.powi(2)).sqrt();
        let good = mix(QUALITY_ON_ATTRACTIVENESS, &attractive, rest, &rows[2 * N_FACTORS + 1]);
        Ok(Self {
            world_seed,
            rho,
            interest: directions(&items, interest_rows),
            need: directions(&items, &need_rows),
            attractiveness: scores(&items, &attractive, &mut rng),
            quality: scores(&items, &good, &mut rng),
            items: Arc::new(items),
        })
    }

    /// The item table: what policies know.
    pub fn items(&self) -> &Arc<ItemTable> {
        &self.items
    }

    /// The seed it was made from.
    pub fn world_seed(&self) -> u64 {
        self.world_seed
    }

    /// Correlation of interests and needs.
    pub fn rho(&self) -> f64 {
        self.rho
    }
}

fn gaussian(rng: &mut Rng) -> Row {
    std::array::from_fn(|_| rng.sample(StandardNormal))
}

fn inner(a: &Row, b: &Row) -> f64 {
    std::iter::zip(a, b).map(|(a, b)| a * b).sum()
}

fn mix(weight_a: f64, a: &Row, weight_b: f64, b: &Row) -> Row {
    std::array::from_fn(|i| weight_a * a[i] + weight_b * b[i])
}

/// The 50 rows of a random orthogonal matrix: Gram-Schmidt on Gaussian rows, every projection taken twice, which
/// keeps them orthogonal to rounding.
fn orthonormal_rows(rng: &mut Rng) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::with_capacity(N_DIMS);
    for _ in 0..N_DIMS {
        let mut row = gaussian(rng);
        for _ in 0..2 {
            for earlier in &rows {
                row = mix(1.0, &row, -inner(&row, earlier), earlier);
            }
        }
        let length = inner(&row, &row).sqrt();
        rows.push(row.map(|x| x / length));
    }
    rows
}

/// The direction `[n]` of an embedding, in double precision.
fn unit(items: &ItemTable, item: usize) -> Row {
    let embedding = &items.embeddings()[item * N_DIMS..][..N_DIMS];
    let row: Row = std::array::from_fn(|i| f64::from(embedding[i]));
    let length = inner(&row, &row).sqrt();
    row.map(|x| x / length)
}

/// norm(R e/|e|) of every item, for the 16 rows of R.
fn directions(items: &ItemTable, rows: &[Row]) -> Vec<Factors> {
    (0..items.n_items())
        .map(|item| {
            let embedding = unit(items, item);
            let seen: [f64; N_FACTORS] = std::array::from_fn(|factor| inner(&rows[factor], &embedding));
            let length = seen.iter().map(|x| x * x).sum::<f64>().sqrt();
            seen.map(|x| (x / length) as f32)
        })
        .collect()
}

/// z(z(w . e/|e|) + .3 noise) of every item.
fn scores(items: &ItemTable, weights: &Row, rng: &mut Rng) -> Vec<f32> {
    let explained: Vec<f64> = (0..items.n_items()).map(|item| inner(weights, &unit(items, item))).collect();
    let noisy = z_scores(&explained)
        .into_iter()
        .map(|score| score + UNEXPLAINED * rng.sample::<f64, _>(StandardNormal))
        .collect::<Vec<_>>();
    z_scores(&noisy).into_iter().map(|score| score as f32).collect()
}

fn z_scores(values: &[f64]) -> Vec<f64> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let deviation = (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
    values.iter().map(|x| (x - mean) / deviation).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shopworld::factors::dot;

    fn correlation(a: &[f32], b: &[f32]) -> f64 {
        let product = |(a, b): (&f32, &f32)| f64::from(*a) * f64::from(*b);
        std::iter::zip(a, b).map(product).sum::<f64>() / a.len() as f64
    }

    #[test]
    fn items_have_the_documented_shape() {
        let catalogue = Catalogue::new(0, 0.5).unwrap();
        let items = catalogue.items();
        assert_eq!((items.n_items(), items.n_dims(), items.bound()), (10_000, 50, 1.94));
        assert_eq!(items.categories().iter().max(), Some(&23));
        let norm = items.embeddings().iter().map(|x| f64::from(x * x)).sum::<f64>() / 10_000.0;
        // Items lie near norm 7 (algorithm.md, difficulty 8).
        assert!((6.3..7.7).contains(&norm.sqrt()), "norm {}", norm.sqrt());
    }

    #[test]
    fn the_rows_are_orthonormal() {
        let rows = orthonormal_rows(&mut Streams::new(3, "test").sequential());
        for (i, a) in rows.iter().enumerate() {
            for (j, b) in rows.iter().enumerate() {
                let expected = if i == j { 1.0 } else { 0.0 };
                assert!((inner(a, b) - expected).abs() < 1e-12, "rows {i} and {j}");
            }
        }
    }

    #[test]
    fn scores_are_standardised_and_pretty_items_are_of_lower_quality() {
        let catalogue = Catalogue::new(0, 0.5).unwrap();
        let (b, q) = (&catalogue.attractiveness, &catalogue.quality);
        let ones = vec![1.0; N_ITEMS];
        for scores in [b, q] {
            assert!(correlation(scores, &ones).abs() < 1e-5);
            assert!((correlation(scores, scores) - 1.0).abs() < 1e-5);
        }
        assert!(correlation(b, q) < -0.2, "correlation {}", correlation(b, q));
    }

    #[test]
    fn rho_ties_needs_to_interests_and_changes_nothing_else() {
        let mean_cosine = |rho: f64| {
            let catalogue = Catalogue::new(0, rho).unwrap();
            let pairs = std::iter::zip(&catalogue.interest, &catalogue.need);
            pairs.map(|(c, o)| f64::from(dot(c, o))).sum::<f64>() / N_ITEMS as f64
        };
        assert!((mean_cosine(1.0) - 1.0).abs() < 1e-5);
        assert!(mean_cosine(0.0).abs() < mean_cosine(0.5));
        let (a, b) = (Catalogue::new(0, 0.0).unwrap(), Catalogue::new(0, 1.0).unwrap());
        assert_eq!(a.items(), b.items());
        assert_eq!((a.interest, a.attractiveness, a.quality), (b.interest, b.attractiveness, b.quality));
        assert!(Catalogue::new(0, 1.5).is_err() && Catalogue::new(0, f64::NAN).is_err());
    }

    #[test]
    fn another_world_seed_is_another_catalogue() {
        assert_ne!(Catalogue::new(0, 0.5).unwrap().items(), Catalogue::new(1, 0.5).unwrap().items());
    }
}
