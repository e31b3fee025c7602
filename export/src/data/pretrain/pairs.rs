//! Segments of documents between special tokens, alone or in pairs.

use anyhow::{Context, Result, ensure};
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::data::encode::{library, wide};
use crate::data::{EncodedExample, Encoder, Target};

/// What is learned of two segments. The right answer is class 0 or 1 of the head's two logits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SentenceTask {
    /// Nothing: texts of one segment.
    #[default]
    None,
    /// Next sentence (Devlin 2019, task 2): class 1 where the second segment is of another document, half of the time.
    Nsp,
    /// Sentence order (Lan 2020, section 3.1): class 1 where two consecutive segments are swapped, half of the time.
    Sop,
}

/// The special tokens that a tokenizer puts round one text and round two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    before: Vec<i64>,
    after: Vec<i64>,
    pair: [Vec<i64>; 3],
}

impl Frame {
    /// As the tokenizer's post-processor has them.
    ///
    /// # Errors
    /// A tokenizer that makes nothing of "a b".
    pub fn of(encoder: &Encoder) -> Result<Self> {
        let tokenizer = encoder.tokenizer();
        let probe = "a b";
        let one = tokenizer.encode(probe, true).map_err(library)?;
        let two = tokenizer.encode((probe, probe), true).map_err(library)?;
        let text = |ids: &[u32], sequences: &[Option<usize>], of: usize| -> Result<(usize, usize, Vec<i64>)> {
            let first =
                sequences.iter().position(|s| *s == Some(of)).context("the tokenizer makes nothing of \"a b\"")?;
            let last = sequences.iter().rposition(|s| *s == Some(of)).unwrap_or(first);
            Ok((first, last + 1, wide(ids)))
        };
        let (first, last, ids) = text(one.get_ids(), &one.get_sequence_ids(), 0)?;
        let (first_of_a, last_of_a, pair) = text(two.get_ids(), &two.get_sequence_ids(), 0)?;
        let (first_of_b, last_of_b, _) = text(two.get_ids(), &two.get_sequence_ids(), 1)?;
        ensure!(last_of_a <= first_of_b, "the tokenizer puts the second text before the first");
        Ok(Self {
            before: ids[..first].to_vec(),
            after: ids[last..].to_vec(),
            pair: [pair[..first_of_a].to_vec(), pair[last_of_a..first_of_b].to_vec(), pair[last_of_b..].to_vec()],
        })
    }

    /// Special tokens of a text of one segment, or of two.
    fn special(&self, two: bool) -> usize {
        if two { self.pair.iter().map(Vec::len).sum() } else { self.before.len() + self.after.len() }
    }

    fn one(&self, segment: &[i64]) -> EncodedExample {
        EncodedExample::new([&self.before, segment, &self.after].concat(), Target::Class(0))
    }

    fn two(&self, first: &[i64], second: &[i64], class: usize) -> EncodedExample {
        let [before, between, after] = &self.pair;
        let ids = [before, first, between, second, after].concat();
        let mut types = vec![0; before.len() + first.len() + between.len()];
        types.resize(ids.len(), 1);
        EncodedExample { types, ..EncodedExample::new(ids, Target::Class(class)) }
    }
}

/// How documents become examples (google-research/bert and albert, `create_pretraining_data.py`).
pub struct Segments<'a> {
    /// Documents, as sentences in tokens.
    pub documents: &'a [Vec<Vec<i64>>],
    /// Special tokens.
    pub frame: &'a Frame,
    /// What is learned of pairs.
    pub task: SentenceTask,
    /// Longest example in tokens, special ones included.
    pub max_tokens: usize,
    /// Share of examples that aim at a random shorter length (`short_seq_prob`, 0.1).
    pub short: f64,
}

/// A next-sentence pair in the making.
struct Draft {
    document: usize,
    a: Vec<i64>,
    /// What truly comes next, with its last sentence whole.
    next: Vec<i64>,
    /// How many of its tokens are read.
    wanted: usize,
    /// Whether the second segment is of another document.
    random: bool,
}

/// The second segments of all drafts, by length.
struct SecondSegments<'a>(Vec<&'a Draft>);

