//! A teacher's weights seen by a student of another width: the first weights of a narrower student.
//!
//! Hidden states of `H_t` units are described by `H_s` directions, the columns of `P` `[H_t, H_s]`: `z = P^T x`, `x` about
//! `P z`. A map `W` between hidden states becomes `P^T W P`. Where heads get narrower, `Q K^T` and `V O` of each head are
//! replaced by their best approximation of the lower rank (Eckart and Young 1936), which is what attention computes with.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use tch::{Kind, Tensor};

use crate::arch::{ModelConfig, Params};

/// Directions of the teacher's hidden states that a student keeps.
#[derive(Debug)]
pub struct Directions {
    /// P, `[teacher hidden size, student hidden size]`, orthonormal columns.
    pub matrix: Tensor,
    /// Share of the states' energy (sum of squares) that they hold, 0 to 1.
    pub kept: f64,
}

impl Directions {
    /// All of them, for a student as wide as its teacher.
    pub fn all(hidden_size: usize) -> Self {
        let options = (Kind::Float, tch::Device::Cpu);
        Self { matrix: Tensor::eye(hidden_size as i64, options), kept: 1.0 }
    }

    /// The `count` principal directions of hidden states: eigenvectors of their second moment `[H, H]` (a sum of `x x^T`)
    /// with the largest eigenvalues.
    ///
    /// # Errors
    /// More directions than there are, or moments that are not finite.
    pub fn principal(moment: &Tensor, count: usize) -> Result<Self> {
        let width = moment.size()[0];
        ensure!((1..=width).contains(&(count as i64)), "{count} directions of {width}");
        ensure!(moment.isfinite().all().int64_value(&[]) == 1, "the teacher's hidden states are not finite");
        let (values, vectors) = moment.to_kind(Kind::Double).f_linalg_eigh("L")?;
        // Ascending: the last ones are the largest.
        let kept = values.narrow(0, width - count as i64, count as i64).sum(Kind::Double) / values.sum(Kind::Double);
        let matrix = vectors.narrow(1, width - count as i64, count as i64).flip([1]).to_kind(Kind::Float);
        Ok(Self { matrix: matrix.contiguous(), kept: kept.double_value(&[]) })
    }

    fn width(&self) -> i64 {
        self.matrix.size()[1]
    }

    /// Per-unit weights of a LayerNorm: the diagonal of `P^T diag(w) P`, scaled by how much larger the kept directions are
    /// than the average one, because the student's norm sets them to the average.
    fn norm_weight(&self, weight: &Tensor) -> Tensor {
        let (from, to) = (self.matrix.size()[0] as f64, self.width() as f64);
        self.matrix.square().tr().matmul(weight) * (self.kept * from / to).sqrt()
    }
}

/// Scale of new weights that nothing in the teacher gives.
const NEW: f64 = 0.02;

/// `rank` rows of the best approximation `A^T B` of `first^T second` (`[d, n]` each) by matrices of that rank, or the
/// matrices themselves filled up with small values, where `rank` is no less than `d`.
fn of_rank(first: &Tensor, second: &Tensor, rank: i64) -> Result<(Tensor, Tensor)> {
    let rows = first.size()[0];
    if rank == rows {
        return Ok((first.shallow_clone(), second.shallow_clone()));
    }
    if rank > rows {
        let new = |like: &Tensor| Tensor::randn([rank - rows, like.size()[1]], (like.kind(), like.device())) * NEW;
        return Ok((Tensor::cat(&[first, &new(first)], 0), Tensor::cat(&[second, &new(second)], 0)));
    }
    // first^T = Q1 R1 and second^T = Q2 R2: the small R1 R2^T has the singular values of the large product.
    let (q1, r1) = Tensor::f_linalg_qr(&first.tr().to_kind(Kind::Double), "reduced")?;
    let (q2, r2) = Tensor::f_linalg_qr(&second.tr().to_kind(Kind::Double), "reduced")?;
    let (u, s, v) = r1.matmul(&r2.tr()).f_svd(true, true)?;
    let root = s.narrow(0, 0, rank).sqrt().unsqueeze(1);
    let a = &root * q1.matmul(&u.narrow(1, 0, rank)).tr();
    let b = &root * q2.matmul(&v.narrow(1, 0, rank)).tr();
    Ok((a.to_kind(Kind::Float), b.to_kind(Kind::Float)))
}

/// The teacher's attention block `block` and feed-forward block `ffn` in the student's width, by the student's names below
/// the block: `query.weight`, `up.bias`, ...
pub(super) struct Narrowing<'a> {
    pub params: &'a Params,
    pub teacher: &'a ModelConfig,
    pub student: &'a ModelConfig,
    pub directions: &'a Directions,
    /// Of the embedding tables, which are narrower than the hidden states in a factorized student.
    pub embedding: &'a Directions,
}

