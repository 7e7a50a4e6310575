//! The kernels of inference at every level of this CPU against plain f64, over odd sizes.

#[path = "support/product.rs"]
mod product;
mod support;

use kernels::{
    CodedScratch, CodedTable, Gru, GruParameters, GruScratch, Init, Inputs, Level, RowMajor, RowMajorMut,
    Sequences, Strided, Term, gemm, gemm_of_two, gru::PADDING, halves, search,
};
use product::Product;
use proptest::{collection::vec, prelude::*};
use support::{close, numbers};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn gemm_equals_the_naive_product(
        m in 0usize..20, n in 0usize..150, k in 0usize..40, gap in 0usize..3, transposed: bool, form in 0usize..3, seed: u64,
    ) {
        let product = Product::new((m, n, k), transposed, gap, form, seed);
        let a = if transposed { product.a().transposed() } else { product.a().strided() };
        for level in Level::available() {
            let c = product.of(|c, init| gemm(level, product.size, a, product.b(), c, init));
            product.check(level, &c, f64::from);
        }
    }

    #[test]
    fn a_row_of_a_product_has_the_same_bits_alone(m in 1usize..14, n in 1usize..100, k in 1usize..30, seed: u64) {
        let (a, b) = (numbers(seed, m * k), numbers(seed ^ 1, k * n));
        let b = RowMajor { data: &b, stride: n };
        for level in Level::available() {
            let (mut together, mut alone) = (vec![0.0; m * n], vec![0.0; n]);
            let out = RowMajorMut { data: &mut together, stride: n };
            gemm(level, (m, n, k), Strided::rows(&a, k), b, out, Init::Zero);
            for i in 0..m {
                let out = RowMajorMut { data: &mut alone, stride: n };
                gemm(level, (1, n, k), Strided::rows(&a[i * k..], k), b, out, Init::Zero);
                prop_assert_eq!(&together[i * n..][..n], &alone[..]);
            }
        }
    }

    #[test]
    fn a_sum_of_two_products_has_the_bits_of_one_after_the_other(
        m in 1usize..14, n in 1usize..100, k in (0usize..30, 0usize..30), seed: u64,
    ) {
        let (size, k) = ((m, n), [k.0, k.1]);
        let side = |part: u64, rows: usize, columns: usize| numbers(seed ^ part, rows * columns);
        let a = [side(0, m, k[0]), side(1, m, k[1])];
        let b = [side(2, k[0], n), side(3, k[1], n)];
        // Any bits are pairs, as long as both products read the same.
        let pairs = |x: &[f32]| x.iter().map(|x| u32::from(halves::rounded(*x))).collect::<Vec<_>>();
        let (half_a, half_b) = (a.each_ref().map(|a| pairs(a)), b.each_ref().map(|b| pairs(b)));
        let bias = side(4, 1, n);
        for level in Level::available() {
            let mut c = [(); 4].map(|()| vec![0.0; m * n]);
            let [one, two, half_one, half_two] = c.each_mut().map(|data| RowMajorMut { data, stride: n });
            let term =
                |t: usize| Term { k: k[t], a: Strided::rows(&a[t], k[t]), b: RowMajor { data: &b[t], stride: n } };
            let half = |t: usize| {
                Term { k: k[t], a: Strided::rows(&half_a[t], k[t]), b: RowMajor { data: &half_b[t], stride: n } }
            };
            gemm_of_two(level, size, [term(0), term(1)], two, Init::Bias(&bias));
            halves::gemm_of_two(level, size, [half(0), half(1)], half_two, Init::Bias(&bias));
            gemm(level, (m, n, k[0]), term(0).a, term(0).b, one, Init::Bias(&bias));
            halves::gemm(level, (m, n, k[0]), half(0).a, half(0).b, half_one, Init::Bias(&bias));
            let [one, _, half_one, _] = c.each_mut().map(|data| RowMajorMut { data, stride: n });
            gemm(level, (m, n, k[1]), term(1).a, term(1).b, one, Init::Accumulate);
            halves::gemm(level, (m, n, k[1]), half(1).a, half(1).b, half_one, Init::Accumulate);
            let bits = c.map(|c| c.into_iter().map(f32::to_bits).collect::<Vec<_>>());
            prop_assert_eq!(&bits[0], &bits[1]);
            prop_assert_eq!(&bits[2], &bits[3]);
        }
    }

    #[test]
    fn gru_equals_the_masked_recurrence(
        n in 1usize..12, w in 1usize..40, window in 1usize..7,
        rows in vec(vec(prop_oneof![Just(PADDING), 0u32..17], 6), 1..110), seed: u64,
    ) {
        let layer = Layer::new(n, w, seed);
        let table = numbers(seed ^ 9, 17 * n);
        let ids: Vec<u32> = rows.iter().flat_map(|row| row[..window].to_vec()).collect();
        let starts: Vec<usize> = (0..rows.len()).map(|r| r * window).collect();
        let sequences = Sequences { ids: &ids, starts: &starts, length: window };
        let expected: Vec<Vec<f64>> =
            (0..rows.len()).map(|r| layer.reference(&table, &ids[r * window..][..window])).collect();
        let mut scratch = GruScratch::default();
        for level in Level::available() {
            let gru = layer.gru();
            let mut projected = vec![0.0; 17 * 3 * w];
            gru.project(level, &table, &mut projected);
            let mut out = [vec![0.0; rows.len() * (w + 1)], vec![0.0; rows.len() * (w + 1)]];
            for (inputs, out) in [Inputs::Rows(&table), Inputs::Projected(&projected)].into_iter().zip(&mut out) {
                let out = RowMajorMut { data: out, stride: w + 1 };
                gru.forward(level, inputs, sequences, out, &mut scratch);
            }
            prop_assert_eq!(&out[0], &out[1], "projecting first changes no bit");
            for (r, expected) in expected.iter().enumerate() {
                for (j, expected) in expected.iter().enumerate() {
                    let found = out[0][r * (w + 1) + j];
                    prop_assert!(close(found, *expected, 10.0), "{} row {r} unit {j}: {found} {expected}", level);
                }
            }
        }
    }

    #[test]
    fn dot_rows_equals_the_naive_product(n in 1usize..90, rows in vec(0u32..23, 0..40), seed: u64) {
        let (table, query) = (numbers(seed, 23 * n), numbers(seed ^ 1, n));
        for level in Level::available() {
            let mut out = vec![0.0; rows.len()];
            search::dot_rows(level, &table, &rows, &query, &mut out);
            for (&row, &found) in rows.iter().zip(&out) {
                let row = &table[row as usize * n..][..n];
                let expected: f64 = row.iter().zip(&query).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                prop_assert!(close(found, expected, n as f64));
            }
        }
    }

    #[test]
    fn argmax_is_the_first_of_the_largest_unmasked(
        scores in vec((-3i8..3).prop_map(f32::from), 0..150), masked in vec(any::<bool>(), 150), nan in 0usize..150,
    ) {
        let mut scores = scores;
        if let Some(score) = scores.get_mut(nan) {
            *score = f32::NAN;
        }
        let mut words = vec![0u64; scores.len().div_ceil(64)];
        for i in 0..scores.len() {
            words[i / 64] |= u64::from(masked[i]) << (i % 64);
        }
        let mut expected: Option<usize> = None;
        for (i, score) in scores.iter().enumerate() {
            if !masked[i] && !score.is_nan() && expected.is_none_or(|best| *score > scores[best]) {
                expected = Some(i);
            }
        }
        for level in Level::available() {
            prop_assert_eq!(search::argmax_masked(level, &mut scores.clone(), &words), expected);
        }
    }

    #[test]
    fn contenders_hold_the_k_largest_products(
        n in 1usize..140, rows in vec(0u32..40, 0..200), masked in vec(any::<bool>(), 200), size in -30i32..30, k in 1usize..12,
        seed: u64,
    ) {
        let scale = 2.0_f32.powi(size);
        // Twenty rows twice, so that the largest product often has two of them; one is zero.
        let mut table = numbers(seed, 20 * n).repeat(2);
        table[..n].fill(0.0);
        let query: Vec<f32> = numbers(seed ^ 1, n).iter().map(|x| x * scale).collect();
        let coded = CodedTable::new(&table, n);
        let mut words = vec![0u64; rows.len().div_ceil(64)];
        (0..rows.len()).for_each(|i| words[i / 64] |= u64::from(masked[i]) << (i % 64));
        let (mut scratch, mut all) = (CodedScratch::default(), Vec::new());
        for level in Level::available() {
            let found = coded.contenders(level, (&rows, &words), &query, k, &mut scratch).to_vec();
            prop_assert!(found.is_sorted() && found.iter().all(|&position| !masked[position as usize]));
            let mut products = vec![0.0; rows.len()];
            search::dot_rows(level, &table, &rows, &query, &mut products);
            let unmasked = || (0..rows.len()).filter(|&i| !masked[i]);
            let mut descending: Vec<f32> = unmasked().map(|i| products[i]).collect();
            descending.sort_unstable_by(|a, b| b.total_cmp(a));
            let least = descending.get(k - 1).copied().unwrap_or(f32::NEG_INFINITY);
            for position in unmasked().filter(|&i| products[i] >= least) {
                prop_assert!(found.contains(&(position as u32)), "{level}: {position} is not in {found:?}");
            }
            all.push(found);
        }
        prop_assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "whole numbers are the same at every level");
    }

    #[test]
    fn relu_dot_equals_the_naive_sum(n in 0usize..70, seed: u64) {
        let (x, weights) = (numbers(seed, n), numbers(seed ^ 1, n));
        let expected: f64 = x.iter().zip(&weights).map(|(x, w)| f64::from(x.max(0.0)) * f64::from(*w)).sum();
        for level in Level::available() {
            prop_assert!(close(search::relu_dot(level, &x, &weights), expected, 1.0 + n as f64));
        }
    }

    #[test]
    fn relu_dot_rows_is_the_relu_dot_of_each_row(k in 1usize..70, n_rows in 0usize..30, seed: u64) {
        const TABLE: usize = 11;
        let (table, bases, weights) = (numbers(seed, TABLE * k), numbers(seed ^ 1, n_rows * k), numbers(seed ^ 2, k));
        let rows: Vec<u32> = (0..n_rows).map(|i| (i * 7 % TABLE) as u32).collect();
        let shared = numbers(seed ^ 3, k);
        for (level, base) in Level::available().into_iter().flat_map(|level| [(level, &shared), (level, &bases)]) {
            let mut out = vec![0.0; n_rows];
            search::relu_dot_rows(level, &table, &rows, (base, &weights), &mut out);
            for (i, (out, row)) in out.iter().zip(&rows).enumerate() {
                let row = &table[*row as usize * k..][..k];
                let own = if base.len() == k { &base[..k] } else { &base[i * k..][..k] };
                let hidden: Vec<f32> = own.iter().zip(row).map(|(a, b)| a + b).collect();
                let expected = f64::from(search::relu_dot(level, &hidden, &weights));
                prop_assert!(close(*out, expected, 1.0 + k as f64));
            }
        }
    }
}

