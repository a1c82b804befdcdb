//! A dense layer: rows times a constant matrix, plus a constant row, and no less than 0 where a Relu follows.

use super::functions::plus;
use super::lanes::{Lanes, Sixteen};
use super::simd::Instructions;

/// Panels (sixteen columns each) whose sums portable code keeps at a time.
const PORTABLE: usize = 4;

/// How the products are summed: a matter of the layer's shape alone, so that it is the same for any number of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Over inputs in their order, sixteen outputs at a time. Weights: for each input a row of panels.
    Panels,
    /// Sixteen partial sums over inputs, for each output. Weights: for each output its inputs, by sixteens.
    Partial,
}

#[derive(Debug)]
pub(super) struct Dense {
    inputs: usize,
    outputs: usize,
    order: Order,
    /// Filled up with zeros.
    weights: Vec<Sixteen>,
    /// Sixteens of `weights` that belong together.
    stride: usize,
    bias: Vec<f32>,
    relu: bool,
}

impl Dense {
    /// `weight(input, output)` is the matrix.
    pub(super) fn new((inputs, outputs): (usize, usize), weight: impl Fn(usize, usize) -> f32) -> Self {
        // Panels take an instruction for each input, partial sums for each sixteenth input and output; but partial sums
        // load both factors, and their sixteen parts have to be added up for each output.
        let order = if outputs * (128 + 2 * inputs) < 16 * inputs { Order::Partial } else { Order::Panels };
        let at = |list: usize, place: usize| match order {
            Order::Panels if place < outputs => weight(list, place),
            Order::Partial if place < inputs => weight(place, list),
            _ => 0.0,
        };
        let (lists, length) = match order {
            Order::Panels => (inputs, outputs),
            Order::Partial => (outputs, inputs),
        };
        let stride = length.div_ceil(16);
        let places = (0..lists).flat_map(|list| (0..stride).map(move |chunk| (list, chunk)));
        let weights = places
            .map(|(list, chunk)| std::array::from_fn(|lane| at(list, chunk * 16 + lane)))
            .collect::<Vec<Sixteen>>();
        let bias = vec![0.0; outputs.next_multiple_of(16)];
        Self { inputs, outputs, order, weights, stride, bias, relu: false }
    }

    /// Adds a row, one number for all columns or one each. Refused after a Relu.
    pub(super) fn add(&mut self, row: &[f32]) -> bool {
        let fits = !self.relu && (row.len() == 1 || row.len() == self.outputs);
        if fits {
            for (column, bias) in self.bias[..self.outputs].iter_mut().enumerate() {
                *bias += row[if row.len() == 1 { 0 } else { column }];
            }
        }
        fits
    }

    pub(super) fn relu(&mut self) {
        self.relu = true;
    }

    /// NaN stays NaN and −0 stays −0, as in ONNX Runtime.
    #[inline(always)]
    fn finish(&self, sum: f32) -> f32 {
        if self.relu && sum < 0.0 { 0.0 } else { sum }
    }

    /// Tiles of `R` rows × `V` panels; what rows remain, one by one in tiles of `V1` panels.
    #[inline(always)]
    pub(super) fn tiled<L: Lanes, const R: usize, const V: usize, const V1: usize>(&self, x: &[f32], out: &mut [f32]) {
        if self.order == Order::Partial {
            return self.partial::<L>(x, out);
        }
        let whole = out.len() / (R * self.outputs) * R;
        let (x, x1) = x.split_at(whole * self.inputs);
        let (out, out1) = out.split_at_mut(whole * self.outputs);
        let tiles = x.chunks_exact(R * self.inputs).zip(out.chunks_exact_mut(R * self.outputs));
        tiles.for_each(|(x, out)| self.strip::<L, R, V>(x, out));
        let rows = x1.chunks_exact(self.inputs).zip(out1.chunks_exact_mut(self.outputs));
        rows.for_each(|(x, out)| self.strip::<L, 1, V1>(x, out));
    }

    #[inline(always)]
    fn strip<L: Lanes, const R: usize, const V: usize>(&self, x: &[f32], out: &mut [f32]) {
        let mut first = 0;
        while first + V <= self.stride {
            self.tile::<L, R, V>(x, first, out);
            first += V;
        }
        while first < self.stride {
            self.tile::<L, R, 1>(x, first, out);
            first += 1;
        }
    }

