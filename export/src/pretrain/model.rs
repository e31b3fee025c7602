//! The model that is pretrained: its shape, its first weights, and the generator beside it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use tch::Device;

use super::recipe::{ModelRecipe, PretrainRecipe};
use super::teacher::Teacher;
use crate::arch::{Family, Head, ModelConfig, Params, Spec, initial_value, parameter_layout, preset};
use crate::checkpoint;
use crate::data::Encoder;

/// What stands before the names of a generator's own parameters.
const GENERATOR: &str = "generator.";
/// What stands before those of the mechanism to copy.
pub(super) const COPY: &str = "copy.";
/// Folder of a generator beside the model that it was trained with.
pub(super) const GENERATOR_FOLDER: &str = "generator";

/// A model, its generator if it has one, and the parameters of both.
pub(super) struct Start {
    pub config: ModelConfig,
    pub head: Head,
    pub generator: Option<ModelConfig>,
    pub generator_start: GeneratorStart,
    /// The model's under their own names, the generator's with `generator.` before them; those that both share are the
    /// model's.
    pub params: Params,
}

/// Where a generator's first weights come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GeneratorStart {
    /// New ones.
    New,
    /// The folder beside the model that the recipe starts from.
    Folder,
    /// That model itself, which is of the generator's shape and guesses masked tokens.
    Model,
}

impl GeneratorStart {
    /// For the line that says what is trained.
    pub(super) fn name(self) -> &'static str {
        match self {
            GeneratorStart::New => "new",
            GeneratorStart::Folder => "from the folder beside the model",
            GeneratorStart::Model => "from the same model",
        }
    }
}

/// The tokenizer's file of a recipe.
///
/// # Errors
/// A folder without one.
pub(super) fn tokenizer_path(recipe: &PretrainRecipe, folder: &Path) -> Result<PathBuf> {
    let teacher = recipe.teacher.as_ref().map(|teacher| &teacher.model);
    let named =
        recipe.tokenizer.as_ref().or(recipe.model.start.as_ref()).or(teacher).context("no tokenizer is named")?;
    let path = folder.join(named);
    ensure!(path.exists(), "{} is not there", path.display());
    if path.is_dir() { checkpoint::tokenizer_path(&path) } else { Ok(path) }
}

/// The model's shape for a tokenizer.
///
/// # Errors
/// An unknown preset; sizes that make no model, or none that the objective can train.
pub(super) fn shape(recipe: &PretrainRecipe, folder: &Path, encoder: &Encoder) -> Result<ModelConfig> {
    let config = match (&recipe.model.preset, &recipe.model.start, &recipe.teacher) {
        (Some(name), ..) => resized(&recipe.model, name, recipe.max_tokens, encoder)?,
        (None, Some(start), _) => checkpoint::read_shape(&folder.join(start))?.0,
        (None, None, Some(teacher)) => teacher.student_shape(&recipe.model, folder)?,
        (None, None, None) => bail!("model: give `preset` or `start`"),
    };
    config.check()?;
    recipe.objective.head().check(&config)?;
    ensure!(
        recipe.max_tokens <= config.max_positions(),
        "max_tokens {} is more than the model's {} positions",
        recipe.max_tokens,
        config.max_positions()
    );
    Ok(config)
}

