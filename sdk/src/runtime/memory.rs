//! How much memory a model needs, and how to make do with less.
//!
//! ONNX Runtime does not say beforehand what it will allocate, so this is reckoned from the shape of the network. The
//! factors were fitted to private memory measured with version 1.24.4 on x86-64 Linux, for models of 2 to 12 layers
//! with weights of 32 and of 8 bits, and rounded up; `tests/memory` holds them against measurements.

use super::graph::ExternalTensor;
use crate::bundle::{Batching, Manifest, Task};
use crate::{Error, Result, int8};

/// Tokens of one batch, padding included, where memory does not matter. Larger batches are no faster on a CPU.
const BATCH_TOKENS: usize = 2048;
/// A batch that gives values for each token gives at most this many bytes of them, where it has several rows.
const OUTPUT_BYTES: u64 = 64 << 20;

/// Tokens of a row that a causal model reads at a time.
pub(crate) const CHUNK: usize = 256;
/// Bytes of logits that a causal model gives at a time, unless one token has more.
pub(crate) const LOGIT_BYTES: usize = 16 << 20;

/// How many rows of a causal model run together, each of so many tokens, where `batch_tokens` may: one has logits of all
/// `vocabulary` tokens at a time.
pub(crate) fn rows_together(batch_tokens: usize, tokens: usize, vocabulary: usize) -> usize {
    let by_logits = LOGIT_BYTES / (4 * vocabulary.max(1));
    (batch_tokens / tokens.max(1)).min(by_logits).max(1)
}

const MIB: u64 = 1 << 20;
/// Numbers of element types in onnx.proto.
const UINT8: u64 = 2;
const FLOAT16: u64 = 10;
/// Bytes of a loaded tokenizer for each byte of its file.
const TOKENIZER: u64 = 16;
/// Bytes of a session for each byte of the graph.
const GRAPH: u64 = 10;
/// What a session needs before anything else.
const SESSION: u64 = 2 * MIB;

/// What a model may use, and how it keeps to that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryPlan {
    /// The budget that was set, in bytes.
    pub budget: Option<u64>,
    /// The most private memory that the model is expected to use, in bytes: all sessions at work on the longest
    /// texts. Weights are not in it, which stay in the mapped file, nor are texts and answers.
    pub expected: u64,
    /// Sessions that may run at one time.
    pub sessions: usize,
    /// Tokens of one batch, padding included; a text alone may have more.
    pub batch_tokens: usize,
    /// Whether weights are rearranged for speed, which takes the memory of a copy.
    pub prepacked: bool,
}

/// What there is to know of a model's size.
pub(crate) struct Size {
    /// Bytes of tokenizer.json.
    pub tokenizer: u64,
    /// Bytes of the graph.
    pub graph: u64,
    /// Bytes of the matrices that can be rearranged.
    pub matrices: u64,
    /// Bytes of the largest of them, and of its fp32 form where it has codes by block.
    pub largest: u64,
    /// Bytes of weights of 16 bits that each session copies, and of the fp32 that it makes of them.
    pub widened: u64,
    /// Columns of the outputs that have a row for each token.
    pub columns: u64,
    /// Bytes kept from call to call.
    pub kept: u64,
    /// Threads of a session.
    pub threads: u64,
}

