package io.github.limbeck

import java.util.concurrent.TimeUnit
import kotlin.concurrent.thread
import kotlin.math.abs
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import org.junit.jupiter.api.assertThrows

/** Writing on from a text, on a model that goes round in `ab🙂.`; its context holds 64 tokens. */
@Timeout(60)
internal class GenerateTest {
    private val model = Fixtures.model("writer")

    /** It goes on until somebody ends it. */
    private val endless = GenerateOptions.of { maxNewTokens(Int.MAX_VALUE).context(ContextPolicy.SLIDE) }

    @Test
    fun tokensAreGivenAsTheyAreWritten() {
        val pieces = mutableListOf<Piece>()
        val options = GenerateOptions.of { maxNewTokens(21) }
        val found = model.generate("a", options) { pieces.add(it) }
        assertEquals("b🙂.ab🙂.ab🙂.a", found.text)
        assertEquals(Finish.LENGTH to 1, found.finish to found.promptTokens)
        assertEquals(found.ids, pieces.map { it.id })
        assertEquals(found.text, pieces.joinToString("") { it.text })
        // Whole characters: three of the four bytes of one give nothing yet.
        assertEquals(listOf("b", "", "", "", "🙂", "."), pieces.take(6).map { it.text })
        assertEquals(found.text, model.generate("a", options).text)
        assertTrue(found.decodeNanos > 0 && found.prefillNanos > 0)
    }

    @Test
    fun theFunctionEndsTheText() {
        var calls = 0
        val found = model.generate("a", endless) { ++calls < 3 }
        assertEquals(Triple(3, Finish.UNFINISHED, "b"), Triple(calls, found.finish, found.text))
        assertEquals(3, found.generatedTokens)
    }

    @Test
    fun whatTheFunctionThrowsIsThrown() {
        val handles = Limbeck.openHandles
        val thrown = assertThrows<IllegalStateException> { model.generate("a", endless) { error("no more of ${it.text}") } }
        assertEquals("no more of b", thrown.message)
        assertEquals("b", model.generate("a", GenerateOptions.of { maxNewTokens(1) }).text)
        assertEquals(handles, Limbeck.openHandles)
    }

    @Test
    fun theFunctionMayCallTheModel() {
        val inner = mutableListOf<String>()
        val one = GenerateOptions.of { maxNewTokens(1) }
        val found = model.generate("a", GenerateOptions.of { maxNewTokens(6) }) {
            inner += model.generate(it.text, one).text
            true
        }
        assertEquals("b🙂.", found.text)
        // After "b" the first byte of four, which is no character; an empty prompt begins as texts do.
        assertEquals(listOf("\uFFFD", "a", "a", "a", ".", "a"), inner)
    }

    /** A native method has room for some dozens of references; -Xcheck:jni would tell. */
    @Test
    fun longTextsAreWritten() {
        var length = 0
        val found = model.generate("a", GenerateOptions.of { maxNewTokens(3_000).context(ContextPolicy.SLIDE).contextKeep(10) }) {
            length += it.text.length
            true
        }
        assertEquals(3_000, found.generatedTokens)
        assertEquals(found.text.length, length)
        assertTrue(found.tokensDropped > 2_900)
        assertTrue(found.text.startsWith("b🙂.ab🙂.a"))
    }

    @Test
    fun aCallThatWritesIsCancelled() {
        Cancel().use { cancel ->
            thread {
                Thread.sleep(100)
                cancel.trigger()
            }
            val started = System.nanoTime()
            assertThrows<LimbeckException.Cancelled> { model.generate("a", endless.with(cancel)) }
            assertTrue(millisSince(started) in 50..1500, "${millisSince(started)} ms")
        }
        // By its own function, too.
        Cancel().use { cancel ->
            var calls = 0
            assertThrows<LimbeckException.Cancelled> {
                model.generate("a", endless.with(cancel)) {
                    if (++calls == 5) cancel.trigger()
                    true
                }
            }
            assertEquals(5, calls)
        }
    }

