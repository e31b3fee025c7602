//! A tokenizer with a part of its tokens that reads the same texts in the same way.
//!
//! * WordPiece takes the longest token that fits (Schuster and Nakajima 2012). With fewer tokens, one that was the longest
//!   and is still there still is.
//! * BPE applies the best-ranked merge that fits, again and again. With the merges that made the tokens of a text, and no
//!   others, the best of all is still the best.
//! * Unigram takes the likeliest way to cut a text. With fewer pieces, the likeliest of all, if still there, still is.
//!
//! So what is kept of a corpus's tokens is read as before. Single characters are kept for all other texts, and where a
//! character has no token of its own, all tokens that have it: no text becomes unknown that was not.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokenizers::Tokenizer;

/// How often each token occurs in texts.
///
/// # Errors
/// A text that cannot be read.
pub fn count_tokens(tokenizer: &Tokenizer, texts: &[String]) -> Result<BTreeMap<u32, u64>> {
    let mut counts = BTreeMap::new();
    for text in texts {
        let encoding = tokenizer.encode_fast(text.as_str(), false).map_err(|error| anyhow::anyhow!("{error}"))?;
        encoding.get_ids().iter().for_each(|&id| *counts.entry(id).or_insert(0) += 1);
    }
    Ok(counts)
}

/// A tokenizer with fewer tokens.
pub struct TrimmedTokenizer {
    /// `tokenizer.json`.
    pub json: Value,
    /// The old ids of its tokens, by new id; ascending.
    pub kept: Vec<u32>,
}

impl TrimmedTokenizer {
    /// Keeps the tokens `used`, those that any text may need, added tokens, and `always`.
    ///
    /// # Errors
    /// A file that is no tokenizer, or of a kind whose tokens cannot be left out.
    pub fn new(json: &Value, used: &BTreeSet<u32>, always: &BTreeSet<u32>) -> Result<Self> {
        let mut json = json.clone();
        let kind = json["model"]["type"].as_str().unwrap_or("BPE").to_owned();
        let ids = vocabulary(&json["model"])?;
        let names: HashMap<u32, &str> = ids.iter().map(|(token, &id)| (id, token.as_str())).collect();
        let mut kept: BTreeSet<u32> = used.union(always).copied().collect();
        for added in json["added_tokens"].as_array().into_iter().flatten() {
            kept.insert(id_of(&added["id"]).context("an added token has no id")?);
        }
        kept.extend(json["model"]["unk_token"].as_str().and_then(|token| ids.get(token)));
        kept.extend(id_of(&json["model"]["unk_id"]));
        let byte = |token: &str| token.len() == 6 && token.starts_with("<0x") && token.ends_with('>');
        let mut merges = None;
        match kind.as_str() {
            "WordPiece" => {
                let prefix = json["model"]["continuing_subword_prefix"].as_str().unwrap_or("##");
                kept.extend(any_text(&ids, |token| match token.strip_prefix(prefix) {
                    Some(rest) => (rest, true),
                    None => (token, false),
                }));
            }
            "Unigram" => {
                kept.extend(any_text(&ids, |token| (token, false)));
                if json["model"]["byte_fallback"] == true {
                    kept.extend(ids.iter().filter(|(token, _)| byte(token)).map(|(_, id)| id));
                }
            }
            "BPE" => {
                for affix in ["continuing_subword_prefix", "end_of_word_suffix"] {
                    let affixed = json["model"][affix].as_str().is_some_and(|affix| !affix.is_empty());
                    ensure!(!affixed, "a BPE tokenizer with a `{affix}` cannot be trimmed");
                }
                let single = |token: &str| token.chars().count() == 1 || byte(token);
                kept.extend(ids.iter().filter(|(token, _)| single(token)).map(|(_, id)| id));
                let all = Merges::read(&json["model"]["merges"])?;
                let mut applied = BTreeSet::new();
                for token in kept.clone().iter().filter_map(|id| names.get(id)) {
                    all.apply(token, &mut applied);
                }
                for (left, right) in applied.iter().map(|&rank| &all.list[rank]) {
                    kept.extend([left, right, &format!("{left}{right}")].into_iter().filter_map(|part| ids.get(part)));
                }
                let list = json["model"]["merges"].as_array();
                let of = |rank: &usize| list.and_then(|list| list.get(*rank)).cloned();
                merges = Some(applied.iter().filter_map(of).collect::<Vec<Value>>());
            }
            "WordLevel" => {}
            other => bail!("a tokenizer of the kind {other} cannot be trimmed"),
        }
        let kept: Vec<u32> = kept.into_iter().collect();
        let renumbered: HashMap<u32, u32> = kept.iter().zip(0..).map(|(&old, new)| (old, new)).collect();
        if let Some(merges) = merges {
            json["model"]["merges"] = merges.into();
        }
        renumber(&mut json, &kind, &renumbered)?;
        Ok(Self { json, kept })
    }

    /// What an old id became.
    pub fn new_id(&self, old: u32) -> Option<u32> {
        self.kept.binary_search(&old).ok().map(|new| new as u32)
    }