impl Size {
    /// The size of a model whose graph has these external tensors.
    pub(super) fn new(
        manifest: &Manifest,
        labels: usize,
        tokenizer: usize,
        graph: usize,
        tensors: &[ExternalTensor],
    ) -> Size {
        // Codes by block have three axes.
        let is_matrix = |tensor: &&ExternalTensor| {
            tensor.multiplied && (tensor.shape.len() == 2 || tensor.shape.len() == 3 && tensor.element == UINT8)
        };
        let is_widened = |tensor: &ExternalTensor| tensor.folded && tensor.element == FLOAT16;
        // Codes by block are rearranged with their scales, sums and something to spare.
        let matrices = tensors.iter().filter(is_matrix).map(|tensor| {
            tensor.range.len() as u64 * if tensor.element == UINT8 { 3 } else { 1 + u64::from(is_widened(tensor)) }
        });
        // While they are used, codes that were not rearranged are, and become fp32; those of 4 bits grow the most. The
        // system's heap keeps some of what the one before took, now more and now less.
        let largest = tensors.iter().filter(is_matrix).map(|tensor| {
            tensor.range.len() as u64 * if tensor.element == UINT8 { 24 } else { 1 + u64::from(is_widened(tensor)) }
        });
        let widened = tensors.iter().filter(|tensor| is_widened(tensor)).map(|tensor| 3 * tensor.range.len() as u64);
        let hidden = manifest.architecture.hidden_size;
        let columns = match manifest.task {
            Task::FillMask => manifest.architecture.vocab_size,
            // What a run gives is bounded by itself: LOGIT_BYTES.
            Task::Generation => 0,
            Task::TokenClassification => labels,
            Task::QuestionAnswering => 2,
            Task::Replaced => 1,
            _ if manifest.outputs.first().is_some_and(|output| output.axes.len() == 3) => hidden,
            _ => 0,
        };
        Size {
            tokenizer: tokenizer as u64,
            graph: graph as u64,
            largest: largest.max().unwrap_or(0),
            matrices: matrices.sum(),
            widened: widened.sum(),
            columns: columns as u64,
            kept: 0,
            threads: 1,
        }
    }
}

/// What a run of one row of `tokens` tokens needs.
fn row(manifest: &Manifest, size: &Size, tokens: u64) -> u64 {
    let a = &manifest.architecture;
    let [hidden, intermediate, heads] =
        [a.hidden_size, a.intermediate_size, a.attention_heads].map(|value| value as u64);
    // Hidden states, projections and the feed-forward part; attention scores, as they are and as probabilities; the
    // outputs, in the graph and copied out of it. Layers of our own keep only hidden states for each row, and scores
    // only where a bias is added to them.
    // Products with weights by block round their input to codes first.
    let by_block = u64::from(manifest.operators.iter().any(|operator| operator == "com.microsoft:MatMulNBits"));
    let (states, scores) = match (int8::has_layers(manifest), a.family.as_str()) {
        (true, "mpnet") => (6 * hidden, 8 * heads),
        (true, _) => (6 * hidden, 0),
        (false, _) => (8 * hidden + (3 + by_block) * intermediate, 6 * heads + 8),
    };
    // A causal model reads some tokens of a row at a time, and keeps keys and values of all of them.
    let (read, kept) = match &manifest.generation {
        Some(_) => (tokens.min(CHUNK as u64), keys_and_values(manifest, tokens).saturating_add(2 * LOGIT_BYTES as u64)),
        None => (tokens, 0),
    };
    let states = read.saturating_mul(states * 4);
    let scores = read.saturating_mul(tokens).saturating_mul(scores);
    let outputs = tokens.saturating_mul(size.columns * 9);
    let sum = states.saturating_add(scores).saturating_add(outputs).saturating_add(kept);
    sum.saturating_add(sum / 8)
}

/// Bytes of what a causal model keeps of a row; none for others.
fn keys_and_values(manifest: &Manifest, tokens: u64) -> u64 {
    let (a, Some(spec)) = (&manifest.architecture, &manifest.generation) else { return 0 };
    let token = (a.layers as u64).saturating_mul(a.attention_heads as u64).saturating_mul(spec.head_size as u64 * 8);
    tokens.saturating_mul(token)
}

