use super::*;
use crate::matrix::{PackedWeights, pack, pack_ternary};
use crate::workers::{Alone, Threads};

fn value(i: usize) -> f32 {
    ((i * 7919 + i / 11 * 17 + 29) % 2003) as f32 / 1001.0 - 1.0
}

/// A linear map as numbers, and packed.
struct Map {
    inputs: usize,
    outputs: usize,
    codes: Vec<i8>,
    packed: PackedWeights,
    bias: Vec<f32>,
}

impl Map {
    fn new(inputs: usize, outputs: usize, seed: usize, most: f32) -> Self {
        let codes: Vec<i8> = (0..inputs * outputs).map(|i| (value(i + seed) * most) as i8).collect();
        let scales: Vec<f32> = (0..outputs).map(|i| 0.002 + 0.001 * value(i + seed).abs()).collect();
        let packed = pack(&codes, &scales).unwrap();
        let mut bias: Vec<f32> = (0..outputs).map(|i| 0.1 * value(i + 3 * seed)).collect();
        bias.resize(packed.scales.len(), 0.0);
        Self { inputs, outputs, codes, packed, bias }
    }

    fn matrix(&self) -> Matrix<'_> {
        let shape = self.packed.shape().map(|n| n as i64);
        Matrix::new(&shape, &self.packed.codes, &self.packed.scales, &self.packed.sums, &self.bias).unwrap()
    }

    /// By the definition at the head of the module, in 64 bits where nothing says otherwise.
    fn apply(&self, x: &[f64]) -> Vec<f64> {
        let largest = x.iter().fold(0f64, |m, v| m.max(v.abs()));
        let codes: Vec<f64> = x.iter().map(|v| (v * 127.0 / largest).round_ties_even()).collect();
        let column = |c: usize| {
            let sum: f64 = (0..self.inputs).map(|i| codes[i] * f64::from(self.codes[i * self.outputs + c])).sum();
            sum * largest / 127.0 * f64::from(self.packed.scales[c]) + f64::from(self.bias[c])
        };
        (0..self.outputs).map(column).collect()
    }
}

/// A layer's parts.
struct Weights {
    hidden: usize,
    heads: usize,
    head_size: usize,
    maps: [Map; 6],
    query_key_value: (PackedWeights, Vec<f32>),
    gain: Vec<f32>,
}

impl Weights {
    fn new(hidden: usize, heads: usize, inner: usize) -> Self {
        Self::with_heads(hidden, (heads, hidden / heads), inner)
    }

    fn with_heads(hidden: usize, heads: (usize, usize), inner: usize) -> Self {
        Self::of_codes(hidden, heads, inner, 127.0)
    }

    /// Codes are below `most`.
    fn of_codes(hidden: usize, (heads, head_size): (usize, usize), inner: usize, most: f32) -> Self {
        let attended = heads * head_size;
        let map = |inputs, outputs, seed| Map::new(inputs, outputs, seed, most);
        let maps = [
            map(hidden, attended, 1),
            map(hidden, attended, 2),
            map(hidden, attended, 3),
            map(attended, hidden, 4),
            map(hidden, inner, 5),
            map(inner, hidden, 6),
        ];
        let (mut packed, mut bias) = (PackedWeights::default(), Vec::new());
        for map in &maps[..3] {
            packed.append(map.packed.clone());
            bias.extend(&map.bias);
        }
        let gain = (0..hidden).map(|i| 1.0 + 0.2 * value(i)).collect();
        Self { hidden, heads, head_size, maps, query_key_value: (packed, bias), gain }
    }