    #[inline(always)]
    fn tile<L: Lanes, const R: usize, const V: usize>(&self, x: &[f32], first: usize, out: &mut [f32]) {
        let (bias, _) = self.bias[first * 16..].as_chunks::<16>();
        let mut sums = [[L::splat(0.0); V]; R];
        for sums in &mut sums {
            for (sum, bias) in sums.iter_mut().zip(bias) {
                *sum = L::load(bias);
            }
        }
        let rows: [&[f32]; R] = std::array::from_fn(|row| &x[row * self.inputs..][..self.inputs]);
        // By index, as all rows are known to be this long: no check for each.
        #[allow(clippy::needless_range_loop)]
        for input in 0..self.inputs {
            let Some(panels) = self.weights[input * self.stride + first..].first_chunk::<V>() else { return };
            let weights: [L; V] = std::array::from_fn(|panel| L::load(&panels[panel]));
            for row in 0..R {
                let value = L::splat(rows[row][input]);
                for panel in 0..V {
                    sums[row][panel] = sums[row][panel].plus(value, weights[panel]);
                }
            }
        }
        for (sums, out) in sums.iter().zip(out.chunks_exact_mut(self.outputs)) {
            for (sums, out) in sums.iter().zip(out[first * 16..].chunks_mut(16)) {
                self.put(sums.store(), out);
            }
        }
    }

    /// Up to sixteen columns.
    #[inline(always)]
    fn put(&self, mut sums: Sixteen, out: &mut [f32]) {
        for sum in &mut sums {
            *sum = self.finish(*sum);
        }
        match out.first_chunk_mut::<16>() {
            Some(out) => *out = sums,
            None => out.copy_from_slice(&sums[..out.len()]),
        }
    }

    #[inline(always)]
    fn partial<L: Lanes>(&self, x: &[f32], out: &mut [f32]) {
        for (x, out) in x.chunks_exact(self.inputs).zip(out.chunks_exact_mut(self.outputs)) {
            let (whole, rest) = x.as_chunks::<16>();
            let mut last = [0.0; 16];
            last[..rest.len()].copy_from_slice(rest);
            let layer = self.weights.chunks_exact(self.stride).zip(&self.bias);
            for ((weights, bias), out) in layer.zip(out) {
                let mut sums = L::splat(0.0);
                for (x, weights) in whole.iter().zip(weights) {
                    sums = sums.plus(L::load(x), L::load(weights));
                }
                if let Some(weights) = weights.get(whole.len()) {
                    sums = sums.plus(L::load(&last), L::load(weights));
                }
                let sums = sums.store();
                let eight: [f32; 8] = std::array::from_fn(|lane| sums[lane] + sums[lane + 8]);
                let four: [f32; 4] = std::array::from_fn(|lane| eight[lane] + eight[lane + 4]);
                *out = self.finish((four[0] + four[2]) + (four[1] + four[3]) + bias);
            }
        }
    }

    /// Without vector registers by name: sums in memory, which any compiler adds to several at a time.
    #[inline(always)]
    pub(super) fn portable<S: Instructions>(&self, x: &[f32], out: &mut [f32]) {
        if self.order == Order::Partial {
            return self.partial::<Sixteen>(x, out);
        }
        for (x, out) in x.chunks_exact(self.inputs).zip(out.chunks_exact_mut(self.outputs)) {
            for (part, out) in out.chunks_mut(PORTABLE * 16).enumerate() {
                let (first, count) = (part * PORTABLE, out.len().div_ceil(16));
                let (bias, _) = self.bias[first * 16..].as_chunks::<16>();
                let mut sums = [[0.0; 16]; PORTABLE];
                sums[..count].copy_from_slice(&bias[..count]);
                for (value, weights) in x.iter().zip(self.weights.chunks_exact(self.stride)) {
                    for (sums, weights) in sums.iter_mut().zip(&weights[first..][..count]) {
                        for (sum, weight) in sums.iter_mut().zip(weights) {
                            *sum = plus::<S>(*value, *weight, *sum);
                        }
                    }
                }
                for (sums, out) in sums.iter().zip(out.chunks_mut(16)) {
                    self.put(*sums, out);
                }
            }
        }
    }
}