/// What a session of such layers keeps to compute in, however large a batch is: some rows of queries, keys, values,
/// context and sums, and of the feed-forward part; for each thread a head, and columns of ternary codes as bytes. Heads
/// together are taken to be no wider than the hidden states.
fn layer_scratch(manifest: &Manifest, threads: u64) -> u64 {
    if !int8::has_layers(manifest) {
        return 0;
    }
    let a = &manifest.architecture;
    let [hidden, intermediate, tokens] = [a.hidden_size, a.intermediate_size, manifest.max_tokens].map(|v| v as u64);
    let together = int8::ROWS as u64;
    let rows = tokens.max(together);
    let shared = rows.saturating_mul(hidden * 32).saturating_add(together.saturating_mul(intermediate * 5));
    // Keys and values of a head as codes of 16 bits, eight queries, their scores and weights; rows that are narrow or of an
    // odd width are copied once more.
    let size = hidden / (a.attention_heads as u64).max(1);
    let width = size.next_multiple_of(16);
    let copied = if size < 16 || size % 2 == 1 { 12 * width } else { 0 };
    let head = tokens.next_multiple_of(16).saturating_mul(4 * width + 48 + copied) + 16 * width;
    let columns = match int8::has_ternary_layers(manifest) {
        true => int8::COLUMNS_UNPACKED as u64 * hidden.max(intermediate),
        false => 0,
    };
    shared.saturating_add(threads.saturating_mul(head.saturating_add(columns)))
}

