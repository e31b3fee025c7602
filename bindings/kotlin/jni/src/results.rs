//! Answers, written as `Results.kt` reads them.

use limbeck_sdk as sdk;

use crate::failure::Failure;
use crate::wire::Writer;

pub(crate) fn classifications(answers: &[sdk::Classification]) -> Result<Vec<u8>, Failure> {
    batch(answers, |out, answer| {
        out.list(&answer.labels, |out, scored| {
            out.text(&scored.label).size(scored.index).float(scored.probability).float(scored.logit).flag(scored.holds);
        });
        usage(out.flag(answer.in_scope), &answer.usage);
    })
}

pub(crate) fn zero_shot(answers: &[sdk::ZeroShot]) -> Result<Vec<u8>, Failure> {
    batch(answers, |out, answer| {
        out.list(&answer.labels, |out, scored| {
            out.text(&scored.label).size(scored.index).float(scored.probability);
        });
        usage(out, &answer.usage);
    })
}

pub(crate) fn ranked(answers: &[sdk::Ranked]) -> Result<Vec<u8>, Failure> {
    batch(answers, |out, answer| usage(out.size(answer.index).float(answer.score), &answer.usage))
}

pub(crate) fn taggings(answers: &[sdk::Tagging]) -> Result<Vec<u8>, Failure> {
    batch(answers, |out, answer| {
        out.list(&answer.entities, |out, entity| {
            span(out.text(&entity.label).text(&entity.text), &entity.span).float(entity.score);
        });
        usage(out, &answer.usage);
    })
}

pub(crate) fn answers(answers: &[sdk::Answers]) -> Result<Vec<u8>, Failure> {
    batch(answers, |out, answer| {
        out.list(&answer.answers, |out, answer| {
            span(out.text(&answer.text), &answer.span).float(answer.score);
        });
        usage(out.float(answer.no_answer), &answer.usage);
    })
}

pub(crate) fn masks(answers: &[sdk::FilledMasks]) -> Result<Vec<u8>, Failure> {
    batch(answers, |out, answer| {
        out.list(&answer.masks, |out, mask| {
            span(out, &mask.span).list(&mask.guesses, |out, guess| {
                out.text(&guess.text).text(&guess.token).size(guess.id).float(guess.probability);
            });
        });
        usage(out, &answer.usage);
    })
}

pub(crate) fn orders(answers: &[sdk::Order]) -> Result<Vec<u8>, Failure> {
    batch(answers, |out, answer| usage(out.float(answer.probability).float(answer.logit), &answer.usage))
}

pub(crate) fn replacements(answers: &[sdk::Replacements]) -> Result<Vec<u8>, Failure> {
    batch(answers, |out, answer| {
        for pieces in [&answer.spans, &answer.tokens] {
            out.list(pieces, |out, piece| {
                span(out.text(&piece.text), &piece.span).float(piece.probability);
            });
        }
        usage(out, &answer.usage);
    })
}

pub(crate) fn embeddings(answers: &[sdk::Embedding]) -> Result<Vec<u8>, Failure> {
    batch(answers, |out, answer| usage(out.floats(&answer.vector), &answer.usage))
}

pub(crate) fn generations(answers: &[sdk::Generation]) -> Result<Vec<u8>, Failure> {
    batch(answers, |out, answer| {
        out.text(&answer.text).list(&answer.ids, |out, id| {
            out.size(*id);
        });
        // By the numbers of `LIMBECK_FINISH_`.
        let finish = match answer.finish {
            sdk::Finish::EndOfText => 1,
            sdk::Finish::Stop => 2,
            sdk::Finish::Length => 3,
            sdk::Finish::Context => 4,
            _ => 0,
        };
        out.int(finish).size(answer.prompt_tokens).size(answer.cached_tokens).size(answer.tokens_dropped);
        out.size(answer.examples).size(answer.examples_dropped);
        let sdk::GenerationTimes { tokenize, prefill, decode, sampling, .. } = answer.times;
        for time in [tokenize, prefill, decode, sampling] {
            out.size(time.as_nanos());
        }
    })
}

pub(crate) fn choices(answer: &sdk::Choices) -> Result<Vec<u8>, Failure> {
    let mut out = Writer::default();
    out.list(&answer.choices, |out, choice| {
        out.text(&choice.text).size(choice.index).double(choice.score).float(choice.probability);
        likelihood(out, &choice.likelihood);
    });
    let usage = &answer.usage;
    out.size(usage.prompt_tokens).size(usage.cached_tokens).size(usage.examples).size(usage.examples_dropped);
    out.finish()
}

pub(crate) fn score(answer: &sdk::Score) -> Result<Vec<u8>, Failure> {
    let mut out = Writer::default();
    likelihood(&mut out, answer);
    out.finish()
}

pub(crate) fn perplexity(answer: &sdk::Perplexity) -> Result<Vec<u8>, Failure> {
    let mut out = Writer::default();
    out.double(answer.perplexity).double(answer.bits_per_byte).double(answer.log_probability);
    out.size(answer.tokens).size(answer.bytes).size(answer.windows);
    out.finish()
}

fn likelihood(out: &mut Writer, score: &sdk::Score) {
    out.double(score.log_probability).size(score.tokens).size(score.bytes);
}

fn batch<T>(answers: &[T], each: impl FnMut(&mut Writer, &T)) -> Result<Vec<u8>, Failure> {
    let mut out = Writer::default();
    out.list(answers, each);
    out.finish()
}

fn span<'a>(out: &'a mut Writer, span: &sdk::TextSpan) -> &'a mut Writer {
    out.size(span.utf16.start).size(span.utf16.end)
}

fn usage(out: &mut Writer, usage: &sdk::Usage) {
    out.size(usage.tokens_used).size(usage.tokens_dropped).size(usage.windows);
    let timings = [usage.timings.tokenize, usage.timings.inference, usage.timings.post];
    for time in timings {
        out.size(time.as_nanos());
    }
}