/// From so many shorter and longer ones a second segment of another document is drawn.
const ALIKE: usize = 8;

impl<'a> SecondSegments<'a> {
    fn of(drafts: &'a [Draft], rng: &mut ChaCha8Rng) -> Self {
        let mut all: Vec<&Draft> = drafts.iter().collect();
        // In random order those of one length.
        all.shuffle(rng);
        all.sort_by_key(|draft| draft.next.len());
        Self(all)
    }

    /// The most tokens that one of another document has.
    fn longest_but(&self, document: usize) -> usize {
        self.0.iter().rev().find(|draft| draft.document != document).map_or(0, |draft| draft.next.len())
    }

    /// One of another document that is about as long as that of `like`, and has at least `wanted` tokens.
    fn of_another(&self, like: &Draft, wanted: usize, rng: &mut ChaCha8Rng) -> Option<&'a [i64]> {
        let alike = self.0.partition_point(|draft| draft.next.len() < like.next.len());
        let least = self.0.partition_point(|draft| draft.next.len() < wanted);
        let (shorter, longer) = self.0.split_at(alike);
        let other = |draft: &&&Draft| draft.document != like.document;
        let longer = longer.iter().filter(other).take(ALIKE);
        let shorter = shorter[least.min(alike)..].iter().rev().filter(other).take(ALIKE);
        let all: Vec<&&Draft> = longer.chain(shorter).collect();
        all.choose(rng).map(|draft| draft.next.as_slice())
    }
}

