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
    /// The most tokens to write
    #[arg(long, default_value_t = 128)]
    max_new_tokens: usize,
    /// 0: the likeliest token each time; above, tokens are drawn, from logits divided by this
    #[arg(long, default_value_t = 0.0)]
    temperature: f32,
    /// Draw among the fewest likeliest tokens whose probabilities reach this sum
    #[arg(long, default_value_t = 1.0)]
    top_p: f32,
    /// Makes tokens that stand in the context less likely, if above 1
    #[arg(long, default_value_t = 1.0)]
    repetition_penalty: f32,
    /// End before this string; may be repeated
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// The same seed draws the same text
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// What to do when the context is full
    #[arg(long, value_enum, default_value = "stop")]
    context: ContextName,
}

impl Writing {
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
            .max_new_tokens(self.max_new_tokens)
            .temperature(self.temperature)
            .top_k(top_k)
            .top_p(self.top_p)
            .repetition_penalty(self.repetition_penalty)
            .seed(self.seed)
            .context(match self.context {
                ContextName::Error => ContextPolicy::Error,
                ContextName::Stop => ContextPolicy::Stop,
                ContextName::Slide => ContextPolicy::Slide { keep: 0 },
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
