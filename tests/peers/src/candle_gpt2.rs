//! GPT-2 in candle, on the checkpoint, for `cargo xtask bench generation`: greedy, with keys and values kept. The arithmetic is that of
//! Radford 2019 as transformers' `GPT2LMHeadModel` has it. Its threads are those of RAYON_NUM_THREADS.
//!
//! peer-candle-gpt2 FOLDER ROOM reads and prints what `sdk/benches/generation_peer.py` does.

use std::fs;
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use candle_core::{D, DType, Device, Tensor};
use candle_nn::kv_cache::KvCache;
use candle_nn::ops::softmax_last_dim;
use candle_nn::{LayerNorm, Module, VarBuilder, layer_norm};
use serde::Deserialize;

#[path = "../../../sdk/benches/common/processor.rs"]
mod processor;

use processor::processor_seconds;

/// `config.json`.
#[derive(Deserialize)]
struct Config {
    vocab_size: usize,
    n_positions: usize,
    n_embd: usize,
    n_layer: usize,
    n_head: usize,
    layer_norm_epsilon: f64,
}

/// GPT-2's `Conv1D`: x W + b with W `[in, out]`.
struct Map {
    weight: Tensor,
    bias: Tensor,
}

impl Map {
    fn load(inputs: usize, outputs: usize, names: VarBuilder) -> Result<Self> {
        Ok(Self { weight: names.get((inputs, outputs), "weight")?, bias: names.get(outputs, "bias")? })
    }

    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        x.matmul(&self.weight)?.broadcast_add(&self.bias)
    }
}

struct Layer {
    norms: [LayerNorm; 2],
    /// Queries, keys and values at once; what attention gives; in and out of the feed-forward part.
    maps: [Map; 4],
    kept: KvCache,
}

struct Gpt2 {
    config: Config,
    tokens: Tensor,
    positions: Tensor,
    layers: Vec<Layer>,
    norm: LayerNorm,
}

impl Gpt2 {
    fn open(folder: &Path, room: usize) -> Result<Self> {
        let config = folder.join("config.json");
        let config = fs::read_to_string(&config).with_context(|| format!("reading {}", config.display()))?;
        let config: Config = serde_json::from_str(&config)?;
        ensure!(room <= config.n_positions, "{room} tokens for {} positions", config.n_positions);
        let weights = folder.join("model.safetensors");
        // SAFETY: nobody writes to the file while the benchmark runs.
        let weights = unsafe { VarBuilder::from_mmaped_safetensors(&[weights], DType::F32, &Device::Cpu)? };
        let names = weights.pp("transformer");
        let (width, epsilon) = (config.n_embd, config.layer_norm_epsilon);
        let norm = |names: VarBuilder| layer_norm(width, epsilon, names);
        let layer = |number| -> Result<Layer> {
            let names = names.pp("h").pp(number);
            let (attention, feed_forward) = (names.pp("attn"), names.pp("mlp"));
            Ok(Layer {
                norms: [norm(names.pp("ln_1"))?, norm(names.pp("ln_2"))?],
                maps: [
                    Map::load(width, 3 * width, attention.pp("c_attn"))?,
                    Map::load(width, width, attention.pp("c_proj"))?,
                    Map::load(width, 4 * width, feed_forward.pp("c_fc"))?,
                    Map::load(4 * width, width, feed_forward.pp("c_proj"))?,
                ],
                kept: KvCache::new(1, room),
            })
        };
        Ok(Self {
            tokens: names.pp("wte").get((config.vocab_size, width), "weight")?,
            positions: names.pp("wpe").get((config.n_positions, width), "weight")?,
            layers: (0..config.n_layer).map(layer).collect::<Result<_>>()?,
            norm: norm(names.pp("ln_f"))?,
            config,
        })
    }

    /// The likeliest token after `ids`, before which `read` tokens were read.
    fn step(&mut self, ids: &[u32], read: usize) -> Result<u32> {
        let (length, heads) = (ids.len(), self.config.n_head);
        let size = self.config.n_embd / heads;
        let ids = Tensor::new(ids, &Device::Cpu)?;
        let mut x = (self.tokens.index_select(&ids, 0)? + self.positions.narrow(0, read, length)?)?;
        // Nothing is read before the prompt, so that the mask is square; a single token sees all.
        let mask = (length > 1).then(|| {
            let mask =
                (0..length).flat_map(|row| (0..length).map(move |at| if at > row { f32::NEG_INFINITY } else { 0.0 }));
            Tensor::from_iter(mask, &Device::Cpu)?.reshape((length, length))
        });
        let mask = mask.transpose()?;
        for Layer { norms, maps, kept } in &mut self.layers {
            let all = maps[0].forward(&norms[0].forward(&x)?)?.reshape((length, 3, heads, size))?;
            // [heads, length, size]
            let part = |number| all.narrow(1, number, 1)?.squeeze(1)?.transpose(0, 1)?.contiguous();
            let (keys, values) = kept.append(&part(1)?, &part(2)?)?;
            let scores = (part(0)?.matmul(&keys.transpose(1, 2)?)? * (1.0 / (size as f64).sqrt()))?;
            let scores = match &mask {
                Some(mask) => scores.broadcast_add(mask)?,
                None => scores,
            };
            let seen = softmax_last_dim(&scores)?.matmul(&values)?;
            x = (&x + maps[1].forward(&seen.transpose(0, 1)?.reshape((length, heads * size))?)?)?;
            // candle's `gelu` is the one with tanh, GPT-2's.
            let inner = maps[2].forward(&norms[1].forward(&x)?)?.gelu()?;
            x = (&x + maps[3].forward(&inner)?)?;
        }
        let last = self.norm.forward(&x.narrow(0, length - 1, 1)?)?;
        let logits = last.matmul(&self.tokens.t()?)?;
        Ok(logits.argmax(D::Minus1)?.to_vec1::<u32>()?[0])
    }

    /// Tokens after a prompt; seconds of the clock and of the processor to the first of them and for all others.
    fn write(&mut self, prompt: &[u32], tokens: usize) -> Result<([f64; 4], Vec<u32>)> {
        let (started, busy) = (Instant::now(), processor_seconds());
        self.layers.iter_mut().for_each(|layer| layer.kept.reset());
        let mut written = vec![self.step(prompt, 0)?];
        let first = [started.elapsed().as_secs_f64(), processor_seconds() - busy];
        let (started, busy) = (Instant::now(), processor_seconds());
        while let (Some(&last), true) = (written.last(), written.len() < tokens) {
            written.push(self.step(&[last], prompt.len() + written.len() - 1)?);
        }
        Ok(([first[0], first[1], started.elapsed().as_secs_f64(), processor_seconds() - busy], written))
    }
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [folder, room] = &words[..] else { anyhow::bail!("peer-candle-gpt2 FOLDER ROOM") };
    let mut model = Gpt2::open(Path::new(folder), room.parse().context("ROOM")?)?;
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let numbers: Vec<u32> =
            line.split_whitespace().map(str::parse).collect::<Result<_, _>>().context("a line of the input")?;
        let (&tokens, prompt) = numbers.split_first().context("an empty line")?;
        ensure!(!prompt.is_empty(), "a prompt without a token");
        let (seconds, written) = model.write(prompt, tokens as usize)?;
        let words = seconds.iter().map(f64::to_string).chain(written.iter().map(u32::to_string));
        writeln!(output, "{}", words.collect::<Vec<_>>().join(" "))?;
        output.flush()?;
    }
    Ok(())
}
