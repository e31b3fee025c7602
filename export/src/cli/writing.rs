use std::io::Write as _;

use anyhow::Result;
use clap::{Args, ValueEnum};
use limbeck::{ContextPolicy, Finish, GenerateOptions, Model, Prompt};
use serde_json::{Value, json};

#[derive(Clone, Copy, ValueEnum)]
enum ContextName {
    /// Refuse what might be more than the model's context holds
    Error,
    /// Write until it is full
    Stop,
    /// Forget the oldest tokens
    Slide,
}

/// How a model for generation writes.
#[derive(Args)]
#[command(next_help_heading = "Models that write text")]
pub(super) struct Writing {
    /// The most tokens to write [default: 128]
    #[arg(long, value_name = "N")]
    max_new_tokens: Option<usize>,
    /// 0: the likeliest token each time; above, tokens are drawn, from logits divided by this [default: 0]
    #[arg(long)]
    temperature: Option<f32>,
    /// Draw among the fewest likeliest tokens whose probabilities reach this sum [default: 1]
    #[arg(long)]
    top_p: Option<f32>,
    /// Makes tokens that stand in the context less likely, if above 1 [default: 1]
    #[arg(long)]
    repetition_penalty: Option<f32>,
    /// End before this string; may be repeated
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// The same seed draws the same text [default: 0]
    #[arg(long)]
    seed: Option<u64>,
    /// What to do when the context is full [default: stop]
    #[arg(long, value_enum)]
    context: Option<ContextName>,
}

impl Writing {
    /// An option that was given.
    pub(super) fn given(&self) -> Option<&'static str> {
        let Self { max_new_tokens, temperature, top_p, repetition_penalty, stop, seed, context } = self;
        let all = [
            ("--max-new-tokens", max_new_tokens.is_some()),
            ("--temperature", temperature.is_some()),
            ("--top-p", top_p.is_some()),
            ("--repetition-penalty", repetition_penalty.is_some()),
            ("--stop", !stop.is_empty()),
            ("--seed", seed.is_some()),
            ("--context", context.is_some()),
        ];
        all.into_iter().find_map(|(name, given)| given.then_some(name))
    }

    /// Writes on from a prompt, to the terminal as the tokens come, or chooses between completions.
    pub(super) fn run(
        &self,
        model: &Model,
        prompt: &str,
        completions: &[String],
        top_k: usize,
        json: bool,
    ) -> Result<()> {
        if !completions.is_empty() {
            return choose(model, prompt, completions, json);
        }
        let mut options = GenerateOptions::new()
            .max_new_tokens(self.max_new_tokens.unwrap_or(128))
            .temperature(self.temperature.unwrap_or(0.0))
            .top_k(top_k)
            .top_p(self.top_p.unwrap_or(1.0))
            .repetition_penalty(self.repetition_penalty.unwrap_or(1.0))
            .seed(self.seed.unwrap_or(0))
            .context(match self.context {
                Some(ContextName::Error) => ContextPolicy::Error,
                Some(ContextName::Stop) | None => ContextPolicy::Stop,
                Some(ContextName::Slide) => ContextPolicy::Slide { keep: 0 },
            });
        options.stop.clone_from(&self.stop);
        let mut writing = model.generate(prompt, &options)?;
        if json {
            let mut answer = serde_json::to_value(writing.finish()?)?;
            if let Value::Object(fields) = &mut answer {
                fields.insert("prompt".to_owned(), json!(prompt));
            }
            return super::print(&format!("{answer}\n"));
        }
        super::print(prompt)?;
        for piece in writing.by_ref() {
            super::print(&piece?.text)?;
            // What fails here fails at the next token too, and is told there.
            let _ = std::io::stdout().flush();
        }
        super::print("\n")?;
        let written = writing.stop();
        let end = match written.finish {
            Finish::EndOfText => "end of text",
            Finish::Stop => "a stop string",
            Finish::Length => "--max-new-tokens",
            Finish::Context => "the context is full",
            _ => "given up",
        };
        let decode = (written.times.decode + written.times.sampling).as_secs_f64();
        // The first token comes with the prompt.
        let further = written.generated_tokens.saturating_sub(1);
        let speed = if further == 0 { String::new() } else { format!(", {:.1} tokens/s", further as f64 / decode) };
        let forgotten = match written.tokens_dropped {
            0 => String::new(),
            n => format!(", {n} tokens forgotten"),
        };
        eprintln!(
            "  {} tokens read in {:.0} ms, {} written{speed}{forgotten}; ended by {end}",
            written.prompt_tokens,
            written.times.prefill.as_secs_f64() * 1e3,
            written.generated_tokens,
        );
        Ok(())
    }
}

fn choose(model: &Model, prompt: &str, completions: &[String], json: bool) -> Result<()> {
    let completions: Vec<&str> = completions.iter().map(String::as_str).collect();
    let answer = model.prompt(&Prompt::new(prompt)).choose(&completions)?;
    if json {
        let mut answer = serde_json::to_value(answer)?;
        if let Value::Object(fields) = &mut answer {
            fields.insert("prompt".to_owned(), json!(prompt));
        }
        return super::print(&format!("{answer}\n"));
    }
    let choices =
        answer.choices.iter().map(|choice| format!("{} {:.1}%", choice.text.trim(), choice.probability * 100.0));
    super::print(&format!("{prompt}\n  {}\n", choices.collect::<Vec<_>>().join("  ")))
}