/// Plans for a budget; without one, what is asked for.
pub(crate) fn plan(manifest: &Manifest, size: &Size, sessions: usize, budget: Option<u64>) -> Result<MemoryPlan> {
    let longest = manifest.max_tokens as u64;
    let by_outputs = OUTPUT_BYTES.checked_div(size.columns * 4).unwrap_or(u64::MAX);
    let batch_tokens = (BATCH_TOKENS as u64).min(by_outputs).max(1);
    let one_row = row(manifest, size, longest);
    // A batch of rows costs what its rows cost; rows of the greatest length cost most for each token.
    let run = |tokens: u64| match manifest.batching {
        Batching::Padded => one_row.max(one_row.saturating_mul(tokens) / longest.max(1)),
        Batching::Single => one_row,
    };
    let session = (SESSION + GRAPH * size.graph + size.widened).saturating_add(layer_scratch(manifest, size.threads));
    // A beginning that several texts go on from is held beside the one that goes on.
    let session = session.saturating_add(keys_and_values(manifest, longest));
    let fixed = (TOKENIZER * size.tokenizer).saturating_add(size.kept);
    let expected = |sessions: u64, tokens: u64, prepacked: bool| {
        // A matrix that was not rearranged beforehand is, piece by piece, while it is used.
        let (packed, session) = match prepacked {
            true => (size.matrices * 9 / 8, session),
            false => (0, session.saturating_add(2 * size.largest)),
        };
        (fixed + packed).saturating_add(sessions.saturating_mul(session.saturating_add(run(tokens))))
    };
    let plan = |sessions: u64, tokens: u64, prepacked: bool| MemoryPlan {
        budget,
        expected: expected(sessions, tokens, prepacked),
        sessions: sessions as usize,
        batch_tokens: tokens as usize,
        prepacked,
    };
    let wanted = sessions as u64;
    let Some(limit) = budget else { return Ok(plan(wanted, batch_tokens, true)) };

    // First go large batches, then sessions, last the rearranged weights: in the order of what they cost in speed.
    let smallest_batch = 1;
    for prepacked in [true, false] {
        for sessions in (1..=wanted).rev() {
            if expected(sessions, smallest_batch, prepacked) > limit {
                continue;
            }
            // The largest batch that fits.
            let (mut low, mut high) = (smallest_batch, batch_tokens);
            while low < high {
                let middle = (low + high).div_ceil(2);
                if expected(sessions, middle, prepacked) <= limit { low = middle } else { high = middle - 1 }
            }
            return Ok(plan(sessions, low, prepacked));
        }
    }
    Err(Error::MemoryBudget { budget: limit, needed: expected(1, smallest_batch, false) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(task: Task) -> Manifest {
        let mut manifest = crate::bundle::test_manifest();
        manifest.task = task;
        manifest.max_tokens = 512;
        let a = &mut manifest.architecture;
        (a.hidden_size, a.intermediate_size, a.attention_heads, a.vocab_size) = (384, 1536, 12, 30522);
        manifest
    }

    const SIZE: Size = Size {
        tokenizer: 466_000,
        graph: 100_000,
        matrices: 42_500_000,
        largest: 2_400_000,
        widened: 0,
        columns: 0,
        kept: 0,
        threads: 1,
    };

    #[test]
    fn without_a_budget_all_is_as_asked_for() {
        let plan = plan(&manifest(Task::TextClassification), &SIZE, 4, None).unwrap();
        assert_eq!((plan.sessions, plan.batch_tokens, plan.prepacked), (4, 2048, true));
        assert!(plan.expected > 200 * MIB);
    }

    #[test]
    fn a_budget_is_kept_by_giving_up_speed_in_order() {
        let manifest = manifest(Task::TextClassification);
        let mut last: Option<MemoryPlan> = None;
        let mut refused = None;
        for mib in (1..800).rev() {
            match plan(&manifest, &SIZE, 4, Some(mib * MIB)) {
                Ok(plan) => {
                    assert!(plan.expected <= mib * MIB && plan.sessions >= 1 && plan.batch_tokens >= 1);
                    if let Some(last) = last {
                        assert!(last.prepacked || !plan.prepacked, "{plan:?} after {last:?}");
                        let given_up_now = last.prepacked && !plan.prepacked;
                        assert!(given_up_now || plan.sessions <= last.sessions, "{plan:?} after {last:?}");
                    }
                    last = Some(plan);
                }
                Err(error) => {
                    refused.get_or_insert((mib, error));
                }
            }
        }
        let (mib, error) = refused.unwrap();
        let Error::MemoryBudget { budget, needed } = error else { panic!("{error}") };
        assert_eq!(budget, mib * MIB);
        // The figure given is the one that is needed.
        let least = plan(&manifest, &SIZE, 4, Some(needed)).unwrap();
        assert_eq!((least.sessions, least.prepacked), (1, false));
        assert!(plan(&manifest, &SIZE, 4, Some(needed - 1)).is_err());
    }

    #[test]
    fn each_thread_of_our_own_layers_counts() {
        let expected = |operator: &str, threads| {
            let mut manifest = manifest(Task::TextClassification);
            manifest.operators = vec![operator.to_owned()];
            plan(&manifest, &Size { threads, ..SIZE }, 2, None).unwrap().expected
        };
        let [int8, ternary, of_others] =
            ["ai.limbeck:EncoderLayer", "ai.limbeck:TernaryEncoderLayer", "ai.onnx:MatMul"]
                .map(|operator| [1, 4].map(|threads| expected(operator, threads)));
        // Two sessions of three threads more: 512 tokens of heads of 32, and 48 columns of 1,536 ternary codes.
        let (head, columns) = (512 * (4 * 32 + 48) + 16 * 32, 48 * 1536);
        assert_eq!(int8[1] - int8[0], 2 * 3 * head);
        assert_eq!(ternary[1] - ternary[0], 2 * 3 * (head + columns));
        assert_eq!(ternary[0] - int8[0], 2 * columns);
        assert_eq!(of_others[0], of_others[1]);
    }

    #[test]
    fn wide_outputs_make_small_batches() {
        let size = Size { columns: 30522, ..SIZE };
        let plan = plan(&manifest(Task::FillMask), &size, 1, None).unwrap();
        assert!(plan.batch_tokens < 600, "{plan:?}");
    }

    #[test]
    fn absurd_sizes_do_not_overflow() {
        let mut manifest = manifest(Task::FillMask);
        manifest.max_tokens = 1 << 20;
        let a = &mut manifest.architecture;
        (a.hidden_size, a.intermediate_size, a.attention_heads) = (1 << 24, 1 << 24, 1 << 10);
        manifest.operators = vec!["ai.limbeck:TernaryEncoderLayer".to_owned()];
        let size = Size { columns: i32::MAX as u64, threads: u64::MAX, ..SIZE };
        assert!(plan(&manifest, &size, 256, None).is_ok());
        assert!(plan(&manifest, &size, 256, Some(1 << 30)).is_err());
    }
}
