//! Labelled text: reading it, splitting it, turning it into padded batches.

mod batch;
mod encode;
mod read;
mod split;

pub use batch::{Batch, epoch_batches, in_order_batches};
pub use encode::{EncodedExample, Encoder, Encoding};
pub use read::{Format, Schema, read_examples};
pub use split::{Fractions, Split, SplitReport, distinct_labels, split_examples};

/// One labelled text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// The text as it stands in the file.
    pub text: String,
    /// The label as it stands in the file, or after the recipe's renaming.
    pub label: String,
    /// The file it came from, for stratified splits and messages.
    pub source: String,
}
