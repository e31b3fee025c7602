package io.github.limbeck

/** Two texts that belong together: a pair to classify, a question and the text that may answer it, an example and its label. */
public data class TextPair(val first: String, val second: String)

/**
 * A piece of a text, from [start] up to but without [end], in UTF-16 units as `String` counts. It never cuts through
 * what a reader sees as one character, but for single tokens of [Replacements].
 */
public data class Span(val start: Int, val end: Int) {
    /** The piece of the text that was given to the call. */
    public fun of(text: String): String = text.substring(start, end)
}

/**
 * What was read of a text, and how long it took.
 *
 * @property tokensUsed tokens that the model read, special ones included; each counts once
 * @property tokensDropped tokens of the text that it did not read
 * @property windows windows the text was read in; 1 unless it was too long
 * @property tokenizeNanos nanoseconds from text to token ids
 * @property inferenceNanos nanoseconds waiting and running; texts that ran together share them
 * @property postNanos nanoseconds from logits to the answer
 */
public data class Usage(
    val tokensUsed: Int,
    val tokensDropped: Int,
    val windows: Int,
    val tokenizeNanos: Long,
    val inferenceNanos: Long,
    val postNanos: Long,
)

/**
 * A label with its score.
 *
 * @property label its name
 * @property index its place in the list of the model or of the head
 * @property probability its probability, 0 to 1; the logit itself if the model has none
 * @property logit the model's raw score
 * @property holds whether the label holds: the best one, where just one can; those above their threshold, where several
 *   can; none if the text is out of scope
 */
public data class Score(
    val label: String,
    val index: Int,
    val probability: Float,
    val logit: Float,
    val holds: Boolean,
)

/**
 * What a text is.
 *
 * @property labels the labels, the likeliest first
 * @property inScope whether the best label is sure enough for the text to be the model's business at all; true if
 *   neither bundle nor call sets a threshold
 */
public data class Classification(val labels: List<Score>, val inScope: Boolean, val usage: Usage) {
    /** The likeliest label. */
    public val best: Score get() = labels.first()
}

/** A label of the caller's, its place in the call, and its probability. */
public data class ZeroShotLabel(val label: String, val index: Int, val probability: Float)

/**
 * Which of the caller's labels fit a text.
 *
 * @property labels the labels, the likeliest first
 * @property usage sums over all labels
 */
public data class ZeroShot(val labels: List<ZeroShotLabel>, val usage: Usage)

/**
 * A ranked text.
 *
 * @property index its place in the call
 * @property score how well it fits the query
 */
public data class Ranked(val index: Int, val score: Float, val usage: Usage)

/**
 * A piece of a text with a label.
 *
 * @property label what it is: "PER"
 * @property text the piece itself
 * @property span where it stands
 * @property score mean probability of the labels of its words
 */
public data class Entity(val label: String, val text: String, val span: Span, val score: Float)

/** The entities of a text, in the order of the text. */
public data class Tagging(val entities: List<Entity>, val usage: Usage)

/**
 * A piece of a text that answers a question.
 *
 * @property text the piece itself, of whole words
 * @property span where it stands
 * @property score probability that the answer starts there times probability that it ends there, summed over all places
 *   with the same words, so it may exceed 1
 */
public data class Answer(val text: String, val span: Span, val score: Float)

/**
 * The answers to a question.
 *
 * @property answers the answers, the best first
 * @property noAnswer the score of "the text does not say", to be compared with theirs. Only a model trained on questions
 *   without an answer gives it a meaning
 */
public data class Answers(val answers: List<Answer>, val noAnswer: Float, val usage: Usage) {
    /** The best answer; null if there is none. */
    public val best: Answer? get() = answers.firstOrNull()
}

/**
 * What could stand in place of a mask.
 *
 * @property text the token as text
 * @property token the token as it stands in the vocabulary: "##ing"
 * @property id its id
 * @property probability its probability among all tokens of the vocabulary
 */
public data class Guess(val text: String, val token: String, val id: Int, val probability: Float)

/** A mask: where it stands, and the guesses for it, the likeliest first. */
public data class FilledMask(val span: Span, val guesses: List<Guess>)

/** The masks of a text, in its order. */
public data class FilledMasks(val masks: List<FilledMask>, val usage: Usage)

