"""What PyPI transformers writes and how it scores, for the sdk's generation and prompts to be compared with.

    python make_generation.py [--out references/generation]

A tiny GPT-2 with seeded weights (drawn wide, so that attention matters and tokens are not near-equal) and a byte-level BPE
tokenizer trained on the sentences below. `cases.json` holds ids of fuzzed strings by PyPI tokenizers; what `generate`
writes greedily, with a repetition penalty and left-padded in batches; the tokens that top-k and top-p leave and their
probabilities; log probabilities of completions, and choices by each of GPT-3's rules with contextual calibration, computed
from the logits of one pass over each whole text; perplexity in strided windows as transformers' documentation does it.
"""

import argparse
import json
import math
import random
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

TEXT = [
    "Once upon a time there was a small model that ran on a small device.",
    "The battery lasts all day, but the screen scratches easily.",
    "Q: What is 98 plus 45?\n\nA: 143\n\nQ: What is 17 plus 4?\n\nA: 21",
    "Review: warm and clever\nSentiment: good\n\nReview: two hours of nothing\nSentiment: bad",
    "Ada Lovelace met Charles Babbage in London in 1833. 🙂",
    "It's what we'll say they've said, isn't it? café, naïve, façade; 東京 عربي",
    "yes no yes no maybe, good bad good bad",
]
END = "<|endoftext|>"
CONTEXT = 96
PROMPTS = ["Once upon", "The battery", " yes no", "Ada 🙂", "é", "Q: What is 98 plus 45?\n\nA:", "a\n\n b"]


def make_tokenizer():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=[END], initial_alphabet=sorted(alphabet))
    tokenizer.train_from_iterator(TEXT * 3, trainer)
    return tokenizer


def make_model(vocabulary, end):
    torch.manual_seed(20)
    config = GPT2Config(
        vocab_size=vocabulary, n_positions=CONTEXT, n_embd=32, n_layer=3, n_head=4, n_inner=48, initializer_range=0.25,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=end, eos_token_id=end, pad_token_id=end,
    )
    model = GPT2LMHeadModel(config).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or "ln_" in name:
            torch.nn.init.normal_(parameter, mean=1.0 if name.endswith("weight") else 0.0, std=0.1)
    return model


def fuzzed(count):
    draw = random.Random(7)
    kinds = ["a b\n\tQ:'s", "éüß", "東京漢", "🙂👩‍👧🇩🇪", "\u0000\u200b\u0301\u00a0", "".join(TEXT)]
    return ["".join(draw.choice(draw.choice(kinds)) for _ in range(draw.randint(0, 40))) for _ in range(count)]


class Scorer:
    """Log probabilities from one pass over a whole text."""

    def __init__(self, model, tokenizer):
        self.model, self.tokenizer = model, tokenizer

    def ids(self, text):
        return self.tokenizer.encode(text).ids

    def log_probabilities(self, ids, first):
        with torch.no_grad():
            logits = self.model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        return [logits[at - 1, ids[at]].item() for at in range(first, len(ids))]

    def completion(self, context, completion):
        stripped = context.rstrip()
        completion = context[len(stripped):] + completion
        before, whole = self.ids(stripped), self.ids(stripped + completion)
        if whole[: len(before)] != before:
            whole = before + self.ids(completion)
        return self.log_probabilities(whole, len(before)), len(completion.encode())

    def alone(self, query, completion):
        """After "Answer: ", whose space a completion with its own has not once more, unless the query ended with some."""
        if query != query.rstrip() or not completion[:1].isspace():
            completion = " " + completion
        return self.completion("Answer:", completion)[0]

    def ranks(self, context, completions, rule, query):
        ranks = []
        for completion in completions:
            logs, size = self.completion(context, completion)
            total = math.fsum(logs)
            if rule == "per-token":
                total /= len(logs)
            elif rule == "per-byte":
                total /= size
            elif rule == "answer-context":
                total -= math.fsum(self.alone(query, completion))
            ranks.append(total)
        return ranks


def softmax(values):
    weights = [math.exp(value - max(values)) for value in values]
    return [weight / sum(weights) for weight in weights]


def few_shot(query, examples, separator):
    return "".join(text + completion + separator for text, completion in examples) + query