fn resized(own: &ModelRecipe, name: &str, max_tokens: usize, encoder: &Encoder) -> Result<ModelConfig> {
    let base = preset(name)
        .with_context(|| format!("model.preset: \"{name}\" is no published shape; `limbeck params --list` names them"))?
        .config;
    let tokenizer = encoder.tokenizer();
    let vocab_size = tokenizer.get_vocab(true).into_values().max().map_or(0, |last| last as usize + 1);
    let hidden_size = own.hidden_size.unwrap_or(base.hidden_size);
    let same = hidden_size == base.hidden_size;
    let factored = matches!(base.family, Family::Albert | Family::Electra);
    ensure!(
        own.embedding_size.is_none() || factored,
        "model.embedding_size is for albert and electra; {name} has its token table as wide as its layers"
    );
    ensure!(own.sharing.is_none() || base.family == Family::Albert, "model.sharing is for albert, not for {name}");
    let embedding_size = match own.embedding_size {
        Some(size) => size,
        None if factored && base.embedding_projection => base.embedding_size,
        None => hidden_size,
    };
    let positions = own.positions.unwrap_or(base.max_positions().max(max_tokens));
    let pad_id = ["[PAD]", "<pad>", "<|endoftext|>", "</s>"].iter().find_map(|name| tokenizer.token_to_id(name));
    let rate = |rate: f64| own.dropout.unwrap_or(rate);
    let pad_id = pad_id.map_or(0, |id| id as usize);
    Ok(ModelConfig {
        vocab_size,
        hidden_size,
        embedding_size,
        embedding_projection: embedding_size != hidden_size,
        layers: own.layers.unwrap_or(base.layers),
        attention_heads: own.attention_heads.unwrap_or(if same {
            base.attention_heads
        } else {
            (hidden_size / 64).max(1)
        }),
        intermediate_size: own.intermediate_size.unwrap_or(if same { base.intermediate_size } else { 4 * hidden_size }),
        // transformers' RoBERTa counts positions from the row after the padding's.
        first_position: if base.family == Family::Roberta { pad_id + 1 } else { base.first_position },
        position_rows: positions + if base.family == Family::Roberta { pad_id + 1 } else { base.first_position },
        sharing: own.sharing.unwrap_or(base.sharing),
        embedding_dropout: rate(base.embedding_dropout),
        hidden_dropout: rate(base.hidden_dropout),
        attention_dropout: rate(base.attention_dropout),
        initializer_range: own.initializer_range.unwrap_or(base.initializer_range),
        pad_id,
        ..base
    })
}

/// A generator for a model (google-research/electra, `get_generator_config`): as deep, `size` as wide, a head for each 64,
/// feed-forward width 4 H; its token, position and type tables with their norm are the model's.
///
/// # Errors
/// A causal model.
pub(super) fn generator_of(config: &ModelConfig, size: f64) -> Result<ModelConfig> {
    let hidden_size = ((config.hidden_size as f64 * size).round() as usize).max(1);
    let heads = (hidden_size / 64).max(1);
    let generator = ModelConfig {
        hidden_size,
        attention_heads: if hidden_size.is_multiple_of(heads) { heads } else { 1 },
        intermediate_size: 4 * hidden_size,
        embedding_projection: config.embedding_size != hidden_size,
        ..config.clone()
    };
    generator.check().context("the generator")?;
    Head::MaskedLm.check(&generator)?;
    ensure!(
        generator.family == Family::Electra,
        "a generator is an electra beside an electra, not beside a {}; use an electra preset",
        config.family.name()
    );
    Ok(generator)
}

/// Whether generator and model have a parameter in common (Clark 2020, section 3.2: "sharing the embeddings").
fn is_tied(name: &str) -> bool {
    name.starts_with("embeddings.") && !name.starts_with("embeddings.projection.")
}

fn generator_layout(generator: &ModelConfig) -> Vec<Spec> {
    parameter_layout(generator, Head::MaskedLm)
}

/// The weights that a generator begins with, and where they come from: what is not among them is new.
///
/// # Errors
/// A folder that cannot be read; a generator in it of another shape.
fn first_generator(
    recipe: &PretrainRecipe,
    start: Option<&Path>,
    config: &ModelConfig,
    generator: &ModelConfig,
    device: Device,
) -> Result<(Option<Params>, GeneratorStart)> {
    let Some(start) = start else { return Ok((None, GeneratorStart::New)) };
    let folder = start.join(GENERATOR_FOLDER);
    if folder.is_dir() {
        let loaded = checkpoint::load(&folder, Head::MaskedLm, device)?;
        ensure!(
            loaded.config == *generator,
            "{} is of another shape than objective.generator_size {} gives",
            folder.display(),
            recipe.objective.generator_size
        );
        return Ok((Some(loaded.params), GeneratorStart::Folder));
    }
    if generator == config {
        let loaded = checkpoint::load(start, Head::MaskedLm, device)?;
        if !loaded.initialised.iter().any(|name| name.starts_with("head.")) {
            return Ok((Some(loaded.params), GeneratorStart::Model));
        }
    }
    Ok((None, GeneratorStart::New))
}

impl Start {
    /// A model without a generator.
    pub(super) fn alone(config: ModelConfig, head: Head, params: Params) -> Self {
        Self { config, head, generator: None, generator_start: GeneratorStart::New, params }
    }

