//! Labelled text: reading it, splitting it, turning it into padded batches.

use anyhow::{Context, Result};

pub mod augment;
mod batch;
mod completions;
mod corpus;
mod encode;
mod goal;
mod masking;
mod plain;
pub mod pretrain;
mod questions;
mod read;
mod rows;
mod split;
mod tagged;
mod target;
mod unlabelled;

pub use augment::AugmentOptions;
pub use batch::{Batch, epoch_batches, in_order_batches, token_batches};
pub use completions::{Completion, read_completions};
pub use corpus::{CorpusCount, CorpusFilter};
pub use encode::{EncodedExample, Encoder, Encoding};
pub use goal::{Goal, LabelKind};
pub use masking::{Draw, Masked, Masker, Masking, MaskingChoice};
pub use plain::read_plain;
pub use questions::{Question, read_questions};
pub use read::{Format, Schema, labels_of, read_examples, read_text};
pub use rows::Rows;
pub(crate) use split::normalised;
pub use split::{Fractions, Split, SplitReport, distinct_labels, distinct_of_several, hold_out, hold_out_some};
pub use tagged::{TaggedText, TaggedWord, entities_of, read_tagged};
pub use target::Target;

/// The first dozen of some labels, for messages.
pub fn some_labels(labels: &[String]) -> String {
    const SHOWN: usize = 12;
    let shown = labels.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if labels.len() > SHOWN { format!("{shown}, ... ({} in all)", labels.len()) } else { shown }
}

/// One labelled text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// The text as it stands in the file.
    pub text: String,
    /// The second text, where two are read together.
    pub pair: Option<String>,
    /// The label as it stands in the file, or after the recipe's renaming.
    pub label: String,
    /// The file it came from, for stratified splits and messages.
    pub source: String,
}

impl Example {
    /// The label as a number.
    ///
    /// # Errors
    /// Another text, or no finite number.
    pub fn value(&self) -> Result<f64> {
        let value = self.label.trim().parse().ok().filter(|value: &f64| value.is_finite());
        value.with_context(|| format!("{}: the label \"{}\" is no number", self.source, self.label))
    }
}
