//! Encoder layers with 8-bit weights: post-norm layers of the BERT kind (BERT, DistilBERT, TinyBERT, MiniLM, MPNet,
//! ELECTRA, ALBERT), from hidden states to hidden states.
//!
//! * **An answer depends on its text alone.** Every token's activations are quantized by a scale of their own, products
//!   are exact integers, and padding is left out instead of masked, so that batch mates, padding and the number of
//!   threads change no bit.
//! * **Nor on the processor.** Integers are exact on every path, and floats are computed by the same operations in the
//!   same order everywhere (fused multiply-add included), so that a layer gives the same bits on AVX-512, AVX2, NEON and
//!   without any of them.
//! * **Weights stay where they are.** They are stored in the order in which they are read, so that the mapped file is
//!   used as it is: nothing is rearranged at start and no second copy exists.
//!
//! * **Ternary weights take 2 bits** where they are stored, and become bytes a few columns at a time, while those are
//!   multiplied: the arithmetic is the same, and there is no second copy either.
//!
//! The arithmetic of a product of one row x with W and b: s = max|x| / 127, q = round(x / s) to nearest even, and
//! (q . codes) * (s * scale) + b, where W = codes * scale by column.
//!
//! A crate of its own, so that it is optimized for speed where the rest of the library is for size.

mod attention;
mod isa;
mod lanes;
mod layer;
mod matrix;
mod product;
mod rows;
mod sums;
mod ternary;
mod workers;

pub use attention::{ScoreBias, attention_limits};
pub use isa::Isa;
pub use layer::{Activation, Layer, Norm, Scratch, Texts};
pub use matrix::{COLUMNS, DEPTH, Matrix, Mismatch, PackedWeights, all_ternary, pack, pack_ternary};
pub use workers::{Alone, Workers};
