//! Choosing a head on the command line.

use std::path::Path;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use limbeck_export::arch::{Head, ModelConfig, Pooling};
use limbeck_export::checkpoint::{HeadInfo, read_pooling, read_shape};

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum HeadName {
    None,
    Embedding,
    Classification,
    TokenClassification,
    Span,
    MaskedLm,
    Pretraining,
    ReplacedToken,
    CausalLm,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PoolingName {
    Mean,
    Cls,
    Max,
}

/// Another head than the one that the model's own config.json names
#[derive(Args)]
pub(super) struct HeadChoice {
    /// Head; default: the one that config.json names, or the preset's own
    #[arg(long, value_enum)]
    head: Option<HeadName>,
    /// Number of labels of a classification head
    #[arg(long, value_name = "N")]
    labels: Option<usize>,
    /// How an embedding head makes one vector of a text; default: what the folder's 1_Pooling says, else mean
    #[arg(long, value_enum)]
    pooling: Option<PoolingName>,
    /// Leave embeddings as long as they are, not of length 1
    #[arg(long)]
    no_normalize: bool,
}

impl HeadChoice {
    /// The head that a folder's config.json names; none of it matters if another one is asked for.
    pub(super) fn own(&self, folder: &Path) -> Result<(ModelConfig, HeadInfo)> {
        let (config, own) = read_shape(folder)?;
        match own {
            Ok(own) => Ok((config, own)),
            Err(_) if self.head.is_some() => Ok((config, HeadInfo::new(Head::None))),
            Err(error) => Err(error),
        }
    }

    /// The head that was asked for; `own` is the model's, `folder` where it lies.
    pub(super) fn choose(&self, own: &HeadInfo, folder: Option<&Path>) -> Result<Head> {
        let own_labels = match own.head {
            Head::Classification { labels } | Head::TokenClassification { labels } => Some(labels),
            _ => None,
        };
        let labels = self.labels.or(own_labels);
        let Some(name) = self.head else {
            if self.labels.is_some() || self.pooling.is_some() || self.no_normalize {
                bail!("--labels, --pooling and --no-normalize belong to --head; name the head too");
            }
            return Ok(own.head);
        };
        let takes_labels = matches!(name, HeadName::Classification | HeadName::TokenClassification);
        if self.labels.is_some() && !takes_labels {
            bail!("--labels belongs to classification and token-classification");
        }
        if (self.pooling.is_some() || self.no_normalize) && name != HeadName::Embedding {
            bail!("--pooling and --no-normalize belong to --head embedding");
        }
        let with_labels = |head: fn(usize) -> Head| match labels {
            Some(labels) if labels > 0 => Ok(head(labels)),
            _ => bail!("give --labels N (at least 1) with this head"),
        };
        Ok(match name {
            HeadName::None => Head::None,
            HeadName::Embedding => {
                let known = match self.pooling {
                    Some(_) => None,
                    None => folder.map(read_pooling).transpose()?.flatten(),
                };
                let pooling = match self.pooling {
                    Some(PoolingName::Mean) => Pooling::Mean,
                    Some(PoolingName::Cls) => Pooling::Cls,
                    Some(PoolingName::Max) => Pooling::Max,
                    None => known.map_or(Pooling::Mean, |known| known.pooling),
                };
                let normalize = known.is_none_or(|known| known.normalize);
                Head::Embedding { pooling, normalize: normalize && !self.no_normalize }
            }
            HeadName::Classification => with_labels(|labels| Head::Classification { labels })?,
            HeadName::TokenClassification => with_labels(|labels| Head::TokenClassification { labels })?,
            HeadName::Span => Head::Span,
            HeadName::MaskedLm => Head::MaskedLm,
            HeadName::Pretraining => Head::Pretraining,
            HeadName::ReplacedToken => Head::ReplacedToken,
            HeadName::CausalLm => Head::CausalLm,
        })
    }
}
