//! The special tokens that a model wants around one text or two.

use tokenizers::{Encoding, Token};

use super::library::Library;
use super::tokenizer::guarded;
use crate::{Error, Result};

/// Id and type of a special token.
type Special = (u32, u32);

/// Special tokens before, between and after the texts, and the token types of the texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    before: Vec<Special>,
    between: Vec<Special>,
    after: Vec<Special>,
    types: [u32; 2],
}

impl Template {
    /// How many special tokens it adds.
    pub(crate) fn len(&self) -> usize {
        self.before.len() + self.between.len() + self.after.len()
    }

    /// Ids of the special tokens before the first text.
    pub(crate) fn before(&self) -> impl Iterator<Item = u32> + '_ {
        self.before.iter().map(|t| t.0)
    }

    /// Where the first token of the first text stands in a row.
    pub(crate) fn first_at(&self) -> usize {
        self.before.len()
    }

    /// Where the first token of the second text stands in a row, behind a first text of `first` tokens.
    pub(crate) fn second_at(&self, first: usize) -> usize {
        self.before.len() + first + self.between.len()
    }

    /// Ids of the texts with their special tokens. The second text of a template for one is empty.
    pub(crate) fn ids<'a>(&'a self, first: &'a [u32], second: &'a [u32]) -> impl Iterator<Item = u32> + 'a {
        let special = |tokens: &'a [Special]| tokens.iter().map(|t| t.0);
        special(&self.before)
            .chain(first.iter().copied())
            .chain(special(&self.between))
            .chain(second.iter().copied())
            .chain(special(&self.after))
    }

    /// Token types of texts of so many tokens with their special tokens.
    pub(crate) fn types(&self, first: usize, second: usize) -> impl Iterator<Item = u32> + '_ {
        let [one, two] = self.types;
        self.before
            .iter()
            .map(|t| t.1)
            .chain(std::iter::repeat_n(one, first))
            .chain(self.between.iter().map(|t| t.1))
            .chain(std::iter::repeat_n(two, second))
            .chain(self.after.iter().map(|t| t.1))
    }

    /// The template for one text: what the post-processor of `tokenizer` does, found out by letting it
    /// process made-up tokens. Windows can then be framed without running it again.
    pub(super) fn for_one(tokenizer: &Library) -> Result<Template> {
        Template::find(tokenizer, false).map_err(|unsupported| match unsupported {
            Unsupported::Failed(error) => error,
            Unsupported::Shape => Error::Tokenizer(
                "tokenizer.json: its post-processor does more than put special tokens before and after a text"
                    .to_owned(),
            ),
        })
    }

    /// The template for two texts; none if the post-processor cannot join two in a plain way.
    pub(super) fn for_two(tokenizer: &Library) -> Option<Template> {
        Template::find(tokenizer, true).ok()
    }

    fn find(tokenizer: &Library, pair: bool) -> Result<Template, Unsupported> {
        let (template, _) = Template::probe(tokenizer, 1, pair.then_some(1))?;
        for (first, second) in [(3, 2), (2, 5)] {
            let (same, types) = Template::probe(tokenizer, first, pair.then_some(second))?;
            let second = if pair { second } else { 0 };
            if template != same || !template.types(first, second).eq(types) {
                return Err(Unsupported::Shape);
            }
        }
        Ok(template)
    }

    /// The template as texts of these lengths show it, and the types of the whole row.
    fn probe(tokenizer: &Library, first: usize, second: Option<usize>) -> Result<(Template, Vec<u32>), Unsupported> {
        let made_up = |length: usize| {
            Encoding::from_tokens((0..length).map(|i| Token::new(0, String::new(), (i, i + 1))).collect(), 0)
        };
        let encoding = guarded(|| tokenizer.frame(made_up(first), second.map(made_up)))
            .map_err(|error| Unsupported::Failed(Error::Tokenizer(error)))?;
        let tokens: Vec<Special> =
            encoding.get_ids().iter().copied().zip(encoding.get_type_ids().iter().copied()).collect();
        let special: Vec<bool> = encoding.get_special_tokens_mask().iter().map(|&mask| mask != 0).collect();
        let run = |from: usize, wanted: bool| special[from..].iter().take_while(|&&is| is == wanted).count();

        // Without special tokens between them two texts are one run of text.
        let mut at = run(0, true);
        let before = tokens[..at].to_vec();
        let second = second.unwrap_or(0);
        let (start, found) = (at, run(at, false));
        at += found;
        let mut types = [tokens.get(start).map_or(0, |t| t.1); 2];
        let mut between = Vec::new();
        if found == first && second > 0 {
            between = tokens[at..at + run(at, true)].to_vec();
            at += between.len();
            if run(at, false) != second {
                return Err(Unsupported::Shape);
            }
            types[1] = tokens.get(at).map_or(0, |t| t.1);
            at += second;
        } else if found == first + second {
            types[1] = tokens.get(start + found - 1).map_or(0, |t| t.1);
        } else {
            return Err(Unsupported::Shape);
        }
        if run(at, true) != tokens.len() - at {
            return Err(Unsupported::Shape);
        }
        let all = tokens.iter().map(|t| t.1).collect();
        Ok((Template { before, between, after: tokens[at..].to_vec(), types }, all))
    }
}

/// Why a template was not found.
enum Unsupported {
    Failed(Error),
    Shape,
}