def choices(scorer):
    examples = [("Review: warm and clever\nSentiment:", " good"), ("Review: two hours of nothing\nSentiment:", " bad")]
    completions = [" good", " bad", " maybe good", "\n"]
    free = ["Review: N/A\nSentiment:", "Review:\nSentiment:"]
    cases = []
    for query in ["Review: small but clever\nSentiment:", "Review: 🙂\nSentiment: "]:
        for count in range(3):
            for rule in ["sum", "per-token", "per-byte", "answer-context"]:
                text = few_shot(query, examples[:count], "\n\n")
                ranks = scorer.ranks(text, completions, rule, query)
                mean = [0.0] * len(completions)
                for other in free:
                    context = few_shot(other, examples[:count], "\n\n")
                    other = softmax(scorer.ranks(context, completions, rule, query))
                    mean = [a + b / len(free) for a, b in zip(mean, other)]
                odds = [own / other for own, other in zip(softmax(ranks), mean)]
                cases.append({
                    "query": query, "examples": examples[:count], "completions": completions, "rule": rule, "scores": ranks,
                    "probabilities": softmax(ranks), "content_free": free, "calibrated": [odd / sum(odds) for odd in odds],
                    "log_probabilities": [scorer.completion(text, completion)[0] for completion in completions],
                })
    return cases


def perplexity(scorer, text):
    ids, stride, done, total = scorer.ids(text), CONTEXT // 2, 0, 0.0
    for begin in range(0, len(ids), stride):
        end = min(begin + CONTEXT, len(ids))
        # The first token of all has nothing before it.
        total += math.fsum(scorer.log_probabilities(ids[begin:end], max(done - begin, 1)))
        done = end
        if end == len(ids):
            break
    return math.exp(-total / (len(ids) - 1))


def warped(model, tokenizer):
    cases = []
    for temperature, top_k, top_p in [(0.7, 0, 1.0), (1.3, 5, 1.0), (1.0, 0, 0.6), (1.5, 20, 0.8)]:
        ids = torch.tensor([tokenizer.encode("Once upon").ids])
        with torch.no_grad():
            scores = model(ids).logits[:, -1]
        scores = transformers.TemperatureLogitsWarper(temperature)(ids, scores)
        if top_k:
            scores = transformers.TopKLogitsWarper(top_k)(ids, scores)
        if top_p < 1:
            scores = transformers.TopPLogitsWarper(top_p)(ids, scores)
        probabilities = scores[0].softmax(-1)
        kept = {str(at): value for at, value in enumerate(probabilities.tolist()) if value > 0}
        cases.append({"temperature": temperature, "top_k": top_k, "top_p": top_p, "probabilities": kept})
    return cases


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "references" / "generation")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer()
    end = tokenizer.token_to_id(END)
    model = make_model(tokenizer.get_vocab_size(), end)
    model.save_pretrained(out)
    (out / "generation_config.json").unlink(missing_ok=True)
    tokenizer.save(str(out / "tokenizer.json"))

    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END, padding_side="left")
    written = []
    for penalty in [1.0, 1.4]:
        options = {"max_new_tokens": 32, "do_sample": False, "repetition_penalty": penalty}
        for prompt in PROMPTS:
            ids = torch.tensor([tokenizer.encode(prompt).ids])
            found = model.generate(ids, attention_mask=torch.ones_like(ids), **options)[0, ids.shape[1]:].tolist()
            written.append({"prompt": prompt, "penalty": penalty, "ids": found})
    batch = fast(PROMPTS, return_tensors="pt", padding=True)
    found = model.generate(batch["input_ids"], attention_mask=batch["attention_mask"], max_new_tokens=32, do_sample=False)
    padded = found[:, batch["input_ids"].shape[1]:].tolist()

    scorer = Scorer(model, tokenizer)
    texts = [TEXT[0], TEXT[5], "\n".join(TEXT), "\n".join(TEXT * 2)]
    cases = {
        "versions": {"transformers": transformers.__version__, "torch": torch.__version__},
        "tokens": [{"text": text, "ids": tokenizer.encode(text).ids} for text in fuzzed(300)],
        "greedy": written,
        "left_padded": padded,
        "prompts": PROMPTS,
        "warped": warped(model, tokenizer),
        "choices": choices(scorer),
        "perplexity": [{"text": text, "perplexity": perplexity(scorer, text)} for text in texts],
    }
    (out / "cases.json").write_text(json.dumps(cases, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