/// A layer's parameters in PyTorch's layout.
struct Layer {
    n: usize,
    w: usize,
    weight_ih: Vec<f32>,
    weight_hh: Vec<f32>,
    bias_ih: Vec<f32>,
    bias_hh: Vec<f32>,
}

impl Layer {
    fn new(n: usize, w: usize, seed: u64) -> Self {
        Self {
            n,
            w,
            weight_ih: numbers(seed ^ 4, 3 * w * n),
            weight_hh: numbers(seed ^ 5, 3 * w * w),
            bias_ih: numbers(seed ^ 6, 3 * w),
            bias_hh: numbers(seed ^ 7, 3 * w),
        }
    }

    fn gru(&self) -> Gru {
        let Self { weight_ih, weight_hh, bias_ih, bias_hh, .. } = self;
        Gru::new(self.n, self.w, GruParameters { weight_ih, weight_hh, bias_ih, bias_hh })
    }

    fn reference(&self, table: &[f32], sequence: &[u32]) -> Vec<f64> {
        let (n, w) = (self.n, self.w);
        let mut h = vec![0.0f64; w];
        for &item in sequence.iter().filter(|&&item| item != PADDING) {
            let x = &table[item as usize * n..][..n];
            let input = |g: usize| {
                f64::from(self.bias_ih[g])
                    + (0..n).map(|i| f64::from(self.weight_ih[g * n + i]) * f64::from(x[i])).sum::<f64>()
            };
            let hidden = |g: usize| {
                f64::from(self.bias_hh[g])
                    + (0..w).map(|i| f64::from(self.weight_hh[g * w + i]) * h[i]).sum::<f64>()
            };
            let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
            h = (0..w)
                .map(|j| {
                    let r = sigmoid(input(j) + hidden(j));
                    let z = sigmoid(input(w + j) + hidden(w + j));
                    let new = (input(2 * w + j) + r * hidden(2 * w + j)).tanh();
                    (1.0 - z) * new + z * h[j]
                })
                .collect();
        }
        h
    }
}