impl Narrowing<'_> {
    fn tensor(&self, name: &str) -> Result<Tensor> {
        let tensor = self.params.get(name).with_context(|| format!("the teacher has no tensor `{name}`"))?;
        Ok(tensor.detach().to_device(tch::Device::Cpu))
    }

    fn norm(&self, prefix: &str, out: &mut BTreeMap<String, Tensor>) -> Result<()> {
        let p = &self.directions.matrix;
        out.insert("norm.weight".into(), self.directions.norm_weight(&self.tensor(&format!("{prefix}.norm.weight"))?));
        out.insert("norm.bias".into(), p.tr().matmul(&self.tensor(&format!("{prefix}.norm.bias"))?));
        Ok(())
    }

    pub(super) fn attention(&self, block: usize) -> Result<BTreeMap<String, Tensor>> {
        let prefix = format!("encoder.attention.{block}");
        let p = &self.directions.matrix;
        let part = |name: &str| self.tensor(&format!("{prefix}.{name}"));
        let (heads, own_heads) = (self.student.attention_heads, self.teacher.attention_heads);
        let (wide, narrow) = (self.teacher.head_size() as i64, self.student.head_size() as i64);
        // Weights on the kept directions, with the bias as one more column.
        let with_bias = |name: &str| -> Result<Tensor> {
            let weight = part(&format!("{name}.weight"))?.matmul(p);
            Ok(Tensor::cat(&[weight, part(&format!("{name}.bias"))?.unsqueeze(1)], 1))
        };
        let (query, key, value) = (with_bias("query")?, with_bias("key")?, part("value.weight")?.matmul(p));
        let output = p.tr().matmul(&part("output.weight")?);
        let mut rows: BTreeMap<&str, Vec<Tensor>> = BTreeMap::new();
        for head in 0..heads {
            let from = (head * own_heads / heads) as i64 * wide;
            let own = |tensor: &Tensor| tensor.narrow(0, from, wide);
            let (q, k) = of_rank(&own(&query), &own(&key), narrow)?;
            // Scores are divided by the root of the head size.
            let scale = (narrow as f64 / wide as f64).powf(0.25);
            rows.entry("query").or_default().push(q * scale);
            rows.entry("key").or_default().push(k * scale);
            let (o, v) = of_rank(&output.narrow(1, from, wide).tr(), &own(&value), narrow)?;
            // Teacher heads that serve several of the student's are shared out among them.
            let share = (0..heads).filter(|other| other * own_heads / heads == head * own_heads / heads).count() as f64;
            rows.entry("output").or_default().push(o / share);
            rows.entry("value").or_default().push(v);
        }
        let all = |name: &str| Tensor::cat(&rows[name], 0);
        let width = self.directions.width();
        let mut out = BTreeMap::new();
        for name in ["query", "key"] {
            let both = all(name);
            out.insert(format!("{name}.weight"), both.narrow(1, 0, width).contiguous());
            out.insert(format!("{name}.bias"), both.select(1, width).contiguous());
        }
        out.insert("value.weight".into(), all("value"));
        // Attention weights add up to 1, so the values' bias is a constant of the output.
        let constant = part("output.weight")?.matmul(&part("value.bias")?) + part("output.bias")?;
        out.insert("value.bias".into(), Tensor::zeros([heads as i64 * narrow], (Kind::Float, tch::Device::Cpu)));
        out.insert("output.weight".into(), all("output").tr().contiguous());
        out.insert("output.bias".into(), p.tr().matmul(&constant));
        self.norm(&prefix, &mut out)?;
        Ok(out)
    }

    pub(super) fn ffn(&self, block: usize) -> Result<BTreeMap<String, Tensor>> {
        let prefix = format!("encoder.ffn.{block}");
        let p = &self.directions.matrix;
        let part = |name: &str| self.tensor(&format!("{prefix}.{name}"));
        let (up, down) = (part("up.weight")?.matmul(p), p.tr().matmul(&part("down.weight")?));
        let up = Tensor::cat(&[up, part("up.bias")?.unsqueeze(1)], 1);
        let (have, want) = (up.size()[0], self.student.intermediate_size as i64);
        let (up, down) = if want <= have {
            // The units that can move the output most.
            let norms = |tensor: &Tensor, dim: i64| tensor.norm_scalaropt_dim(2.0, [dim].as_slice(), false);
            let (_, best) = (norms(&up, 1) * norms(&down, 0)).topk(want, 0, true, false);
            let (order, _) = best.sort(0, false);
            (up.index_select(0, &order), down.index_select(1, &order))
        } else {
            let new = |shape: [i64; 2]| Tensor::randn(shape, (Kind::Float, tch::Device::Cpu)) * NEW;
            let (rows, width) = (want - have, self.directions.width());
            (Tensor::cat(&[up, new([rows, width + 1])], 0), Tensor::cat(&[down, new([width, rows])], 1))
        };
        let width = self.directions.width();
        let mut out = BTreeMap::from([
            ("up.weight".to_owned(), up.narrow(1, 0, width).contiguous()),
            ("up.bias".to_owned(), up.select(1, width).contiguous()),
            ("down.weight".to_owned(), down.contiguous()),
            ("down.bias".to_owned(), p.tr().matmul(&part("down.bias")?)),
        ]);
        self.norm(&prefix, &mut out)?;
        Ok(out)
    }

    /// A parameter outside the blocks, where the teacher's has a meaning for the student; else `None`.
    pub(super) fn other(&self, name: &str) -> Result<Option<Tensor>> {
        let p = &self.directions.matrix;
        let e = &self.embedding.matrix;
        if self.params.get(name).is_none() {
            return Ok(match name {
                // BERT has no such map: it goes from the embeddings' directions to those of the hidden states.
                "embeddings.projection.weight" => Some(p.tr().matmul(e)),
                "embeddings.projection.bias" => {
                    Some(Tensor::zeros([self.directions.width()], (Kind::Float, tch::Device::Cpu)))
                }
                _ => None,
            });
        }
        let tensor = self.tensor(name)?;
        // In a factorized teacher the tables are as wide as the student's already.
        let projected = self.teacher.embedding_projection;
        // A masked-LM head ends where the tables are, with which it is decoded.
        let decodes = self.params.get("head.decoder.bias").is_some();
        Ok(Some(match name {
            "head.dense.weight" | "head.dense.bias" | "head.norm.weight" | "head.norm.bias" if decodes => {
                let weight = if name == "head.dense.weight" { tensor.matmul(p) } else { tensor };
                match name {
                    _ if projected => weight.copy(),
                    "head.norm.weight" => self.embedding.norm_weight(&weight),
                    _ => e.tr().matmul(&weight),
                }
            }
            "embeddings.words.weight" | "embeddings.positions.weight" | "embeddings.types.weight" if !projected => {
                tensor.matmul(e)
            }
            "embeddings.norm.weight" if !projected => self.embedding.norm_weight(&tensor),
            "embeddings.norm.bias" if !projected => e.tr().matmul(&tensor),
            "embeddings.projection.weight" => p.tr().matmul(&tensor),
            "embeddings.projection.bias" | "encoder.norm.bias" | "pooler.bias" | "head.dense.bias" => {
                p.tr().matmul(&tensor)
            }
            "encoder.norm.weight" => self.directions.norm_weight(&tensor),
            "pooler.weight" | "head.dense.weight" => p.tr().matmul(&tensor).matmul(p),
            "head.output.weight" | "head.sentence.weight" => tensor.matmul(p),
            // Not a handle to the teacher's, which would be trained with the student.
            _ => tensor.copy(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const F: (Kind, tch::Device) = (Kind::Float, tch::Device::Cpu);

    #[test]
    fn principal_directions_hold_what_states_do() {
        let _turn = crate::seeded(31);
        // States in a plane of a space of six.
        let plane = Tensor::randn([2, 6], F);
        let states = Tensor::randn([200, 2], F).matmul(&plane);
        let found = Directions::principal(&states.tr().matmul(&states), 2).unwrap();
        assert!((found.kept - 1.0).abs() < 1e-5);
        let p = &found.matrix;
        let back = states.matmul(p).matmul(&p.tr());
        assert!((back - &states).abs().max().double_value(&[]) < 1e-4);
        let identity = p.tr().matmul(p) - Tensor::eye(2, F);
        assert!(identity.abs().max().double_value(&[]) < 1e-5);
        assert!(Directions::principal(&states.tr().matmul(&states), 7).is_err());
    }

    #[test]
    fn a_lower_rank_is_the_best_one() {
        let _turn = crate::seeded(32);
        let (a, b) = (Tensor::randn([5, 9], F), Tensor::randn([5, 9], F));
        let product = a.tr().matmul(&b);
        let (_, s, _) = product.svd(true, true);
        for rank in [2, 4] {
            let (x, y) = of_rank(&a, &b, rank).unwrap();
            assert_eq!((x.size(), y.size()), (vec![rank, 9], vec![rank, 9]));
            let error = (&product - x.tr().matmul(&y)).square().sum(Kind::Double).double_value(&[]);
            // Eckart and Young: what is lost are the other singular values.
            let lost = s.narrow(0, rank, 9 - rank).square().sum(Kind::Double).double_value(&[]);
            assert!((error - lost).abs() < 1e-3 * lost.max(1.0), "{error} {lost}");
        }
        let (x, y) = of_rank(&a, &b, 5).unwrap();
        assert_eq!((x, y), (a.shallow_clone(), b.shallow_clone()));
        assert_eq!(of_rank(&a, &b, 7).unwrap().0.size(), [7, 9]);
    }
}
