//! Fewer bits within a budget of lost quality: what is stored how, what it costs, and why.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use limbeck::Manifest;
use serde::Serialize;

use super::dev::Dev;
use super::search::{Assignment, Candidate, Found, saving, search};
use super::sensitivity::{Noise, SAMPLE, Sensitivity, measure};
use crate::checkpoint::load_encoder;
use crate::graph::{KeepFloat, Unit, WeightMode};
use crate::pack::{Draft, PackOptions, draft, units_of};
use crate::progress::Reporter;

/// What a unit is stored in, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Its name.
    pub unit: String,
    /// Layers from 0; none of the token table.
    pub layers: Vec<usize>,
    /// `fp32`, `fp16`, `int8` or `int4`.
    pub mode: &'static str,
    /// Of its weights in the fewest bits.
    #[serde(flatten)]
    pub noise: Noise,
    /// Of the model when this unit alone is quantized; none where there are no data.
    #[serde(flatten)]
    pub sensitivity: Option<Sensitivity>,
    /// In words.
    pub why: String,
}

/// What came of quantizing a model.
pub struct Contract {
    /// The bundle, with its self-test and what it lost; none if that is more than was allowed.
    pub bundle: Option<Draft>,
    /// How it is stored there, in words; without a bundle, where the least was lost.
    pub stored: String,
    /// Each unit; none of a model that is stored in one form as a whole.
    pub lines: Vec<Line>,
    /// What was measured against fp32 on all of dev; without data nothing.
    pub proof: Option<Proof>,
}

/// What a model loses in fewer bits.
#[derive(Clone, Debug)]
pub struct Proof {
    /// Name of the measure.
    pub measure: String,
    /// What is lost; the least that was reached if there is no bundle.
    pub drop: f64,
    /// What that is counted in: `points` of 100 of the measure, or `percent` by which perplexity is higher.
    pub unit: &'static str,
    /// Rows or texts of dev.
    pub rows: usize,
    /// Rows or texts of dev that units were measured on alone.
    pub sample: usize,
}

/// A model that is quantized.
pub struct Quantizer<'a> {
    folder: &'a Path,
    /// The fp32 model that the loss is measured against.
    against: &'a Path,
    options: PackOptions,
    units: Vec<Unit>,
    noise: Vec<Noise>,
    first: Draft,
}

impl<'a> Quantizer<'a> {
    /// Of a model folder, whose weights become what `options` say. Where those keep something, that is the choice and
    /// none is searched for; layers that share its weights are kept too. What a search keeps is
    /// stored as [`WeightMode::fallback`].
    ///
    /// A folder that was trained for these weights is stored in them as a whole, and what it loses is measured against
    /// the folder `against`, in fp32; any other is measured against itself.
    ///
    /// # Errors
    /// Those of [`draft`]; a layer to keep that the model does not have.
    pub fn new(folder: &'a Path, against: Option<&'a Path>, mut options: PackOptions) -> Result<Self> {
        let units = match against {
            None => units_of(folder, options.task, options.weights)?,
            Some(_) => {
                ensure!(
                    options.keep_float.is_empty(),
                    "a model that is measured against another one is stored as a whole: no part of it can be kept fp32"
                );
                Vec::new()
            }
        };
        let against = against.unwrap_or(folder);
        if options.keep_float.is_empty() {
            options.kept = options.weights.fallback();
        }
        let mut noise = Vec::new();
        if !units.is_empty() {
            let encoder = load_encoder(folder)?;
            options.keep_float = options.keep_float.whole(&encoder.config)?;
            let each = units.iter().map(|unit| {
                let mode = mode_of(unit, &options);
                Noise::of(unit, &encoder.config, &encoder.arrays, mode)
            });
            noise = each.collect::<Result<_>>()?;
        }
        let first = draft(folder, &options)?;
        Ok(Self { folder, against, options, units, noise, first })
    }

    /// What the bundle will say of itself, but for what is measured.
    pub fn manifest(&self) -> &Manifest {
        &self.first.manifest
    }

    /// What `options` say, without proof.
    ///
    /// # Errors
    /// Those of running the model.
    pub fn unproven(self) -> Result<Contract> {
        let keep = self.by_hand();
        let lines = self.lines(&keep, &[], |_| "not measured".to_owned());
        let stored = self.in_words(&keep);
        Ok(Contract { bundle: Some(with_self_test(self.first)?), stored, lines, proof: None })
    }