    @Test
    fun aDeadlineIsKept() {
        val started = System.nanoTime()
        val options = GenerateOptions.of { maxNewTokens(Int.MAX_VALUE).context(ContextPolicy.SLIDE).timeoutMillis(100) }
        assertThrows<LimbeckException.DeadlineExceeded> { model.generate("a", options) }
        assertTrue(millisSince(started) in 50..1500, "${millisSince(started)} ms")
    }

    @Test
    fun aModelMayBeClosedWhileItWrites() {
        val own = Model.open(Fixtures.environment, Fixtures.bundle("writer"))
        val found = own.generate("a", GenerateOptions.of { maxNewTokens(10) }) {
            own.close()
            true
        }
        assertEquals(10, found.generatedTokens)
        assertThrows<LimbeckException.InvalidArgument> { own.generate("a") }
    }

    @Test
    fun aPromptIsPutTogetherAndGoneOnFrom() {
        val prompt = Prompt("Q: a", listOf(TextPair("Q: a\nA:", " b")))
        val options = GenerateOptions.of { maxNewTokens(5) }
        val found = model.generate(prompt, options)
        assertEquals("b🙂" to 15, found.text to found.promptTokens)
        // An empty separator is none, and not the default.
        assertEquals(13, model.generate(prompt.copy(separator = ""), options).promptTokens)
        assertEquals(found.text, model.generate("Q: a\nA: b\n\nQ: a", options).text)
        assertEquals("", model.generate(prompt.copy(query = "Q:\n"), options).text)
        // What stands before the query is read once.
        model.choose(prompt, listOf("b"))
        assertEquals(11, model.choose(prompt.copy(query = "Q: .a"), listOf("b")).usage.cachedTokens)
        // Examples that leave no room are left out, unless all are wanted.
        val long = prompt.copy(examples = List(10) { TextPair("Q: a\nA:", " b") })
        val cut = model.generate(long, options)
        assertTrue(cut.promptTokens < 60)
        assertEquals(10, cut.examples + cut.examplesDropped)
        assertTrue(cut.examplesDropped > 0)
        assertThrows<LimbeckException.TooLong> { model.generate(long.copy(allExamples = true), options) }
    }

    @Test
    fun completionsAreChosenAndScored() {
        val prompt = Prompt("Q: a")
        val found = model.choose(prompt, listOf("x", "b", "bb"))
        assertEquals(listOf("b", "bb", "x"), found.choices.map { it.text })
        assertEquals(1, found.best.index)
        assertEquals(4, found.usage.promptTokens)
        // Of 257 tokens one has e^5 and the others e^0.
        assertNear(-1.0024370, found.best.likelihood.logProbability)
        assertEquals(found.best.likelihood, model.score(prompt, "b"))
        val pair = model.score(prompt, "bb")
        assertNear(-7.004874, pair.logProbability)
        assertNear(pair.logProbability / 2, pair.perToken)
        // Calibrated by the same query nothing is left.
        val calibrated = model.choose(prompt, listOf("x", "b"), ChooseOptions.of { contentFree(listOf("Q: a")) })
        assertNear(0.5, calibrated.best.probability.toDouble())
        // The inverse of e^5 / (e^5 + 256).
        val perplexity = model.perplexity("ab🙂.a")
        assertEquals(Triple(7, 7, 1), Triple(perplexity.tokens, perplexity.bytes, perplexity.windows))
        assertNear(2.7249144, perplexity.perplexity)
        assertEquals(8, model.perplexity("ab🙂.a", PerplexityOptions.of { fromStart(true) }).tokens)
    }