    /// New weights, from libtorch's random state, or those of the recipe's folder or of the teacher's layers.
    ///
    /// # Errors
    /// A folder that cannot be read; a generator beside it of another shape; layers that the teacher does not have.
    pub(super) fn new(
        recipe: &PretrainRecipe,
        folder: &Path,
        config: ModelConfig,
        teacher: Option<&Teacher>,
        device: Device,
    ) -> Result<Self> {
        let head = recipe.objective.head();
        let start = recipe.model.start.as_ref().map(|start| folder.join(start));
        let own = match (&start, teacher) {
            (Some(start), _) => checkpoint::load(start, head, device)?.params,
            (None, Some(teacher)) if recipe.model.preset.is_none() => teacher.first_weights(&config)?,
            (None, _) => Params::initialise(&parameter_layout(&config, head), device),
        };
        if !recipe.objective.kind.has_generator() {
            return Ok(Self::alone(config, head, own));
        }
        let generator = generator_of(&config, recipe.objective.generator_size)?;
        let (known, generator_start) = first_generator(recipe, start.as_deref(), &config, &generator, device)?;
        let mut added = BTreeMap::new();
        for spec in generator_layout(&generator).into_iter().filter(|spec| !is_tied(&spec.name)) {
            let value = match known.as_ref().and_then(|known| known.get(&spec.name)) {
                Some(value) => value.shallow_clone(),
                None => initial_value(&spec, device),
            };
            added.insert(format!("{GENERATOR}{}", spec.name), value);
        }
        if recipe.objective.kind == super::ObjectiveKind::AllTokensMlm {
            let (weight, bias) = (format!("{COPY}weight"), format!("{COPY}bias"));
            let range = config.initializer_range;
            let spec = |name: &str, shape: Vec<i64>, init| Spec { name: name.to_owned(), shape, init };
            let normal = crate::arch::Init::TruncatedNormal(range);
            let weight_spec = spec(&weight, vec![1, config.hidden_size as i64], normal);
            added.insert(weight, initial_value(&weight_spec, device));
            let bias_spec = spec(&bias, vec![1], crate::arch::Init::Zeros);
            added.insert(bias, initial_value(&bias_spec, device));
        }
        Ok(Self { config, head, generator: Some(generator), generator_start, params: own.with(added) })
    }

    /// The model's parameters, as handles.
    pub(super) fn own(&self) -> Params {
        let own = self.params.iter().filter(|(name, _)| !name.starts_with(GENERATOR) && !name.starts_with(COPY));
        Params::handles(own, self.params.device())
    }

    /// The generator's parameters under the names of a model's, as handles: tables are the model's.
    pub(super) fn of_generator(&self) -> Option<Params> {
        let generator = self.generator.as_ref()?;
        let layout = generator_layout(generator);
        let values = layout.iter().filter_map(|spec| {
            let name = if is_tied(&spec.name) { spec.name.clone() } else { format!("{GENERATOR}{}", spec.name) };
            Some((spec.name.clone(), self.params.get(&name)?))
        });
        Some(Params::handles(values, self.params.device()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generators_are_the_papers() {
        for (model, size, generator) in [
            ("electra-small", 0.25, "electra-small-generator"),
            ("electra-small", 1.0, "electra-small-plus-plus-generator"),
            ("electra-base", 1.0 / 3.0, "electra-base-generator"),
            ("electra-large", 0.25, "electra-large-generator"),
        ] {
            let config = preset(model).unwrap().config;
            assert_eq!(generator_of(&config, size).unwrap(), preset(generator).unwrap().config, "{generator}");
        }
    }

    #[test]
    fn what_is_trained_together_counts_as_the_papers_pairs() {
        // Joint counts: 14,196,219 (small), 119,386,427 (base), 354,655,291 (large), of which the tied tables 3,972,864,
        // 23,837,184 and 31,782,912.
        for (name, size, joint, tied) in [
            ("electra-small", 0.25, 14_196_219u64, 3_972_864u64),
            ("electra-small", 1.0, 23_122_875, 3_972_864),
            ("electra-base", 1.0 / 3.0, 119_386_427, 23_837_184),
            ("electra-large", 0.25, 354_655_291, 31_782_912),
        ] {
            let config = preset(name).unwrap().config;
            let generator = generator_of(&config, size).unwrap();
            let own: u64 = parameter_layout(&config, Head::ReplacedToken).iter().map(Spec::len).sum();
            let (shared, more): (Vec<_>, Vec<_>) =
                generator_layout(&generator).into_iter().partition(|spec| is_tied(&spec.name));
            assert_eq!(shared.iter().map(Spec::len).sum::<u64>(), tied, "{name}");
            assert_eq!(own + more.iter().map(Spec::len).sum::<u64>(), joint, "{name}");
        }
    }
}
