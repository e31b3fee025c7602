package io.github.limbeck

import java.io.File
import java.util.concurrent.Executors
import java.util.concurrent.TimeUnit
import kotlin.concurrent.thread
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.TimeoutCancellationException
import kotlinx.coroutines.asCoroutineDispatcher
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.delay
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import org.junit.jupiter.api.assertThrows

/** The calls for coroutines. */
@Timeout(60)
internal class CoroutineTest {
    /** A tokenizer takes minutes for it, piece by piece. */
    private val long = "good film ".repeat(1_000_000)
    private val encoder = Fixtures.model(File(Fixtures.cases, "../golden/bundle-1.0/tiny.fp32.limbeck"))
    private val inWindows = CallOptions.of { overflow(Overflow.WINDOW) }

    @Test
    fun everyTaskAnswersAsItsBlockingCallDoes() = runBlocking {
        val (tiny, pairs) = Fixtures.model("tiny") to Fixtures.model("pairs")
        assertEquals(tiny.classify("good").labels, tiny.suspending().classify("good").labels)
        assertEquals(tiny.classifyBatch(listOf("good", "bad")).map { it.labels }, tiny.suspending().classifyBatch(listOf("good", "bad")).map { it.labels })
        val pair = TextPair("good", "bad film")
        assertEquals(pairs.classifyPair(pair.first, pair.second).labels, pairs.suspending().classifyPair(pair.first, pair.second).labels)
        assertEquals(pairs.classifyPairs(listOf(pair)).map { it.labels }, pairs.suspending().classifyPairs(listOf(pair)).map { it.labels })
        assertEquals(pairs.zeroShot("film", listOf("good", "bad")).labels, pairs.suspending().zeroShot("film", listOf("good", "bad")).labels)
        assertEquals(2, pairs.suspending().zeroShotBatch(listOf("film", "good"), listOf("bad")).size)
        assertEquals(pairs.rerank("film", listOf("bad", "good")).map { it.index }, pairs.suspending().rerank("film", listOf("bad", "good")).map { it.index })
        val entities = Fixtures.model("entities")
        assertEquals(entities.tag("🙂 Ada").entities, entities.suspending().tag("🙂 Ada").entities)
        assertEquals(entities.tag("Ada").entities, entities.suspending().tagBatch(listOf("Ada")).single().entities)
        val reader = Fixtures.model("reader")
        assertEquals(reader.answer("Who?", "Ada Lovelace").answers, reader.suspending().answer("Who?", "Ada Lovelace").answers)
        assertEquals(1, reader.suspending().answerBatch(listOf(TextPair("Who?", "Ada"))).size)
        val embedder = Fixtures.model("embedder")
        assertTrue(embedder.embed("good").vector.contentEquals(embedder.suspending().embed("good").vector))
        assertTrue(embedder.embed("good").vector.contentEquals(embedder.suspending().embedBatch(listOf("good")).single().vector))
        val masks = Fixtures.model("masks")
        assertEquals(masks.fillMask("[MASK]").masks, masks.suspending().fillMask("[MASK]").masks)
        assertEquals(masks.fillMask("[MASK]").masks, masks.suspending().fillMaskBatch(listOf("[MASK]")).single().masks)
        val (order, swapped) = Fixtures.model("order") to listOf(TextPair("London", "who"))
        assertEquals(order.order("who", "London").logit, order.suspending().order("who", "London").logit)
        assertEquals(order.orderBatch(swapped).map { it.logit }, order.suspending().orderBatch(swapped).map { it.logit })
        val replaced = Fixtures.model("replaced")
        assertEquals(replaced.replaced("the flim").spans, replaced.suspending().replaced("the flim").spans)
        assertEquals(replaced.replaced("the flim").tokens, replaced.suspending().replacedBatch(listOf("the flim")).single().tokens)
        val examples = listOf("good" to "praise", "good film" to "praise", "bad" to "blame", "bad film" to "blame")
        Head.fit(embedder, examples.map { TextPair(it.first, it.second) }).use { head ->
            assertEquals("praise", embedder.suspending().classify(head, listOf("good")).single().best.label)
        }
    }

    @Test
    fun manyRunAtOneTime() = runBlocking {
        val model = Fixtures.model("tiny").suspending()
        val found = List(200) { async { model.classify(if (it % 2 == 0) "good" else "bad").best.label } }.awaitAll()
        assertEquals(List(200) { if (it % 2 == 0) "positive" else "negative" }, found)
    }

    @Test
    fun cancellingTheCoroutineEndsTheCall() {
        // One thread: whoever wants to wake on it waits for the call.
        val executor = Executors.newSingleThreadExecutor()
        val dispatcher = executor.asCoroutineDispatcher()
        try {
            for (on in listOf(Dispatchers.Default, dispatcher)) {
                runBlocking {
                    val model = encoder.suspending(on)
                    val handles = Limbeck.openHandles
                    var thrown: Throwable? = null
                    val job = launch {
                        try {
                            model.classify(long, inWindows)
                        } catch (failure: Throwable) {
                            thrown = failure
                            throw failure
                        }
                    }
                    delay(100)
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
    fun aTimeoutEndsTheCall() {
        val started = System.nanoTime()
        assertThrows<TimeoutCancellationException> {
            runBlocking { withTimeout(100) { encoder.suspending().classify(long, inWindows) } }
        }
        assertTrue(millisSince(started) < 2500, "${millisSince(started)} ms")
    }

    @Test
    fun aTokenOfOnesOwnStillWorksAndIsLeftAlone() {
        Cancel().use { cancel ->
            val options = CallOptions.of { overflow(Overflow.WINDOW).cancel(cancel) }
            runBlocking {
                val model = encoder.suspending()
                model.classify("good", options)
                val job = launch { model.classify(long, options) }
                delay(50)
                job.cancel()
                job.join()
                assertTrue(!cancel.isTriggered)
                thread {
                    Thread.sleep(50)
                    cancel.trigger()
                }
                assertThrows<LimbeckException.Cancelled> { runBlocking { model.classify(long, options) } }
                assertThrows<LimbeckException.Cancelled> { runBlocking { model.classify("good", options) } }
            }
        }
    }

    @Test
    fun cancellingAtAnyMomentLeavesNothingBehind() {
        val model = Fixtures.model("tiny").suspending()
        model.model.classify("good")
        val handles = Limbeck.openHandles
        runBlocking {
            repeat(300) { round ->
                val job = launch(Dispatchers.Default) { repeat(20) { model.classify("good") } }
                if (round % 3 != 0) Thread.sleep(0, round * 3000 % 999_999)
                job.cancel()
                job.join()
            }
        }
        assertEquals(handles, Limbeck.openHandles)
    }

    @Test
    fun failuresArriveAsTheyAre() {
        assertThrows<LimbeckException.WrongTask> { runBlocking { Fixtures.model("tiny").suspending().embed("good") } }
        assertThrows<LimbeckException.InvalidText> { runBlocking { Fixtures.model("tiny").suspending().classify("\uD83D") } }
    }

    private fun millisSince(started: Long) = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - started)
}