    fn layer(&self, first_only: bool) -> Layer<'_> {
        let (packed, bias) = &self.query_key_value;
        let shape = packed.shape().map(|n| n as i64);
        let norm = Norm { gain: &self.gain, bias: &self.gain };
        let layer = Layer {
            hidden: self.hidden,
            heads: self.heads,
            head_size: self.head_size,
            activation: Activation::Gelu,
            epsilon: 1e-12,
            query_key_value: Matrix::new(&shape, &packed.codes, &packed.scales, &packed.sums, bias).unwrap(),
            attention_output: self.maps[3].matrix(),
            attention_norm: norm,
            up: self.maps[4].matrix(),
            down: self.maps[5].matrix(),
            output_norm: norm,
            first_only,
        };
        layer.check().unwrap()
    }

    fn normed(&self, x: Vec<f64>) -> Vec<f64> {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / x.len() as f64;
        let gain = self.gain.iter().map(|gain| f64::from(*gain));
        x.iter().zip(gain).map(|(v, gain)| (v - mean) / variance.sqrt() * gain + gain).collect()
    }

    /// The layer over one text, from the papers' formulas.
    fn expected(&self, text: &[f32]) -> Vec<f64> {
        let size = self.head_size;
        let rows: Vec<Vec<f64>> =
            text.chunks(self.hidden).map(|row| row.iter().map(|v| f64::from(*v)).collect()).collect();
        let [query, key, value] =
            [0, 1, 2].map(|part| rows.iter().map(|row| self.maps[part].apply(row)).collect::<Vec<_>>());
        let mut out = Vec::new();
        for (row, x) in rows.iter().enumerate() {
            let mut context = vec![0.0; self.heads * size];
            for head in 0..self.heads {
                let part = head * size..(head + 1) * size;
                let score = |key: &Vec<f64>| {
                    let pairs = query[row][part.clone()].iter().zip(&key[part.clone()]);
                    (pairs.map(|(a, b)| a * b).sum::<f64>() / (size as f64).sqrt()).exp()
                };
                let weights: Vec<f64> = key.iter().map(score).collect();
                let whole: f64 = weights.iter().sum();
                for (weight, value) in weights.iter().zip(&value) {
                    for j in part.clone() {
                        context[j] += weight / whole * value[j];
                    }
                }
            }
            let attended = self.maps[3].apply(&context);
            let x = self.normed(x.iter().zip(&attended).map(|(a, b)| a + b).collect());
            let inner = self.maps[4].apply(&x).into_iter();
            let gelu = |v: f64| {
                let mut one = [v as f32];
                rows::gelu(Isa::Portable, &mut one);
                f64::from(one[0])
            };
            let fed = self.maps[5].apply(&inner.map(gelu).collect::<Vec<_>>());
            out.extend(self.normed(x.iter().zip(&fed).map(|(a, b)| a + b).collect()));
        }
        out
    }
}

fn texts(lengths: &[usize]) -> Vec<Range<usize>> {
    let mut start = 0;
    let next = |length: &usize| {
        start += length;
        start - length..start
    };
    lengths.iter().map(next).collect()
}

fn run(layer: &Layer, isa: Isa, workers: &dyn Workers, lengths: &[usize], x: &[f32]) -> Vec<f32> {
    let (mut x, rows) = (x.to_vec(), texts(lengths));
    layer.run(isa, workers, Texts { rows: &rows, bias: None }, &mut x, &mut Scratch::default());
    x
}

#[test]
fn a_layer_is_what_the_papers_say() {
    // The last two as after heads were left out, and with more of them than the hidden size holds.
    for (hidden, heads, inner) in
        [(32, (4, 8), 64), (36, (3, 12), 50), (40, (2, 20), 100), (48, (2, 12), 80), (36, (5, 12), 50)]
    {
        let weights = Weights::with_heads(hidden, heads, inner);
        let x: Vec<f32> = (0..9 * hidden).map(value).collect();
        let found = run(&weights.layer(false), Isa::best(), &Alone, &[9], &x);
        // A code may fall on the other side of a half, so single values may differ by a step.
        let expected = weights.expected(&x);
        let errors: Vec<f64> = found.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs()).collect();
        let mean = errors.iter().sum::<f64>() / errors.len() as f64;
        assert!(mean < 2e-3 && errors.iter().all(|error| *error < 0.1), "{hidden}: mean error {mean}");
    }
}

#[test]
fn every_path_gives_the_same_bits() {
    for (hidden, heads, inner) in [(64, (4, 16), 96), (36, (3, 12), 50), (48, (2, 12), 80)] {
        let weights = Weights::with_heads(hidden, heads, inner);
        let lengths = [5, 1, 17, 3];
        let x: Vec<f32> = (0..26 * hidden).map(value).collect();
        for first_only in [false, true] {
            let layer = weights.layer(first_only);
            let expected = run(&layer, Isa::Portable, &Alone, &lengths, &x);
            for isa in Isa::available() {
                assert!(run(&layer, isa, &Alone, &lengths, &x) == expected, "{isa:?}");
                assert!(run(&layer, isa, &Threads(3), &lengths, &x) == expected, "{isa:?} with threads");
            }
        }
    }
}

/// Long enough that there is work for several threads.
#[test]
fn threads_change_nothing() {
    let weights = Weights::new(64, 4, 512);
    let lengths = [300, 180];
    let x: Vec<f32> = (0..480 * 64).map(value).collect();
    for first_only in [false, true] {
        let layer = weights.layer(first_only);
        let expected = run(&layer, Isa::best(), &Alone, &lengths, &x);
        for threads in [2, 3, 8] {
            assert!(run(&layer, Isa::best(), &Threads(threads), &lengths, &x) == expected, "{threads}");
        }
    }
}

