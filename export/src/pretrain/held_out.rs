//! How well a model does on text that it never learned from.

use serde::{Deserialize, Serialize};

/// How well a model does on held-out text. What its objective does not have is absent. Shares are from 0 to 1, losses means
/// in nats.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HeldOut {
    /// The objective as it is minimised, but for what a teacher adds to it: mean over examples.
    pub loss: f64,
    /// Cross-entropy at masked tokens, of the model itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masked_loss: Option<f64>,
    /// Share of masked tokens that the model guesses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masked_accuracy: Option<f64>,
    /// The same share of those in whose place another token stands; the others are read, and need not be guessed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden_accuracy: Option<f64>,
    /// Share of the hidden tokens, the generator's if there is one, that the commonest of them is: what frequency alone
    /// guesses, and a model that has learned nothing of the text around them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency_accuracy: Option<f64>,
    /// Cross-entropy of next sentence or sentence order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentence_loss: Option<f64>,
    /// Share of pairs whose order, or connection, is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentence_accuracy: Option<f64>,
    /// Cross-entropy at masked tokens, of the generator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generator_loss: Option<f64>,
    /// Share of masked tokens that the generator guesses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generator_accuracy: Option<f64>,
    /// The same share of those in whose place another token stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generator_hidden_accuracy: Option<f64>,
    /// Binary cross-entropy of replaced tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced_loss: Option<f64>,
    /// Share of tokens that are replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced_share: Option<f64>,
    /// Share of tokens of which the model says rightly whether they are replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced_accuracy: Option<f64>,
    /// Share of the tokens taken for replaced that are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced_precision: Option<f64>,
    /// Share of the replaced tokens that are taken for such.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced_recall: Option<f64>,
    /// Share of next tokens that are guessed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_accuracy: Option<f64>,
    /// `exp` of the mean cross-entropy of a next token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub perplexity: Option<f64>,
    /// The same cross-entropies summed, in bits, by the bytes of the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits_per_byte: Option<f64>,
    /// Examples.
    pub examples: usize,
}

impl HeldOut {
    /// One line for people.
    pub fn told(&self) -> String {
        let mut text = format!("loss {:.4}", self.loss);
        let percent = |share: Option<f64>| share.map(|share| format!("{:.1}%", share * 100.0));
        for (name, value) in [
            ("masked tokens guessed", percent(self.masked_accuracy)),
            ("hidden ones", percent(self.hidden_accuracy)),
            ("sentences", percent(self.sentence_accuracy)),
            ("replaced tokens found", percent(self.replaced_recall)),
            ("with precision", percent(self.replaced_precision)),
            ("generator guesses", percent(self.generator_accuracy)),
            ("hidden ones", percent(self.generator_hidden_accuracy)),
            ("by frequency alone", percent(self.frequency_accuracy)),
            ("next tokens guessed", percent(self.next_accuracy)),
            ("perplexity", self.perplexity.map(|x| format!("{x:.2}"))),
            ("bits per byte", self.bits_per_byte.map(|x| format!("{x:.3}"))),
        ] {
            if let Some(value) = value {
                text += &format!(", {name} {value}");
            }
        }
        text
    }
}
