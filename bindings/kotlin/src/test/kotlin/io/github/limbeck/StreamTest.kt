package io.github.limbeck

import java.util.concurrent.Executors
import java.util.concurrent.TimeUnit
import kotlin.concurrent.thread
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.asCoroutineDispatcher
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.conflate
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.onEach
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import org.junit.jupiter.api.assertThrows

/** Writing for coroutines, and flows of tokens. */
@Timeout(60)
internal class StreamTest {
    private val model = Fixtures.model("writer")
    private val writer = model.suspending()
    private val some = GenerateOptions.of { maxNewTokens(21) }

    /** It goes on until somebody ends it. */
    private val endless = GenerateOptions.of { maxNewTokens(Int.MAX_VALUE).context(ContextPolicy.SLIDE) }

    @Test
    fun everyCallAnswersAsItsBlockingCallDoes() = runBlocking {
        val prompt = Prompt("Q: a", listOf(TextPair("Q: a\nA:", " b")))
        assertEquals(model.generate("a", some).text, writer.generate("a", some).text)
        assertEquals(model.generate(prompt, some).ids, writer.generate(prompt, some).ids)
        assertEquals(listOf("b🙂.", ""), writer.generateBatch(listOf("a", "\n"), GenerateOptions.of { maxNewTokens(6) }).map { it.text })
        assertEquals(model.choose(prompt, listOf("x", "b")).choices, writer.choose(prompt, listOf("x", "b")).choices)
        assertEquals(model.score(prompt, "b"), writer.score(prompt, "b"))
        assertEquals(model.perplexity("ab"), writer.perplexity("ab"))
        val pieces = mutableListOf<Piece>()
        assertEquals(writer.generate("a", some) { pieces.add(it) }.ids, pieces.map { it.id })
    }

    @Test
    fun aFlowGivesEveryToken() = runBlocking {
        val expected = model.generate("a", some)
        val flow = writer.stream("a", some)
        // Cold: each collector has a call of its own.
        repeat(2) {
            val pieces = flow.toList()
            assertEquals(expected.ids, pieces.map { it.id })
            assertEquals(expected.text, pieces.joinToString("") { it.text })
        }
        assertEquals("b", writer.stream(Prompt("Q: a"), some).first().text)
        // One that is slow misses none, unless it says that it may.
        assertEquals(expected.ids, flow.onEach { delay(2) }.toList().map { it.id })
        assertTrue(flow.conflate().onEach { delay(50) }.toList().size < 21)
    }

    @Test
    fun whoHasEnoughEndsTheCall() = runBlocking {
        val handles = Limbeck.openHandles
        val calls = model.metrics().calls
        repeat(20) { assertEquals(listOf("b", "", ""), writer.stream("a", endless).take(3).toList().map { it.text }) }
        // When `collect` returns, the call has ended.
        assertEquals(calls + 20, model.metrics().calls)
        assertEquals(handles, Limbeck.openHandles)
    }

    @Test
    fun cancellingTheCollectorEndsTheCall() {
        val executor = Executors.newSingleThreadExecutor()
        try {
            for (on in listOf(Dispatchers.Default, executor.asCoroutineDispatcher())) {
                runBlocking {
                    val handles = Limbeck.openHandles
                    var (seen, thrown) = 0 to (null as Throwable?)
                    val job = launch {
                        try {
                            model.suspending(on).stream("a", endless).collect { seen++ }
                        } catch (failure: Throwable) {
                            thrown = failure
                            throw failure
                        }
                    }
                    while (seen < 100) delay(5)
                    val started = System.nanoTime()
                    job.cancel()
                    job.join()
                    assertTrue(millisSince(started) < 1500, "${millisSince(started)} ms")
                    assertTrue(thrown is CancellationException, "$thrown")
                    assertEquals(handles, Limbeck.openHandles)
                }
            }
        } finally {
            executor.shutdown()
        }
    }

    @Test
    fun whatACollectorThrowsEndsTheCall() {
        val handles = Limbeck.openHandles
        assertThrows<IllegalStateException> { runBlocking { writer.stream("a", endless).collect { error("enough") } } }
        assertEquals(handles, Limbeck.openHandles)
    }

    /** Collectors that are slower than the model hold up no thread: here one thread has to do for all. */
    @Test
    fun manyFlowsShareOneThread() {
        val executor = Executors.newSingleThreadExecutor()
        val dispatcher = executor.asCoroutineDispatcher()
        try {
            val expected = model.generate("a", some).ids
            val found = runBlocking(dispatcher) {
                List(20) { async { model.suspending(dispatcher).stream("a", some).onEach { delay(1) }.toList() } }.awaitAll()
            }
            found.forEach { pieces -> assertEquals(expected, pieces.map { it.id }) }
        } finally {
            executor.shutdown()
        }
    }

    @Test
    fun aTokenOfOnesOwnStillWorksAndIsLeftAlone() {
        Cancel().use { cancel ->
            val options = endless.with(cancel)
            runBlocking { writer.stream("a", options).take(3).toList() }
            assertFalse(cancel.isTriggered)
            thread {
                Thread.sleep(50)
                cancel.trigger()
            }
            assertThrows<LimbeckException.Cancelled> { runBlocking { writer.stream("a", options).collect {} } }
        }
    }

    @Test
    fun failuresArriveAsTheyAre() {
        assertThrows<LimbeckException.WrongTask> { runBlocking { Fixtures.model("tiny").suspending().stream("a").toList() } }
        assertThrows<LimbeckException.InvalidText> { runBlocking { writer.stream("\uD83D").toList() } }
        val late = GenerateOptions.of { maxNewTokens(Int.MAX_VALUE).context(ContextPolicy.SLIDE).timeoutMillis(50) }
        assertThrows<LimbeckException.DeadlineExceeded> { runBlocking { writer.stream("a", late).collect {} } }
    }

    private fun millisSince(started: Long) = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - started)
}