    /// As a tokenizer.
    ///
    /// # Errors
    /// A file that the library does not read.
    pub fn open(&self) -> Result<Tokenizer> {
        let tokenizer = Tokenizer::from_bytes(serde_json::to_vec(&self.json)?);
        tokenizer.map_err(|error| anyhow::anyhow!("the trimmed tokenizer does not open: {error}"))
    }
}

fn id_of(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|id| u32::try_from(id).ok())
}

/// Ids by token.
fn vocabulary(model: &Value) -> Result<HashMap<String, u32>> {
    if let Some(list) = model["vocab"].as_array() {
        let name = |piece: &Value| piece[0].as_str().map(str::to_owned).context("a piece without a name");
        return list.iter().zip(0..).map(|(piece, id)| Ok((name(piece)?, id))).collect();
    }
    let map = model["vocab"].as_object().context("the tokenizer has no vocabulary")?;
    map.iter().map(|(token, id)| Ok((token.clone(), id_of(id).context("a token's id is no number")?))).collect()
}

/// Tokens that any text may need: single characters, and where a character has none for its place (at the start or
/// after it), all tokens that have it there. `split` gives a token's text and whether it only follows others.
fn any_text<'t>(ids: &'t HashMap<String, u32>, split: impl Fn(&'t str) -> (&'t str, bool)) -> Vec<u32> {
    let single = |text: &str| {
        let mut characters = text.chars();
        characters.next().filter(|_| characters.next().is_none())
    };
    let all = || ids.iter().map(|(token, &id)| (split(token), id));
    let alone: BTreeSet<(char, bool)> =
        all().filter_map(|((text, follows), _)| single(text).map(|character| (character, follows))).collect();
    let follows_apart = all().any(|((_, follows), _)| follows);
    let covered = |text: &str, follows: bool| {
        text.chars().enumerate().all(|(at, character)| alone.contains(&(character, follows || at > 0 && follows_apart)))
    };
    all().filter(|((text, follows), _)| single(text).is_some() || !covered(text, *follows)).map(|(_, id)| id).collect()
}

/// The merges of a BPE model, best first.
struct Merges {
    list: Vec<(String, String)>,
    ranks: HashMap<(String, String), usize>,
}

impl Merges {
    fn read(value: &Value) -> Result<Self> {
        let pair = |merge: &Value| {
            let two = match merge {
                Value::String(text) => text.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())),
                _ => merge[0].as_str().zip(merge[1].as_str()).map(|(a, b)| (a.to_owned(), b.to_owned())),
            };
            two.context("a merge is not of two tokens")
        };
        let list: Vec<(String, String)> =
            value.as_array().context("a BPE tokenizer has no merges")?.iter().map(pair).collect::<Result<_>>()?;
        let ranks = list.iter().cloned().zip(0..).collect();
        Ok(Self { list, ranks })
    }

    /// Adds the ranks of the merges that make `token` of its characters.
    fn apply(&self, token: &str, applied: &mut BTreeSet<usize>) {
        let mut parts: Vec<String> = token.chars().map(String::from).collect();
        loop {
            let rank = |at: usize| self.ranks.get(&(parts[at].clone(), parts[at + 1].clone())).copied();
            let best = (0..parts.len().saturating_sub(1)).filter_map(|at| Some((rank(at)?, at))).min();
            let Some((rank, at)) = best else { return };
            applied.insert(rank);
            let right = parts.remove(at + 1);
            parts[at].push_str(&right);
        }
    }
}

/// Gives every id in a tokenizer file its new number, and leaves out tokens that have none.
fn renumber(json: &mut Value, kind: &str, ids: &HashMap<u32, u32>) -> Result<()> {
    let new = |id: &Value| id_of(id).and_then(|id| ids.get(&id)).copied();
    let model = &mut json["model"];
    if let Some(list) = model["vocab"].as_array_mut() {
        let mut at = 0;
        list.retain(|_| {
            at += 1;
            ids.contains_key(&(at - 1))
        });
    } else if let Some(map) = model["vocab"].as_object_mut() {
        map.retain(|_, id| new(id).is_some());
        map.values_mut().for_each(|id| *id = json!(new(id)));
    }
    if kind == "Unigram" {
        let unknown = new(&model["unk_id"]);
        model["unk_id"] = json!(unknown);
    }
    for added in json["added_tokens"].as_array_mut().into_iter().flatten() {
        added["id"] = json!(new(&added["id"]));
    }
    if let Some(padding) = json["padding"].as_object_mut()
        && let Some(id) = padding.get("pad_id").and_then(new)
    {
        padding.insert("pad_id".to_owned(), json!(id));
    }
    renumber_processor(&mut json["post_processor"], &new)
}

fn renumber_processor(processor: &mut Value, new: &dyn Fn(&Value) -> Option<u32>) -> Result<()> {
    let known = |id: &Value| new(id).with_context(|| format!("the post-processor adds the token {id}, which is none"));
    for end in ["sep", "cls"] {
        if processor[end].is_array() {
            processor[end][1] = json!(known(&processor[end][1])?);
        }
    }
    for token in processor["special_tokens"].as_object_mut().into_iter().flat_map(|map| map.values_mut()) {
        for id in token["ids"].as_array_mut().into_iter().flatten() {
            *id = json!(known(id)?);
        }
    }
    for inner in processor["processors"].as_array_mut().into_iter().flatten() {
        renumber_processor(inner, new)?;
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests;
