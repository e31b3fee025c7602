use super::*;

fn value(i: usize) -> f32 {
    ((i * 7919 + 13) % 4001) as f32 * 0.001 - 2.0
}

/// By the definition, in 64 bits.
fn expected(head: Head) -> Vec<f64> {
    let mut out = Vec::new();
    for query in 0..head.asking {
        let scores: Vec<f64> = (0..head.tokens)
            .map(|key| {
                let products = (0..head.size).map(|j| {
                    f64::from(head.queries[query * head.query_stride + j]) * f64::from(head.keys[key * head.stride + j])
                });
                let bias = head
                    .bias
                    .map_or(0.0, |bias| f64::from(bias.values[bias.places[query] * bias.length + bias.places[key]]));
                products.sum::<f64>() / (head.size as f64).sqrt() + bias
            })
            .collect();
        let largest = scores.iter().copied().fold(f64::MIN, f64::max);
        let weights: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
        let whole: f64 = weights.iter().sum();
        out.extend((0..head.size).map(|j| {
            let terms = weights.iter().enumerate();
            terms.map(|(key, w)| w / whole * f64::from(head.values[key * head.stride + j])).sum::<f64>()
        }));
    }
    out
}

/// In a buffer with a column on either side, which stays as it is.
fn attended(isa: Isa, head: Head) -> Vec<f32> {
    let stride = head.size + 2;
    let mut out = vec![9.0; head.asking * stride];
    let (floats, pairs) = scratch_size(head.tokens, head.size);
    let contexts = Contexts { buffer: Parts::new(&mut out), start: 1, stride };
    attend(isa, head, contexts, &mut vec![7.0; floats], &mut vec![7; pairs]);
    assert!(out.chunks(stride).all(|row| row[0] == 9.0 && row[stride - 1] == 9.0), "written beside the head");
    out.chunks(stride).flat_map(|row| &row[1..stride - 1]).copied().collect()
}

#[test]
fn it_is_attention_and_the_same_on_every_path() {
    for (tokens, size, asking) in
        [(1, 4, 1), (2, 26, 2), (5, 25, 3), (7, 32, 7), (16, 64, 1), (17, 32, 17), (50, 80, 50)]
    {
        for biased in [false, true] {
            let (stride, length) = (3 * size + 5, tokens + 3);
            let numbers: Vec<f32> = (0..tokens * stride).map(value).collect();
            let bias: Vec<f32> = (0..length * length).map(|i| value(i + 1)).collect();
            let places: Vec<usize> = (0..tokens).map(|token| token + token / 5 % 3).collect();
            let head = Head {
                queries: &numbers,
                keys: &numbers[size..],
                values: &numbers[2 * size..],
                stride,
                query_stride: stride,
                size,
                tokens,
                asking,
                bias: biased.then_some(ScoreBias { values: &bias, length, places: &places }),
            };
            let run = |isa| attended(isa, head);
            let out = run(Isa::Portable);
            for (i, expected) in expected(head).into_iter().enumerate() {
                let found = f64::from(out[i]);
                assert!((found - expected).abs() < 2e-3, "{tokens} {size} {biased}: {found} and not {expected}");
            }
            for isa in Isa::available() {
                assert!(run(isa) == out, "{isa:?} {tokens} {size}");
            }
        }
    }
}

#[test]
fn the_largest_sums_do_not_leave_32_bits() {
    for (tokens, size) in [(1, 16), (3, 17), (600, 16), (40, 256), (5, 4096), (20_000, 2)] {
        for sign in [1.0, -1.0] {
            let numbers = vec![sign * 3.0; tokens * size];
            let head = Head {
                queries: &numbers,
                keys: &numbers,
                values: &numbers,
                stride: size,
                query_stride: size,
                size,
                tokens,
                asking: 1,
                bias: None,
            };
            for isa in Isa::available() {
                for found in attended(isa, head) {
                    // Weights of 20,000 tokens are codes of 13 each.
                    assert!((found / (sign * 3.0) - 1.0).abs() < 0.01, "{isa:?} {tokens} {size}: {found}");
                }
            }
        }
    }
}

#[test]
fn heads_of_zeros_give_zeros_and_weights_of_even_scores() {
    let (zeros, values) = (vec![0.0; 5 * 16], (0..5 * 16).map(value).collect::<Vec<_>>());
    let head = Head {
        queries: &zeros,
        keys: &zeros,
        values: &values,
        stride: 16,
        query_stride: 16,
        size: 16,
        tokens: 5,
        asking: 5,
        bias: None,
    };
    let expected = expected(head);
    for isa in Isa::available() {
        for (found, expected) in attended(isa, head).into_iter().zip(&expected) {
            assert!((f64::from(found) - expected).abs() < 1e-3, "{found} and not {expected}");
        }
        assert_eq!(attended(isa, Head { values: &zeros, ..head }), [0.0; 80]);
    }
}

#[test]
fn scores_that_are_far_apart_leave_one_key() {
    let numbers: Vec<f32> = (0..3 * 12).map(|i| if i % 12 < 8 { (i / 12) as f32 * 300.0 } else { i as f32 }).collect();
    let head = Head {
        queries: &numbers[24..],
        keys: &numbers[4..],
        values: &numbers[8..],
        stride: 12,
        query_stride: 12,
        size: 4,
        tokens: 3,
        asking: 1,
        bias: None,
    };
    for isa in Isa::available() {
        let out = attended(isa, head);
        for (found, expected) in out.into_iter().zip([32.0, 33.0, 34.0, 35.0]) {
            assert!((found - expected).abs() < 0.01, "{found} and not {expected}");
        }
    }
}