impl Segments<'_> {
    /// Goes through all documents once, in random order, with all random choices by `seed`: another seed gives other
    /// examples of the same text (`dupe_factor`).
    ///
    /// Pairs are runs of whole sentences, at least one in each segment. A cut inside of a sentence would tell which segment
    /// of an order task came first, so there the run ends before the sentence that is too much, and one that does not
    /// fit with the next, or is left over at a document's end, is left out. Next-sentence pairs are cut at their outer
    /// ends, alike in both classes. There a second segment ends at random inside its last sentence, and one of another document is the
    /// second one of some other pair, as long as that in whose place it stands. The released code fills up what begins at a random
    /// sentence: its length, whether it ends with a sentence, and whether it reads like a beginning or an end tell the class, and the
    /// latter also which of two segments comes first. One sentence that is left over makes none.
    /// Without pairs a document is cut into pieces wherever one is full, so that only its last one has fewer tokens
    /// than were aimed at.
    ///
    /// # Errors
    /// Special tokens that leave no room; next-sentence pairs of fewer than two documents of two sentences.
    pub fn examples(&self, seed: u64) -> Result<Vec<EncodedExample>> {
        let two = self.task != SentenceTask::None;
        let room = self.max_tokens.saturating_sub(self.frame.special(two));
        ensure!(room >= 2, "special tokens leave no room for a text in max_tokens {}", self.max_tokens);
        ensure!(
            self.task != SentenceTask::Nsp || self.documents.iter().filter(|sentences| sentences.len() > 1).count() > 1,
            "next-sentence pairs need at least two documents of two sentences or more; put a sentence or paragraph on each line \
             and an empty line between documents, or use sentence = \"sop\""
        );
        ensure!((0.0..=1.0).contains(&self.short), "short_sequences must be from 0 to 1");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut examples = Vec::new();
        let mut drafts = Vec::new();
        for document in 0..self.documents.len() {
            let rng = &mut rng;
            match self.task {
                SentenceTask::None => self.pieces(document, room, rng, &mut examples),
                SentenceTask::Nsp => self.next_sentences(document, room, rng, &mut drafts),
                SentenceTask::Sop => self.orders(document, room, rng, &mut examples),
            }
        }
        self.finish(&drafts, room, &mut rng, &mut examples);
        examples.shuffle(&mut rng);
        Ok(examples)
    }

    /// How many tokens an example aims at.
    fn aim(&self, room: usize, rng: &mut ChaCha8Rng) -> usize {
        match rng.random::<f64>() < self.short {
            true => rng.random_range(2..=room),
            false => room,
        }
    }

    /// Examples of one segment: nothing is lost.
    fn pieces(&self, index: usize, room: usize, rng: &mut ChaCha8Rng, examples: &mut Vec<EncodedExample>) {
        let tokens = self.documents[index].concat();
        let mut left = tokens.as_slice();
        while !left.is_empty() {
            let (piece, after) = left.split_at(self.aim(room, rng).min(left.len()));
            examples.push(self.frame.one(piece));
            left = after;
        }
    }

    /// Two segments in their order or swapped.
    fn orders(&self, index: usize, room: usize, rng: &mut ChaCha8Rng, examples: &mut Vec<EncodedExample>) {
        let mut left = self.documents[index].as_slice();
        while !left.is_empty() {
            let target = self.aim(room, rng);
            let (mut sentences, mut length) = (0, 0);
            for sentence in left {
                if length + sentence.len() > room || (sentences >= 2 && length >= target) {
                    break;
                }
                sentences += 1;
                length += sentence.len();
            }
            if sentences >= 2 {
                let (_, a, b) = split(&left[..sentences], rng);
                examples.push(match rng.random::<bool>() {
                    true => self.frame.two(&b, &a, 1),
                    false => self.frame.two(&a, &b, 0),
                });
            }
            left = &left[sentences.max(1)..];
        }
    }

    /// Two segments, the second of the same document or, later, of another.
    fn next_sentences(&self, index: usize, room: usize, rng: &mut ChaCha8Rng, drafts: &mut Vec<Draft>) {
        let document = &self.documents[index];
        let mut target = self.aim(room, rng);
        let (mut first, mut length, mut next) = (0, 0, 0);
        while next < document.len() {
            length += document[next].len();
            next += 1;
            if next - first < 2 || (next < document.len() && length < target) {
                continue;
            }
            let (sentences, a, b) = split(&document[first..next], rng);
            // Whatever it is of, it ends inside a sentence.
            let wanted = b.len() - rng.random_range(0..document[next - 1].len().max(1));
            let random = rng.random::<bool>();
            drafts.push(Draft { document: index, a, next: b, wanted, random });
            if random {
                // What was not used stands at the start of the next example.
                next = first + sentences;
            }
            (first, length) = (next, 0);
            target = self.aim(room, rng);
        }
    }

    /// Next-sentence pairs of drafts.
    fn finish(&self, drafts: &[Draft], room: usize, rng: &mut ChaCha8Rng, examples: &mut Vec<EncodedExample>) {
        let seconds = SecondSegments::of(drafts, rng);
        for draft in drafts {
            let wanted = draft.wanted.min(seconds.longest_but(draft.document));
            let mut a = draft.a.clone();
            let second =
                if draft.random { seconds.of_another(draft, wanted, rng) } else { Some(draft.next.as_slice()) };
            let mut b = second.and_then(|second| second.get(..wanted)).unwrap_or_default().to_vec();
            cut(&mut a, &mut b, room);
            if !a.is_empty() && !b.is_empty() {
                examples.push(self.frame.two(&a, &b, usize::from(draft.random)));
            }
        }
    }
}

/// Two parts of a chunk of several sentences, cut between two of them at random; and how many are in the first.
fn split(chunk: &[Vec<i64>], rng: &mut ChaCha8Rng) -> (usize, Vec<i64>, Vec<i64>) {
    let at = rng.random_range(1..chunk.len());
    (at, chunk[..at].concat(), chunk[at..].concat())
}

/// Cuts the longer of the two, the first at its start and the second at its end, until both fit.
fn cut(a: &mut Vec<i64>, b: &mut Vec<i64>, room: usize) {
    let over = (a.len() + b.len()).saturating_sub(room);
    // The longer one first, then both in turn.
    let from_a = {
        let (long, short) = (a.len().max(b.len()), a.len().min(b.len()));
        let alone = over.min(long - short);
        let (of_long, of_short) = (alone + (over - alone).div_ceil(2), (over - alone) / 2);
        if a.len() >= b.len() { of_long } else { of_short }
    };
    a.drain(..from_a.min(a.len()));
    b.truncate(room.saturating_sub(a.len()));
}

#[cfg(test)]
mod tests;
