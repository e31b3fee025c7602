package io.github.limbeck

import java.io.File

/**
 * A model ready to run. Calls may come from many threads: as many run at one time as the model has sessions, others
 * wait their turn. A call blocks its thread; [suspending] gives the same calls for coroutines.
 *
 * Each task has a call for one text and one for many. In a batch each answer is what its text would get alone, but for
 * rounding in the last digits; when one text fails, the call fails; timeout and cancel are those of all of it.
 */
public class Model private constructor(
    /** Name of the model: "sentiment". */
    public val id: String,
    /** What the model does: "text-classification". */
    public val task: String,
    /** How many floats an embedding of this model has; 0 if it makes none. */
    public val embeddingSize: Int,
    /** What stands in a text for a word to be guessed: "[MASK]"; empty if it guesses none. */
    public val maskToken: String,
    number: Long,
) : Handle(number) {
    /** The bundle of the model, as a handle of your own that may outlive the model. Close it. */
    public fun bundle(): Bundle = Bundle.of(with { Native.modelBundle(only(it)) })

    /** Runs the model on a text of its own, so that the first real call is not slower. */
    public fun warmUp() {
        with { Native.warmUp(only(it)) }
    }

    /**
     * Runs the inputs that were packed with the model and compares what comes of them with what is expected.
     *
     * @throws LimbeckException.Untrusted this device gives something else
     */
    public fun selfTest(): SelfTestReport =
        with { with(Reader(Native.selfTest(only(it)))) { SelfTestReport(size(), float(), float()) } }

    /** How many tokens a text has for this model, special tokens included and uncut. */
    public fun countTokens(text: String): Int =
        with { Reader(Native.countTokens(Writer().long(it).text(text, "text").done())).size() }

    /** Which providers were asked for and what became of them. */
    public fun providers(): Providers = with {
        with(Reader(Native.providers(only(it)))) {
            Providers(texts(), list { text() to text() }.toMap(), list { text() to long() }.toMap())
        }
    }

    /** How much memory the model is expected to use. */
    public fun memory(): MemoryPlan =
        with { with(Reader(Native.memory(only(it)))) { MemoryPlan(long(), long(), size(), long(), flag()) } }

    /** What the model has done so far. */
    public fun metrics(): Metrics = with {
        with(Reader(Native.metrics(only(it)))) { Metrics(long(), long(), long(), long(), long(), long(), long()) }
    }

    /**
     * Classifies a text. One that is too long is truncated by default; windows are put together by the mean of their
     * logits, each weighted by its tokens.
     */
    @JvmOverloads
    public fun classify(text: String, options: CallOptions = CallOptions.DEFAULT): Classification =
        options.call(this, Native::classify) { one { text(text, "text") } }.classifications().single()

    /** Classifies texts. */
    @JvmOverloads
    public fun classifyBatch(texts: List<String>, options: CallOptions = CallOptions.DEFAULT): List<Classification> =
        options.call(this, Native::classify) { texts(texts, "texts") }.classifications()

    /**
     * Classifies a pair of texts: does one follow from the other, do they say the same? A model of the task
     * "pair-classification". Of texts that are too long the longer one is truncated by default.
     */
    @JvmOverloads
    public fun classifyPair(first: String, second: String, options: CallOptions = CallOptions.DEFAULT): Classification =
        options.call(this, Native::classifyPairs) { one { text(first, "first").text(second, "second") } }
            .classifications().single()

    /** Classifies pairs of texts. */
    @JvmOverloads
    public fun classifyPairs(pairs: List<TextPair>, options: CallOptions = CallOptions.DEFAULT): List<Classification> =
        options.call(this, Native::classifyPairs) { pairs(pairs, "pairs") }.classifications()

    /**
     * Says which of some labels of your own fit a text. The model was never trained on them, but to tell what follows
     * from a text ("pair-classification" with `entailment` in its manifest). A text that is too long is truncated by
     * default; a label's sentence never is.
     */
    @JvmOverloads
    public fun zeroShot(
        text: String,
        labels: List<String>,
        options: CallOptions = CallOptions.DEFAULT,
    ): ZeroShot =
        options.call(this, Native::zeroShot) { one { text(text, "text") }.texts(labels, "labels") }.zeroShots().single()

    /** Says which of some labels of your own fit each of some texts. */
    @JvmOverloads
    public fun zeroShotBatch(
        texts: List<String>,
        labels: List<String>,
        options: CallOptions = CallOptions.DEFAULT,
    ): List<ZeroShot> =
        options.call(this, Native::zeroShot) { texts(texts, "texts").texts(labels, "labels") }.zeroShots()

    /**
     * Orders texts by how well they fit a query, the best first. A text that is too long is read in windows by default,
     * of which the best one counts; the query is never cut.
     */
    @JvmOverloads
    public fun rerank(
        query: String,
        texts: List<String>,
        options: CallOptions = CallOptions.DEFAULT,
    ): List<Ranked> = options.call(this, Native::rerank) { text(query, "query").texts(texts, "texts") }.ranked()

    /** Finds the entities of a text, in its order. One that is too long is read in windows by default. */
    @JvmOverloads
    public fun tag(text: String, options: CallOptions = CallOptions.DEFAULT): Tagging =
        options.call(this, Native::tag) { one { text(text, "text") } }.taggings().single()

    /** Finds the entities of texts. */
    @JvmOverloads
    public fun tagBatch(texts: List<String>, options: CallOptions = CallOptions.DEFAULT): List<Tagging> =
        options.call(this, Native::tag) { texts(texts, "texts") }.taggings()

    /**
     * Answers a question with a piece of a text. One that is too long is read in windows by default, over all of which
     * the answers compete; the question is never cut.
     */
    @JvmOverloads
    public fun answer(question: String, text: String, options: CallOptions = CallOptions.DEFAULT): Answers =
        options.call(this, Native::answer) { one { text(question, "question").text(text, "text") } }.answers().single()

    /** Answers questions, each from a text of its own. */
    @JvmOverloads
    public fun answerBatch(questions: List<TextPair>, options: CallOptions = CallOptions.DEFAULT): List<Answers> =
        options.call(this, Native::answer) { pairs(questions, "questions") }.answers()

    /**
     * Turns a text into a vector of [embeddingSize] floats. One that is too long is truncated by default; windows are
     * put together by the mean of their vectors, each weighted by its tokens.
     */
    @JvmOverloads
    public fun embed(text: String, options: CallOptions = CallOptions.DEFAULT): Embedding =
        options.call(this, Native::embed) { one { text(text, "text") } }.embeddings().single()

    /** Turns texts into vectors. */
    @JvmOverloads
    public fun embedBatch(texts: List<String>, options: CallOptions = CallOptions.DEFAULT): List<Embedding> =
        options.call(this, Native::embed) { texts(texts, "texts") }.embeddings()

    /**
     * Guesses the masked words of a text, which stand in it as [maskToken]. A text that is too long is read in windows
     * by default.
     */
    @JvmOverloads
    public fun fillMask(text: String, options: CallOptions = CallOptions.DEFAULT): FilledMasks =
        options.call(this, Native::fillMask) { one { text(text, "text") } }.filledMasks().single()

    /** Guesses the masked words of texts. */
    @JvmOverloads
    public fun fillMaskBatch(texts: List<String>, options: CallOptions = CallOptions.DEFAULT): List<FilledMasks> =
        options.call(this, Native::fillMask) { texts(texts, "texts") }.filledMasks()

    /**
     * Tells which of two texts comes first. A model of the task "order". Of a pair that is too long the longer text is
     * truncated by default; windows are put together by the mean of their logits, each weighted by its tokens.
     */
    @JvmOverloads
    public fun order(first: String, second: String, options: CallOptions = CallOptions.DEFAULT): Order =
        options.call(this, Native::order) { one { text(first, "first").text(second, "second") } }.orders().single()

    /** Tells which comes first in each of some pairs of texts. */
    @JvmOverloads
    public fun orderBatch(pairs: List<TextPair>, options: CallOptions = CallOptions.DEFAULT): List<Order> =
        options.call(this, Native::order) { pairs(pairs, "pairs") }.orders()

    /**
     * Finds typing errors and corruption: says of each token of a text how likely it was put there in place of another,
     * and which words that makes suspicious. A model of the task "replaced". A text that is too long is read in windows
     * by default.
     */
    @JvmOverloads
    public fun replaced(text: String, options: CallOptions = CallOptions.DEFAULT): Replacements =
        options.call(this, Native::replaced) { one { text(text, "text") } }.replacements().single()

    /** Looks for replaced tokens in texts. */
    @JvmOverloads
    public fun replacedBatch(texts: List<String>, options: CallOptions = CallOptions.DEFAULT): List<Replacements> =
        options.call(this, Native::replaced) { texts(texts, "texts") }.replacements()

    /**
     * Writes on from a text. A model of the task "generation". [function], if there is one, is given each token as it
     * is written, on the thread of the call, and may end the text; it may make other calls, also on this model. What it
     * throws ends the call and is thrown.
     *
     * @throws LimbeckException.TooLong prompt and new tokens may be more than the context holds: see [ContextPolicy]
     */
    @JvmOverloads
    public fun generate(
        prompt: String,
        options: GenerateOptions = GenerateOptions.DEFAULT,
        function: TokenFunction? = null,
    ): Generation = options.call(this, function) { flag(false).text(prompt, "prompt") }.generations().single()

    /**
     * Writes on from a prompt with examples. Where [ContextPolicy.ERROR] is the policy, examples that leave no room for
     * [GenerateOptions.Builder.maxNewTokens] are left out.
     */
    @JvmOverloads
    public fun generate(
        prompt: Prompt,
        options: GenerateOptions = GenerateOptions.DEFAULT,
        function: TokenFunction? = null,
    ): Generation = options.call(this, function) { flag(true).parts(prompt) }.generations().single()

    /** Writes on from many texts, as many together as memory allows. */
    @JvmOverloads
    public fun generateBatch(
        prompts: List<String>,
        options: GenerateOptions = GenerateOptions.DEFAULT,
    ): List<Generation> = options.callBatch(this) { texts(prompts, "prompts") }.generations()

    /**
     * Chooses between completions of a prompt. White space at the end of the query counts to the completions: tokens
     * begin with a space more often than they end with one.
     *
     * @throws LimbeckException.TooLong query and longest completion are more than the context holds
     */
    @JvmOverloads
    public fun choose(
        prompt: Prompt,
        completions: List<String>,
        options: ChooseOptions = ChooseOptions.DEFAULT,
    ): Choices = options.call(this, Native::choose) { parts(prompt).texts(completions, "completions") }.choices()

    /** How likely a completion of a prompt is. Of the options timeout and cancel count; others are refused. */
    @JvmOverloads
    public fun score(
        prompt: Prompt,
        completion: String,
        options: ChooseOptions = ChooseOptions.DEFAULT,
    ): Likelihood = options.call(this, Native::score) { parts(prompt).text(completion, "completion") }.likelihood()

    /**
     * How surprised the model is by a text. One that is longer than the context is read in overlapping windows, each
     * token scored once.
     */
    @JvmOverloads
    public fun perplexity(text: String, options: PerplexityOptions = PerplexityOptions.DEFAULT): Perplexity =
        options.call(this) { text(text, "text") }.perplexity()

    /** Opens models. */
    public companion object {
        /**
         * Opens a bundle file, verifies it, and makes its model ready.
         *
         * @throws LimbeckException.BadBundle the file is damaged or no bundle
         */
        @JvmStatic
        @JvmOverloads
        public fun open(environment: Environment, path: String, options: ModelOptions = ModelOptions()): Model =
            Bundle.open(path, options.bundle).use { open(environment, it, options) }

        /** As the other one. */
        @JvmStatic
        @JvmOverloads
        public fun open(environment: Environment, file: File, options: ModelOptions = ModelOptions()): Model =
            open(environment, file.path, options)

        /** Makes the model of a bundle ready, which may have been opened in any way. The bundle stays yours. */
        @JvmStatic
        @JvmOverloads
        public fun open(environment: Environment, bundle: Bundle, options: ModelOptions = ModelOptions()): Model {
            val threads = if (options.threads == 0) environment.threads else options.threads
            return of(
                bundle.with {
                    val request = Writer().long(it).long(threads.toLong()).long(options.sessions.toLong())
                    request.flag(options.spinning).long(options.memoryBudget).texts(options.providers, "providers")
                    Native.openModel(request.done())
                },
            )
        }

        /** The model that a reply gives. */
        internal fun of(reply: ByteArray): Model = with(Reader(reply)) { Model(text(), text(), size(), text(), long()) }
    }
}

/** A request that is a handle and nothing else. */
internal fun only(handle: Long): ByteArray = Writer().long(handle).done()

/** A list of one entry. */
private fun Writer.one(entry: Writer.() -> Unit): Writer = int(1).apply(entry)