    @Test
    fun textsThatAreNoneAreNamed() {
        val half = "\uD83D"
        val calls = mapOf<String, () -> Any>(
            "prompt cannot be written as UTF-8: at UTF-16 index 2 " to { model.generate("🙂$half") },
            "prompts[1] cannot" to { model.generateBatch(listOf("a", half)) },
            "stops[0] cannot" to { model.generate("a", GenerateOptions.of { stop(half) }) },
            "query cannot" to { model.generate(Prompt(half)) },
            "instruction cannot" to { model.generate(Prompt("a", instruction = half)) },
            "examples[0] cannot" to { model.generate(Prompt("a", listOf(TextPair("a", half)))) },
            "separator cannot" to { model.generate(Prompt("a", separator = half)) },
            "completions[0] cannot" to { model.choose(Prompt("a"), listOf(half)) },
            "completion cannot" to { model.score(Prompt("a"), half) },
            "contentFree[0] cannot" to { model.choose(Prompt("a"), listOf("b"), ChooseOptions.of { contentFree(listOf(half)) }) },
            "answerContext cannot" to { model.choose(Prompt("a"), listOf("b"), ChooseOptions.of { answerContext(half) }) },
            "text cannot" to { model.perplexity(half) },
        )
        for ((message, call) in calls) {
            val failure = assertThrows<LimbeckException.InvalidText> { call() }
            assertTrue(failure.message!!.startsWith(message), failure.message)
        }
        assertEquals(3, model.generate("\u0000🙂a", GenerateOptions.of { maxNewTokens(3) }).generatedTokens)
    }

    @Test
    fun optionsThatDoNotFitAreNamed() {
        val wrong = mapOf<String, GenerateOptions.Builder.() -> Unit>(
            "maxNewTokens is -1" to { maxNewTokens(-1) },
            "temperature is NaN" to { temperature(Float.NaN) },
            "top_p is 2" to { topP(2f) },
            "topK is -2" to { topK(-2) },
            "repetition_penalty is -1" to { repetitionPenalty(-1f) },
            "contextKeep is 3 and context is not SLIDE" to { contextKeep(3) },
            "a stop string is empty" to { stop("") },
            "timeoutMillis is -5" to { timeoutMillis(-5) },
        )
        for ((message, set) in wrong) {
            val failure = assertThrows<LimbeckException.InvalidArgument> { model.generate("a", GenerateOptions.of(set)) }
            assertTrue(message in failure.message!!, failure.message)
        }
        val scoring = ChooseOptions.of { scoring(Scoring.SUM) }
        val calls = mapOf<String, () -> Any>(
            "scoring or contentFree is set" to { model.score(Prompt("a"), "b", scoring) },
            "answerContext is set" to { model.choose(Prompt("a"), listOf("b"), ChooseOptions.of { answerContext("A:") }) },
            "maxTokens is -1" to { model.generate(Prompt("a", maxTokens = -1)) },
            "stride is -1" to { model.perplexity("ab", PerplexityOptions.of { stride(-1) }) },
        )
        for ((message, call) in calls) {
            val failure = assertThrows<LimbeckException.InvalidArgument> { call() }
            assertTrue(message in failure.message!!, failure.message)
        }
        assertThrows<LimbeckException.WrongTask> { Fixtures.model("tiny").generate("a") }
        assertThrows<LimbeckException.WrongTask> { model.classify("a") }
        // 128 new tokens are more than the context holds.
        assertThrows<LimbeckException.TooLong> { model.generate("a") }
    }

    @Test
    fun nothingLeaks() {
        val classifier = Fixtures.model("tiny")
        val handles = Limbeck.openHandles
        repeat(20) {
            Cancel().use { cancel ->
                val options = GenerateOptions.of { maxNewTokens(3).cancel(cancel) }
                model.generate("a", options) { true }
                model.generateBatch(listOf("a", "b"), options)
                model.generate(Prompt("a"), options)
                assertThrows<LimbeckException.WrongTask> { classifier.perplexity("ab") }
            }
        }
        assertEquals(handles, Limbeck.openHandles)
    }

    private fun assertNear(expected: Double, found: Double) = assertTrue(abs(expected - found) < 1e-5, "$expected, $found")

    private fun millisSince(started: Long) = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - started)
}
