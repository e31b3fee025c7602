@file:JvmName("SuspendingModels")

package io.github.limbeck

import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.buffer
import kotlinx.coroutines.flow.channelFlow
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext

/** The calls of this model for coroutines, made on [dispatcher]. The model stays yours to close. */
public fun Model.suspending(dispatcher: CoroutineDispatcher = Dispatchers.Default): SuspendingModel =
    SuspendingModel(this, dispatcher)

/**
 * The calls of a [Model] for coroutines. Cancelling the coroutine ends the call where it is, within some 50 ms, and
 * only then does the call throw `CancellationException`: nothing goes on behind the caller's back.
 *
 * @property model the model, which is not closed with this
 */
public class SuspendingModel internal constructor(
    public val model: Model,
    private val dispatcher: CoroutineDispatcher,
) {
    /** See [Model.classify]. */
    public suspend fun classify(text: String, options: CallOptions = CallOptions.DEFAULT): Classification =
        run(options) { model.classify(text, it) }

    /** See [Model.classifyBatch]. */
    public suspend fun classifyBatch(
        texts: List<String>,
        options: CallOptions = CallOptions.DEFAULT,
    ): List<Classification> = run(options) { model.classifyBatch(texts, it) }

    /** See [Model.classifyPair]. */
    public suspend fun classifyPair(
        first: String,
        second: String,
        options: CallOptions = CallOptions.DEFAULT,
    ): Classification = run(options) { model.classifyPair(first, second, it) }

    /** See [Model.classifyPairs]. */
    public suspend fun classifyPairs(
        pairs: List<TextPair>,
        options: CallOptions = CallOptions.DEFAULT,
    ): List<Classification> = run(options) { model.classifyPairs(pairs, it) }

    /** See [Model.zeroShot]. */
    public suspend fun zeroShot(
        text: String,
        labels: List<String>,
        options: CallOptions = CallOptions.DEFAULT,
    ): ZeroShot = run(options) { model.zeroShot(text, labels, it) }

    /** See [Model.zeroShotBatch]. */
    public suspend fun zeroShotBatch(
        texts: List<String>,
        labels: List<String>,
        options: CallOptions = CallOptions.DEFAULT,
    ): List<ZeroShot> = run(options) { model.zeroShotBatch(texts, labels, it) }

    /** See [Model.rerank]. */
    public suspend fun rerank(
        query: String,
        texts: List<String>,
        options: CallOptions = CallOptions.DEFAULT,
    ): List<Ranked> = run(options) { model.rerank(query, texts, it) }

    /** See [Model.tag]. */
    public suspend fun tag(text: String, options: CallOptions = CallOptions.DEFAULT): Tagging =
        run(options) { model.tag(text, it) }

    /** See [Model.tagBatch]. */
    public suspend fun tagBatch(texts: List<String>, options: CallOptions = CallOptions.DEFAULT): List<Tagging> =
        run(options) { model.tagBatch(texts, it) }

    /** See [Model.answer]. */
    public suspend fun answer(
        question: String,
        text: String,
        options: CallOptions = CallOptions.DEFAULT,
    ): Answers = run(options) { model.answer(question, text, it) }

    /** See [Model.answerBatch]. */
    public suspend fun answerBatch(
        questions: List<TextPair>,
        options: CallOptions = CallOptions.DEFAULT,
    ): List<Answers> = run(options) { model.answerBatch(questions, it) }

    /** See [Model.embed]. */
    public suspend fun embed(text: String, options: CallOptions = CallOptions.DEFAULT): Embedding =
        run(options) { model.embed(text, it) }

    /** See [Model.embedBatch]. */
    public suspend fun embedBatch(texts: List<String>, options: CallOptions = CallOptions.DEFAULT): List<Embedding> =
        run(options) { model.embedBatch(texts, it) }

    /** See [Model.fillMask]. */
    public suspend fun fillMask(text: String, options: CallOptions = CallOptions.DEFAULT): FilledMasks =
        run(options) { model.fillMask(text, it) }

    /** See [Model.fillMaskBatch]. */
    public suspend fun fillMaskBatch(
        texts: List<String>,
        options: CallOptions = CallOptions.DEFAULT,
    ): List<FilledMasks> = run(options) { model.fillMaskBatch(texts, it) }

    /** See [Model.order]. */
    public suspend fun order(first: String, second: String, options: CallOptions = CallOptions.DEFAULT): Order =
        run(options) { model.order(first, second, it) }

    /** See [Model.orderBatch]. */
    public suspend fun orderBatch(pairs: List<TextPair>, options: CallOptions = CallOptions.DEFAULT): List<Order> =
        run(options) { model.orderBatch(pairs, it) }

    /** See [Model.replaced]. */
    public suspend fun replaced(text: String, options: CallOptions = CallOptions.DEFAULT): Replacements =
        run(options) { model.replaced(text, it) }

    /** See [Model.replacedBatch]. */
    public suspend fun replacedBatch(
        texts: List<String>,
        options: CallOptions = CallOptions.DEFAULT,
    ): List<Replacements> = run(options) { model.replacedBatch(texts, it) }

    /** See [Head.classify]. */
    public suspend fun classify(
        head: Head,
        texts: List<String>,
        options: CallOptions = CallOptions.DEFAULT,
    ): List<Classification> = run(options) { head.classify(model, texts, it) }

    /** See [Model.generate]. [function] is called on the dispatcher. */
    public suspend fun generate(
        prompt: String,
        options: GenerateOptions = GenerateOptions.DEFAULT,
        function: TokenFunction? = null,
    ): Generation = run(options.cancel, options::with) { model.generate(prompt, it, function) }

    /** See [Model.generate]. [function] is called on the dispatcher. */
    public suspend fun generate(
        prompt: Prompt,
        options: GenerateOptions = GenerateOptions.DEFAULT,
        function: TokenFunction? = null,
    ): Generation = run(options.cancel, options::with) { model.generate(prompt, it, function) }

    /** See [Model.generateBatch]. */
    public suspend fun generateBatch(
        prompts: List<String>,
        options: GenerateOptions = GenerateOptions.DEFAULT,
    ): List<Generation> = run(options.cancel, options::with) { model.generateBatch(prompts, it) }

    /**
     * Writes on from a text: a cold flow of the tokens as they are written, one call for each collector. When the
     * collector is cancelled or has enough (`take`), the call ends within a token, and only then does `collect` return.
     *
     * The model does not wait for a slow collector, so that none can hold up a thread of the dispatcher: tokens that
     * were not collected yet are kept, at most [GenerateOptions.Builder.maxNewTokens].
     */
    public fun stream(prompt: String, options: GenerateOptions = GenerateOptions.DEFAULT): Flow<Piece> =
        pieces { generate(prompt, options, it) }

    /** As the other one, from a prompt with examples. */
    public fun stream(prompt: Prompt, options: GenerateOptions = GenerateOptions.DEFAULT): Flow<Piece> =
        pieces { generate(prompt, options, it) }

    /** See [Model.choose]. */
    public suspend fun choose(
        prompt: Prompt,
        completions: List<String>,
        options: ChooseOptions = ChooseOptions.DEFAULT,
    ): Choices = run(options.cancel, options::with) { model.choose(prompt, completions, it) }

    /** See [Model.score]. */
    public suspend fun score(
        prompt: Prompt,
        completion: String,
        options: ChooseOptions = ChooseOptions.DEFAULT,
    ): Likelihood = run(options.cancel, options::with) { model.score(prompt, completion, it) }

    /** See [Model.perplexity]. */
    public suspend fun perplexity(text: String, options: PerplexityOptions = PerplexityOptions.DEFAULT): Perplexity =
        run(options.cancel, options::with) { model.perplexity(text, it) }

    /** What a call that writes gives, piece by piece; a collector that is gone takes no more. */
    private fun pieces(generate: suspend (TokenFunction) -> Generation): Flow<Piece> =
        channelFlow<Piece> { generate(TokenFunction { trySend(it).isSuccess }) }.buffer(Channel.UNLIMITED)

    private suspend fun <R> run(options: CallOptions, call: (CallOptions) -> R): R =
        run(options.cancel, options::with, call)

    /**
     * Makes a call on the dispatcher, which ends when the coroutine is cancelled or [theirs] is triggered: options with
     * one token for both come from [with].
     */
    private suspend fun <O, R> run(theirs: Cancel?, with: (Cancel) -> O, call: (O) -> R): R = Cancel().use { cancel ->
        withContext(dispatcher) {
            // Unconfined, so that it wakes on the thread that cancels: those of the dispatcher may all be busy with
            // calls that wait to be ended.
            val watch = launch(Dispatchers.Unconfined, CoroutineStart.UNDISPATCHED) {
                try {
                    awaitCancellation()
                } finally {
                    cancel.trigger()
                }
            }
            try {
                val own = with(cancel)
                theirs?.leading(cancel) { call(own) } ?: call(own)
            } catch (cancelled: LimbeckException.Cancelled) {
                ensureActive()
                throw cancelled
            } finally {
                watch.cancel()
            }
        }
    }
}