#[test]
#[should_panic(expected = "item 17 of a table of 17 rows")]
fn an_item_outside_the_table_is_refused() {
    let layer = Layer::new(3, 4, 0);
    let (table, mut out) = (numbers(0, 17 * 3), vec![0.0; 4]);
    let sequences = Sequences { ids: &[PADDING, 17], starts: &[0], length: 2 };
    let out = RowMajorMut { data: &mut out, stride: 4 };
    layer.gru().forward(Level::best(), Inputs::Rows(&table), sequences, out, &mut GruScratch::default());
}

#[test]
#[should_panic(expected = "B: [3, 5] does not fit in 14 numbers")]
fn a_matrix_that_is_too_short_is_refused() {
    let (a, b, mut c) = (vec![0.0; 6], vec![0.0; 14], vec![0.0; 10]);
    let out = RowMajorMut { data: &mut c, stride: 5 };
    gemm(Level::best(), (2, 5, 3), Strided::rows(&a, 3), RowMajor { data: &b, stride: 5 }, out, Init::Zero);
}

#[test]
fn few_rows_more_than_are_looked_for_are_contenders() {
    const N: usize = 50;
    let table = numbers(1, 4_000 * N);
    let coded = CodedTable::new(&table, N);
    let (rows, masked) = ((0..4_000).collect::<Vec<u32>>(), [0; 63]);
    let mut scratch = CodedScratch::default();
    for (k, most) in [(1, 10.0), (100, 150.0)] {
        let mut of_query = |seed: u64| {
            coded.contenders(Level::best(), (&rows, &masked), &numbers(seed, N), k, &mut scratch).len()
        };
        let mean = (2..102).map(&mut of_query).sum::<usize>() as f64 / 100.0;
        assert!((k as f64..most).contains(&mean), "{mean} contenders for {k}");
    }
}
