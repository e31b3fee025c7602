//! limbeck against PyPI torch, transformers and tokenizers: the same numbers from the same inputs.
//!
//! The reference values are committed in `references/`; `README.md` says how they were made.

mod augment;
mod bundles;
mod checkpoints;
mod family;
mod generation;
mod identities;
mod losses;
mod optimizer;
mod order_replaced;
mod pipelines;
mod public_weights;
mod real;
mod reference;
mod tokens;
mod trained;