    /// The bundle that loses at most `max_drop` on `dev`, in its [`unit`](Dev::unit), all of it through the sdk.
    ///
    /// # Errors
    /// A budget that is no number; those of running the models.
    pub fn prove(self, dev: &Dev, max_drop: f64, reporter: &Reporter) -> Result<Contract> {
        let unit = dev.unit();
        ensure!(max_drop.is_finite(), "a budget of {max_drop} {unit} is none: give a number");
        let fp32 = self.plain()?.open()?;
        let alone = |unit: &Unit| {
            let others = KeepFloat::of(self.units.iter().filter(|other| *other != unit));
            // The others in fp32, whatever a search would keep them in.
            let options = PackOptions { keep_float: others, kept: WeightMode::Float, ..self.options.clone() };
            draft(self.folder, &options)?.open()
        };
        let sensitivity = match self.units.is_empty() {
            true => Vec::new(),
            false => measure(&self.units, &fp32, &alone, dev, reporter)?,
        };
        let (name, before) = dev.score(&fp32, reporter)?;
        drop(fp32);
        let lost = |keep: &Assignment| -> Result<f64> {
            let model = self.draft(self.keep(keep))?.open()?;
            let lost = dev.lost(before, dev.score(&model, reporter)?.1);
            reporter.note(&format!("  {}: {lost:+.2} {unit} lost", self.in_words(keep)));
            Ok(lost)
        };
        let by_hand = self.by_hand();
        let Found { keep, loss, inside, without, .. } = if by_hand.is_empty() {
            search(&self.candidates(&sensitivity), max_drop, lost)?
        } else {
            let loss = lost(&by_hand)?;
            Found { keep: by_hand, loss, inside: loss <= max_drop, without: BTreeMap::new(), measured: 1 }
        };
        let lines = self.lines(&keep, &sensitivity, |unit| match (inside, without.get(&unit)) {
            (false, _) => "outside the budget".to_owned(),
            (true, None) => "inside the budget".to_owned(),
            (true, Some(without)) => format!(
                "kept {}: alone it costs {:.2} {unit}, beside the other {} parts {without:.2} in all",
                self.options.kept.element(),
                sensitivity[unit].lost_alone,
                self.options.weights.element()
            ),
        });
        let proof = Proof {
            measure: name.replace('_', " "),
            drop: loss,
            unit,
            rows: dev.len(),
            sample: dev.sample(SAMPLE).len(),
        };
        let mut bundle = None;
        if inside {
            let mut draft = with_self_test(self.draft(self.keep(&keep))?)?;
            let contract =
                draft.manifest.quantization.as_mut().context("a bundle that does not say how it is stored")?;
            contract.measured_drop = Some(loss / 100.0);
            bundle = Some(draft);
        }
        Ok(Contract { bundle, stored: self.in_words(&keep), lines, proof: Some(proof) })
    }

    fn draft(&self, keep_float: KeepFloat) -> Result<Draft> {
        draft(self.folder, &PackOptions { keep_float, ..self.options.clone() })
    }

    /// In fp32.
    fn plain(&self) -> Result<Draft> {
        let keep_float = KeepFloat::default();
        draft(
            self.against,
            &PackOptions { weights: WeightMode::Float, table: None, keep_float, ..self.options.clone() },
        )
    }

    fn by_hand(&self) -> Assignment {
        (0..self.units.len()).filter(|&unit| self.options.keep_float.holds(&self.units[unit])).collect()
    }

    fn keep(&self, keep: &Assignment) -> KeepFloat {
        KeepFloat::of(keep.iter().map(|&unit| &self.units[unit]))
    }

    fn in_words(&self, keep: &Assignment) -> String {
        let element = self.options.weights.element();
        // The token table is the last unit, where there are any.
        let kept = self.units.len().checked_sub(1).is_some_and(|last| keep.contains(&last));
        let table = self.options.table.filter(|table| table.element() != element && !kept);
        let table = table.map(|table| format!(", token table {}", table.element())).unwrap_or_default();
        let names: Vec<String> = keep.iter().map(|&unit| self.units[unit].to_string()).collect();
        match (keep.is_empty(), self.options.kept) {
            (true, _) => format!("all {element}{table}"),
            (false, WeightMode::Float) => format!("{element} but {}{table}", names.join(", ")),
            (false, kept) => format!("{element} but {} {}{table}", kept.element(), names.join(", ")),
        }
    }

    fn candidates(&self, sensitivity: &[Sensitivity]) -> Vec<Candidate> {
        let layers = |unit: &Unit| if let Unit::Layers(layers) = unit { layers.len() } else { 0 };
        let of_layers = self.units.iter().map(layers).sum();
        let of_weights = self.noise.iter().map(|noise| noise.weights).sum();
        let each = self.units.iter().zip(&self.noise).zip(sensitivity);
        each.map(|((unit, noise), sensitivity)| Candidate {
            error: sensitivity.output_error,
            saving: saving(layers(unit), of_layers, noise.weights, of_weights),
        })
        .collect()
    }

    fn lines(&self, keep: &Assignment, sensitivity: &[Sensitivity], why: impl Fn(usize) -> String) -> Vec<Line> {
        let by_hand = self.by_hand();
        let line = |(number, (unit, noise)): (usize, (&Unit, &Noise))| Line {
            unit: unit.to_string(),
            layers: if let Unit::Layers(layers) = unit { layers.clone() } else { Vec::new() },
            mode: match keep.contains(&number) {
                true => self.options.kept.element(),
                false => mode_of(unit, &self.options).element(),
            },
            noise: noise.clone(),
            sensitivity: sensitivity.get(number).copied(),
            why: match by_hand.contains(&number) {
                true => format!("kept {}: asked for", self.options.kept.element()),
                false => why(number),
            },
        };
        self.units.iter().zip(&self.noise).enumerate().map(line).collect()
    }
}

/// What a unit is stored in unless it is kept.
fn mode_of(unit: &Unit, options: &PackOptions) -> WeightMode {
    match unit {
        Unit::Table => options.table.unwrap_or(options.weights),
        Unit::Layers(_) => options.weights,
    }
}

fn with_self_test(mut draft: Draft) -> Result<Draft> {
    let model = draft.open()?;
    draft.record_self_test(&model)?;
    Ok(draft)
}