#[test]
fn a_text_does_not_know_its_mates_and_the_first_token_not_the_others() {
    let weights = Weights::new(48, 3, 80);
    let lengths = [130, 2, 7, 1];
    let x: Vec<f32> = (0..140 * 48).map(value).collect();
    let (layer, first_only) = (weights.layer(false), weights.layer(true));
    let together = run(&layer, Isa::best(), &Alone, &lengths, &x);
    let firsts = run(&first_only, Isa::best(), &Alone, &lengths, &x);
    for (number, text) in texts(&lengths).into_iter().enumerate() {
        let rows = text.start * 48..text.end * 48;
        let alone = run(&layer, Isa::best(), &Alone, &[text.len()], &x[rows.clone()]);
        assert!(together[rows] == alone, "text {number}");
        assert!(firsts[number * 48..(number + 1) * 48] == alone[..48], "first token of {number}");
    }
}

/// A layer of codes -1, 0 and 1 gives the same bits however they are stored, on every path, with any threads, and
/// whatever the memory held.
#[test]
fn ternary_codes_of_2_bits_change_nothing() {
    for (hidden, heads, inner) in [(64, (4, 16), 96), (36, (3, 12), 50)] {
        let weights = Weights::of_codes(hidden, heads, inner, 1.9);
        let [.., out, up, down] = &weights.maps;
        let all = [&weights.query_key_value.0, &out.packed, &up.packed, &down.packed];
        let bytes = all.map(|packed| pack_ternary(&packed.codes).unwrap());
        let x: Vec<f32> = (0..26 * hidden).map(value).collect();
        let lengths = [5, 1, 17, 3];
        for first_only in [false, true] {
            let layer = weights.layer(first_only);
            let maps = [layer.query_key_value, layer.attention_output, layer.up, layer.down];
            let [query_key_value, attention_output, up, down] = std::array::from_fn(|map| {
                let (shape, of) = (all[map].shape().map(|n| n as i64), maps[map]);
                Matrix::ternary(&shape[..3], &bytes[map], of.scales, of.sums, of.bias).unwrap()
            });
            let ternary = Layer { query_key_value, attention_output, up, down, ..layer }.check().unwrap();
            let expected = run(&layer, Isa::Portable, &Alone, &lengths, &x);
            let mut scratch = Scratch::default();
            for isa in Isa::available() {
                for workers in [&Alone as &dyn Workers, &Threads(3)] {
                    let (mut x, rows) = (x.clone(), texts(&lengths));
                    ternary.run(isa, workers, Texts { rows: &rows, bias: None }, &mut x, &mut scratch);
                    assert!(x[..expected.len()] == expected, "{isa:?}, {hidden}, {first_only}");
                }
            }
        }
    }
}

#[test]
fn memory_that_was_used_before_changes_nothing() {
    let weights = Weights::new(36, 3, 50);
    let x: Vec<f32> = (0..20 * 36).map(value).collect();
    let layer = weights.layer(false);
    let mut scratch = Scratch::default();
    for length in [20, 3, 20, 1, 11] {
        let mut rows = x[..length * 36].to_vec();
        let text = texts(&[length]);
        layer.run(Isa::best(), &Alone, Texts { rows: &text, bias: None }, &mut rows, &mut scratch);
        assert!(rows == run(&layer, Isa::best(), &Alone, &[length], &x[..length * 36]), "{length}");
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let weights = Weights::new(32, 4, 64);
    let other = Weights::new(48, 4, 64);
    let good = weights.layer(false);
    let nan = vec![f32::NAN; 32];
    for bad in [
        Layer { epsilon: f32::NAN, ..good },
        Layer { epsilon: f32::INFINITY, ..good },
        Layer { epsilon: -1e-12, ..good },
        Layer { attention_norm: Norm { gain: &nan, ..good.attention_norm }, ..good },
        Layer { output_norm: Norm { bias: &nan, ..good.output_norm }, ..good },
        Layer { heads: 5, ..good },
        Layer { heads: 0, ..good },
        Layer { head_size: 0, ..good },
        Layer { head_size: 16, ..good },
        Layer { head_size: usize::MAX, ..good },
        Layer { hidden: 48, ..good },
        Layer { query_key_value: good.attention_output, ..good },
        Layer { up: other.layer(false).up, ..good },
        Layer { down: good.attention_output, ..good },
        Layer { output_norm: other.layer(false).output_norm, ..good },
    ] {
        assert!(bad.check().is_err());
    }
}

/// What a layer gives is part of the format: the same bits on every processor and from every compiler. This runs on
/// arm64 too (`cargo xtask cross`).
#[test]
fn every_processor_gives_these_bits() {
    let weights = Weights::new(36, 3, 50);
    let x: Vec<f32> = (0..30 * 36).map(value).collect();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for (first_only, activation) in [(false, Activation::Gelu), (true, Activation::GeluTanh), (false, Activation::Relu)]
    {
        let layer = Layer { activation, ..weights.layer(first_only) };
        for value in run(&layer, Isa::best(), &Alone, &[17, 1, 12], &x) {
            for byte in value.to_bits().to_le_bytes() {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
            }
        }
    }
    assert_eq!(hash, 0xa907_aaf8_f211_8d75, "{hash:#018x}");
}