/**
 * Which of two texts comes first.
 *
 * @property probability how likely the first text comes before the second; else it comes after it
 * @property logit the natural log of its odds, before the bundle's calibration
 */
public data class Order(val probability: Float, val logit: Float, val usage: Usage)

/**
 * A piece of a text, with how likely it was put there in place of another.
 *
 * @property text the piece itself
 * @property span where it stands; unlike other spans, that of a single token may cut through a character
 * @property probability how likely something else stood here
 */
public data class Replaced(val text: String, val span: Span, val probability: Float)

/**
 * What was likely replaced in a text.
 *
 * @property spans the suspicious words, in the order of the text; with [Aggregation.NONE] the runs of tokens
 * @property tokens every token that was read, suspicious or not
 */
public data class Replacements(val spans: List<Replaced>, val tokens: List<Replaced>, val usage: Usage)

/** The vector of a text. */
public class Embedding(public val vector: FloatArray, public val usage: Usage)

/** A vector that is near: its place in the list, and its similarity. */
public data class Neighbour(val index: Int, val similarity: Float)

/**
 * What a self-test found.
 *
 * @property vectors inputs that were run; 0 if the bundle has none
 * @property largestDifference the largest difference found, as part of what was expected
 * @property tolerance the most that the bundle allows
 */
public data class SelfTestReport(val vectors: Int, val largestDifference: Float, val tolerance: Float)

/**
 * How much memory a model is expected to use, with the budget kept.
 *
 * @property budget the budget that was set, in bytes; 0: none
 * @property expected the most private memory expected, in bytes. Weights mapped from a file are not in it, nor are
 *   texts, answers, and ONNX Runtime's own code
 * @property sessions sessions that may run at one time
 * @property batchTokens tokens of one batch, padding included; a text alone may have more
 * @property prepacked whether weights are rearranged for speed, which takes the memory of a copy
 */
public data class MemoryPlan(
    val budget: Long,
    val expected: Long,
    val sessions: Int,
    val batchTokens: Long,
    val prepacked: Boolean,
)

/**
 * What a model has done since it was opened. The numbers only grow.
 *
 * @property calls calls that reached the model: one for a text, one for a batch
 * @property failures calls that failed while running; those cancelled or out of time among them
 * @property runs runs of the graph
 * @property rows windows that were run: one for a text, more for a long one
 * @property tokens tokens of those windows
 * @property padding tokens of padding beside them
 * @property runMicros microseconds that runs took, waiting for a session included
 */
public data class Metrics(
    val calls: Long,
    val failures: Long,
    val runs: Long,
    val rows: Long,
    val tokens: Long,
    val padding: Long,
    val runMicros: Long,
)

/**
 * Which providers were asked for and what became of them.
 *
 * @property requested those asked for
 * @property refused those that cannot be had, and why
 * @property nodes operators by where they run; without any all run on the CPU
 */
public data class Providers(
    val requested: List<String>,
    val refused: Map<String, String>,
    val nodes: Map<String, Long>,
)

// As results.rs writes them.

internal fun Reader.classifications(): List<Classification> = list {
    Classification(list { Score(text(), size(), float(), float(), flag()) }, flag(), usage())
}

internal fun Reader.zeroShots(): List<ZeroShot> = list {
    ZeroShot(list { ZeroShotLabel(text(), size(), float()) }, usage())
}

internal fun Reader.ranked(): List<Ranked> = list { Ranked(size(), float(), usage()) }

internal fun Reader.taggings(): List<Tagging> = list {
    Tagging(list { Entity(text(), text(), span(), float()) }, usage())
}

internal fun Reader.answers(): List<Answers> = list {
    Answers(list { Answer(text(), span(), float()) }, float(), usage())
}

internal fun Reader.filledMasks(): List<FilledMasks> = list {
    FilledMasks(list { FilledMask(span(), list { Guess(text(), text(), size(), float()) }) }, usage())
}

internal fun Reader.orders(): List<Order> = list { Order(float(), float(), usage()) }

internal fun Reader.replacements(): List<Replacements> = list {
    fun pieces() = list { Replaced(text(), span(), float()) }
    Replacements(pieces(), pieces(), usage())
}

internal fun Reader.embeddings(): List<Embedding> = list { Embedding(floats(), usage()) }

private fun Reader.span() = Span(size(), size())

private fun Reader.usage() = Usage(size(), size(), size(), long(), long(), long())
