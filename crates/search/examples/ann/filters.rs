//! Filters that keep some share of the rows.

use vb_search::ann::Request;

use super::Bench;
use super::data::Random;
use super::measure::{Run, Segment};

/// Shares of the rows that are kept.
const SHARES: [f64; 8] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 0.9];
/// Rows that others are counted to the nearest of.
const CENTRES: usize = 64;

impl Bench {
    /// Random rows, the first rows, those that lie in one direction, those of some clusters.
    pub(crate) fn filters(&self, segment: &Segment) {
        type Order<'a> = (&'a str, Box<dyn Fn(&Bench) -> Vec<f64>>);
        let orders: [Order<'_>; 4] = [
            ("random", Box::new(Self::by_chance)),
            ("range", Box::new(|bench| (0..bench.set.rows()).map(|row| row as f64).collect())),
            ("direction", Box::new(Self::by_direction)),
            ("clusters", Box::new(Self::by_cluster)),
        ];
        for (name, order) in orders {
            let order = order(self);
            let filters = SHARES.map(|share| first(&order, share));
            let truth = self.exact(&self.set.queries, 10, &filters);
            for ((share, filter), truth) in SHARES.iter().zip(&filters).zip(&truth) {
                let mask = segment.mask(filter);
                let run = Run { mask: Some(&mask), ..self.run(segment, &self.set.queries, truth) };
                let figures = run.figures(&Request::nearest(10), 3);
                println!("{name:9} {:5.1} % {figures}", share * 100.0);
            }
        }
    }

    fn by_chance(&self) -> Vec<f64> {
        let mut random = Random(5);
        (0..self.set.rows()).map(|_| random.next() as f64).collect()
    }

    /// By the product with some row.
    fn by_direction(&self) -> Vec<f64> {
        let towards = self.set.row((self.set.rows() / 3) as u32);
        let vectors = self.set.base.chunks(self.set.dimension);
        vectors.map(|vector| -f64::from(self.kernels.dot(vector, towards))).collect()
    }

    /// By the number of the nearest of some rows, then by chance.
    fn by_cluster(&self) -> Vec<f64> {
        let mut random = Random(7);
        let centres = (0..CENTRES).flat_map(|_| self.set.row(random.below(self.set.rows()) as u32));
        let centres: Vec<f32> = centres.copied().collect();
        let mut scores = vec![0.0; CENTRES];
        let vectors = self.set.base.chunks(self.set.dimension);
        let mut number = |vector: &[f32]| {
            self.kernels.dot_rows(vector, &centres, &mut scores);
            let best = (0..CENTRES).max_by(|a, b| scores[*a].total_cmp(&scores[*b]));
            best.expect("there are centres") as f64 + random.next() as f64 / 2f64.powi(64)
        };
        vectors.map(&mut number).collect()
    }
}

/// The share of rows that come first.
fn first(order: &[f64], share: f64) -> Vec<bool> {
    let count = ((order.len() as f64 * share) as usize).max(1);
    let mut sorted = order.to_vec();
    let (_, last, _) = sorted.select_nth_unstable_by(count - 1, f64::total_cmp);
    order.iter().map(|place| *place <= *last).collect()
}
