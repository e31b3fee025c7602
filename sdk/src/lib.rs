//! limbeck runs small language models, distilled from large ones, on the
//! device itself: one file holds a model, and this library opens and runs it.
//!
//! ```no_run
//! use limbeck::Model;
//!
//! fn main() -> limbeck::Result<()> {
//!     let model = Model::open("sentiment.limbeck")?;
//!     let answer = model.classify("crisp screen, awful battery")?;
//!     for label in &answer.labels {
//!         println!("{:>8}  {:.3}", label.label, label.probability);
//!     }
//!     println!("{} tokens read, {} dropped", answer.usage.tokens_used, answer.usage.tokens_dropped);
//!     Ok(())
//! }
//! ```
//!
//! * [`Bundle`] reads and checks a file, [`BundleWriter`] makes one.
//! * [`Model`] runs it, by one method a task: [`classify`](Model::classify),
//!   [`classify_pair`](Model::classify_pair), [`rerank`](Model::rerank),
//!   [`zero_shot`](Model::zero_shot), [`tag`](Model::tag),
//!   [`answer`](Model::answer), [`embed`](Model::embed),
//!   [`fill_mask`](Model::fill_mask), [`order`](Model::order) and
//!   [`replaced`](Model::replaced); [`FewShotHead`] fits a classifier of
//!   one's own on embeddings. A language model writes on from a text
//!   ([`generate`](Model::generate)), and chooses between completions of a
//!   [`Prompt`].
//! * Calls may come from any number of threads, with a [`Cancel`] token and
//!   a deadline on every call, and with nothing cut off silently
//!   ([`Overflow`], [`Usage`]).
//! * [`Slot`] replaces a model under load.
//! * [`runtime`] finds ONNX Runtime, which does the arithmetic.
//!
//! The library never prints, never ends the process, opens no network
//! connection, writes no file but those it is told to write, and reads no
//! environment variable but the one named at [`runtime::load`]. It starts
//! threads only on request: those of [`ModelBuilder::threads`] and, for
//! batches, of [`ModelBuilder::sessions`]; one thread that keeps deadlines,
//! from the first call that has one; and two that help to open a model and end
//! with that.

pub mod bundle;
mod error;
mod files;
pub mod int8;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
mod metrics;
mod model;
mod post;
pub mod runtime;
mod slot;
mod task;
mod text;

pub use bundle::{
    Bundle, BundleError, BundleOptions, BundleWriter, Calibration, Manifest, PublicKey, SectionInfo, SectionKind,
    SigningKey,
};
pub use error::{Code, Error, Result};
pub use metrics::Metrics;
pub use model::{Model, ModelBuilder};
pub use post::entities::Aggregation;
pub use runtime::cancel::Cancel;
pub use slot::Slot;
pub use task::answer::{Answer, AnswerOptions, Answers};
pub use task::classify::{Classification, ClassifyOptions, Scored};
pub use task::embed::{EmbedOptions, Embedding, Neighbour, nearest, similarity};
pub use task::few_shot::{FewShotHead, FewShotOptions};
pub use task::fill_mask::{FillMaskOptions, FilledMask, FilledMasks, Guess};
pub use task::generate::{ContextPolicy, Finish, GenerateOptions, Generating, Generation, GenerationTimes, Piece};
pub use task::options::{Overflow, Timings, Usage};
pub use task::order::{Order, OrderOptions};
pub use task::perplexity::{Perplexity, PerplexityOptions};
pub use task::prompt::{Choice, Choices, ChooseOptions, Prompt, PromptUsage, Score, Scoring};
pub use task::prompted::Prompted;
pub use task::replaced::{Replaced, ReplacedOptions, Replacements};
pub use task::rerank::{Ranked, RerankOptions};
pub use task::self_test::SelfTestReport;
pub use task::tag::{Entity, TagOptions, Tagging};
pub use task::zero_shot::{ZeroShot, ZeroShotLabel, ZeroShotOptions};
pub use text::{TextSpan, Tokens};
