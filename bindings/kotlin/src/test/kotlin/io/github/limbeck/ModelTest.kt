package io.github.limbeck

import java.io.File
import java.io.FileDescriptor
import java.io.RandomAccessFile
import java.nio.file.Files
import java.util.concurrent.ConcurrentLinkedQueue
import java.util.concurrent.CountDownLatch
import java.util.concurrent.Executors
import java.util.concurrent.TimeUnit
import kotlin.concurrent.thread
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNotNull
import org.junit.jupiter.api.Assertions.assertSame
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import org.junit.jupiter.api.assertThrows

/** Threads, closing, cancelling, memory, and what is not as it should be. */
@Timeout(60)
internal class ModelTest {
    /** A tokenizer takes minutes for it, piece by piece. */
    private val long = "good film ".repeat(1_000_000)
    private val encoder = Fixtures.model(File(Fixtures.cases, "../golden/bundle-1.0/tiny.fp32.limbeck"))
    private val inWindows = CallOptions.of { overflow(Overflow.WINDOW) }

    private fun open(name: String = "tiny", options: ModelOptions = ModelOptions()) =
        Model.open(Fixtures.environment, Fixtures.bundle(name), options)

    @Test
    fun manyThreadsUseOneModel() {
        open(options = ModelOptions(sessions = 2)).use { model ->
            val expected = listOf("good", "bad", "good film 🙂").associateWith { model.classify(it).labels }
            val (pool, wrong) = Executors.newFixedThreadPool(8) to ConcurrentLinkedQueue<Any>()
            repeat(8) {
                pool.execute {
                    repeat(250) { round ->
                        val (text, labels) = expected.entries.elementAt(round % expected.size)
                        try {
                            val found = if (round % 5 == 0) model.classifyBatch(listOf(text, text))[1] else model.classify(text)
                            found.labels.zip(labels) { one, other ->
                                if (one.label != other.label || kotlin.math.abs(one.logit - other.logit) > 1e-5) wrong += found
                            }
                        } catch (failure: Throwable) {
                            wrong += failure
                        }
                    }
                }
            }
            pool.shutdown()
            assertTrue(pool.awaitTermination(50, TimeUnit.SECONDS))
            assertEquals(emptyList<Any>(), wrong.toList())
            assertTrue(model.metrics().calls >= 2000)
        }
    }

    @Test
    fun aCallThatRunsIsCancelled() {
        Cancel().use { cancel ->
            thread {
                Thread.sleep(100)
                cancel.trigger()
            }
            val started = System.nanoTime()
            assertThrows<LimbeckException.Cancelled> {
                encoder.classify(long, CallOptions.of { overflow(Overflow.WINDOW).cancel(cancel) })
            }
            assertTrue(millisSince(started) < 1500, "${millisSince(started)} ms")
            assertTrue(cancel.isTriggered)
        }
    }

    @Test
    fun aDeadlineIsKept() {
        val started = System.nanoTime()
        assertThrows<LimbeckException.DeadlineExceeded> {
            encoder.classify(long, CallOptions.of { overflow(Overflow.WINDOW).timeoutMillis(100) })
        }
        assertTrue(millisSince(started) < 1500, "${millisSince(started)} ms")
    }

    @Test
    fun whatIsClosedIsRefusedAndClosingTwiceIsNot() {
        val model = open()
        val (slot, bundle, cancel) = Triple(Slot(model), model.bundle(), Cancel())
        listOf(model, slot, bundle, cancel).forEach {
            it.close()
            it.close()
        }
        val options = CallOptions.of { cancel(cancel) }
        val calls = mapOf<String, () -> Any>(
            "the model is closed" to { model.classify("good") },
            "the slot is closed" to { slot.generation },
            "the bundle is closed" to { Model.open(Fixtures.environment, bundle) },
            "the cancel token is closed" to { Fixtures.model("tiny").classify("good", options) },
        )
        for ((message, call) in calls) {
            val failure = assertThrows<LimbeckException.InvalidArgument> { call() }
            assertTrue(message in failure.message!!, failure.message)
        }
        assertThrows<LimbeckException.InvalidArgument> { Slot(model) }
        assertThrows<LimbeckException.InvalidArgument> { Fixtures.model("tiny").let { Slot(it).use { slot -> slot.publish(model) } } }
        // What never was a handle is refused, too, and twice the same number.
        for (number in listOf(0L, -1L, Long.MAX_VALUE)) assertThrows<LimbeckException.InvalidArgument> { Native.close(number) }
    }

    @Test
    fun whatWasOpenedLivesWithoutWhatItWasOpenedFrom() {
        val bundle = Bundle.open(Fixtures.bundle("tiny"))
        val model = Model.open(Fixtures.environment, bundle)
        bundle.close()
        val slot = Slot(model)
        model.close()
        assertEquals("positive", slot.withModel { it.classify("good") }.best.label)
        slot.close()
    }

    @Test
    fun closingWhileCallsRunDisturbsNone() {
        repeat(5) {
            val model = open()
            val (begun, results) = CountDownLatch(4) to ConcurrentLinkedQueue<Any>()
            val threads = List(4) {
                thread {
                    begun.countDown()
                    try {
                        repeat(10_000) { model.classify("good").let { found -> if (found.best.label != "positive") results += found } }
                        results += "never closed"
                    } catch (closed: LimbeckException.InvalidArgument) {
                        if ("closed" !in closed.message!!) results += closed
                    }
                }
            }
            begun.await()
            Thread.sleep(20)
            model.close()
            threads.forEach { it.join() }
            assertEquals(emptyList<Any>(), results.toList())
        }
    }

    @Test
    fun nothingLeaks() {
        Fixtures.model("tiny")
        val before = settled()
        repeat(20) {
            open().use { model ->
                Slot(model).use { slot -> slot.withModel { it.classify("good") } }
                model.bundle().use { it.labels }
                assertThrows<LimbeckException.WrongTask> { model.embed("good") }
            }
            assertThrows<LimbeckException.NotFound> { Bundle.open("no-such.limbeck") }
        }
        assertEquals(before, Limbeck.openHandles)
    }

    @Test
    fun whatIsForgottenIsGivenBack() {
        val before = settled()
        repeat(50) { Cancel() }
        assertTrue(Limbeck.openHandles >= before)
        val deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(30)
        while (settled() > before && System.nanoTime() < deadline) Thread.sleep(20)
        assertEquals(before, settled())
    }

    /** Open handles once the collector has run, and one more was made and closed. */
    private fun settled(): Long {
        System.gc()
        Thread.sleep(20)
        Cancel().close()
        return Limbeck.openHandles
    }

    @Test
    fun largeInputsAreTaken() {
        val model = Fixtures.model("tiny")
        val usage = model.classify("good film ".repeat(100_000)).usage
        assertEquals(64 to 199_938, usage.tokensUsed to usage.tokensDropped)
        val found = model.classifyBatch(List(20_000) { if (it % 2 == 0) "good" else "bad" })
        assertEquals(20_000, found.size)
        assertEquals(listOf("positive", "negative"), found.takeLast(2).map { it.best.label })
        val text = "🙂".repeat(100_000) + " Ada"
        val entity = Fixtures.model("entities").tag(text, inWindows).entities.single()
        assertEquals(Span(200_001, 200_004), entity.span)
        assertEquals("Ada", entity.span.of(text))
        assertEquals(0, model.classifyBatch(emptyList()).size)
    }

    @Test
    fun textsThatAreNoneAreNamed() {
        val model = Fixtures.model("tiny")
        val calls = mapOf<String, () -> Any>(
            "text cannot be written as UTF-8: at UTF-16 index 2 " to { model.classify("🙂\uD83D") },
            "texts[1] cannot be written as UTF-8: at UTF-16 index 0 " to { model.classifyBatch(listOf("", "\uDE42\uD83D")) },
            "hypothesis cannot" to { model.zeroShot("a", listOf("b"), CallOptions.of { hypothesis("\uD83D {}") }) },
            "path cannot" to { Bundle.open("\uD83D") },
        )
        for ((message, call) in calls) {
            val failure = assertThrows<LimbeckException.InvalidText> { call() }
            assertTrue(failure.message!!.startsWith(message), failure.message)
        }
        // A NUL is a character like others in a text, and none in a path.
        assertNotNull(model.classify("good\u0000film"))
        assertThrows<LimbeckException.InvalidArgument> { Bundle.open("${Fixtures.bundle("tiny")}\u0000.x") }
        assertThrows<LimbeckException.InvalidArgument> { Bundle.open("") }
    }

    @Test
    fun optionsThatDoNotFitAreNamed() {
        val model = Fixtures.model("tiny")
        val wrong = mapOf<String, CallOptions.Builder.() -> Unit>(
            "topK is -1" to { topK(-1) },
            "timeoutMillis is -5" to { timeoutMillis(-5) },
            "threshold is NaN" to { threshold(Float.NaN) },
            "windowStride is 9 and overflow" to { windowStride(9) },
            "maxAnswerTokens is set" to { maxAnswerTokens(3) },
            "hypothesis is set" to { hypothesis("{}") },
            "bothOrders is set" to { bothOrders(true) },
            "aggregation is set" to { aggregation(Aggregation.FIRST) },
        )
        for ((message, set) in wrong) {
            val failure = assertThrows<LimbeckException.InvalidArgument> { model.classify("good", CallOptions.of(set)) }
            assertTrue(message in failure.message!!, failure.message)
        }
        for (options in listOf(ModelOptions(threads = 257), ModelOptions(sessions = -1), ModelOptions(providers = listOf("gpu")))) {
            assertThrows<LimbeckException.InvalidArgument> { open(options = options) }
        }
        assertThrows<LimbeckException.MemoryBudget> { open(options = ModelOptions(memoryBudget = 1)) }
        assertThrows<LimbeckException.InvalidArgument> { Environment(threads = 1000) }
        assertThrows<LimbeckException.Runtime> { Environment("/no/such/libonnxruntime.so") }
    }

    /** C has one number for FIRST and for what was not set; here each is what it says. */
    @Test
    fun replacedTokensHaveNoLabels() {
        val model = Fixtures.model("replaced")
        for (aggregation in listOf(Aggregation.FIRST, Aggregation.STRICT)) {
            val options = CallOptions.of { aggregation(aggregation) }
            val failure = assertThrows<LimbeckException.InvalidArgument> { model.replacedBatch(listOf("the flim"), options) }
            assertTrue("must be max, average or none" in failure.message!!, failure.message)
            assertEquals(1, Fixtures.model("entities").tag("Ada", options).entities.size)
        }
        val found = model.replaced("the flim")
        assertEquals(listOf("flim"), found.spans.map { it.text })
        assertEquals(found.spans, model.replaced("the flim", CallOptions.of { aggregation(Aggregation.MAX).threshold(0.5f) }).spans)
        assertEquals(found.tokens, model.replaced("the flim", CallOptions.of { threshold(1f) }).tokens)
    }

    @Test
    fun aBundleInsideAnOpenFileIsOpened() {
        val file = Files.createTempFile("limbeck", ".assets").toFile()
        try {
            val bundle = Fixtures.bundle("tiny").readBytes()
            file.writeBytes(ByteArray(128) + bundle + ByteArray(10))
            RandomAccessFile(file, "r").use { open ->
                val number = number(open.fd)
                val size = bundle.size.toLong()
                Bundle.openDescriptor(number, 128, size).use { assertEquals("tiny", it.id) }
                assertThrows<LimbeckException.BadBundle> { Bundle.openDescriptor(number, 127, size) }
                assertThrows<LimbeckException.InvalidArgument> { Bundle.openDescriptor(number, -1, size) }
            }
            for (number in listOf(-1, 1_000_000)) assertThrows<LimbeckException.InvalidArgument> { Bundle.openDescriptor(number) }
        } finally {
            file.delete()
        }
    }

    /** The number of a descriptor, as `ParcelFileDescriptor` gives it on Android, found among those of the process. */
    private fun number(descriptor: FileDescriptor): Int {
        assertTrue(descriptor.valid())
        return File("/proc/self/fd").listFiles().orEmpty()
            .filter { runCatching { it.canonicalPath }.getOrDefault("").endsWith(".assets") }.maxOf { it.name.toInt() }
    }

    @Test
    fun aDecryptorThatThrowsIsTold() {
        val options = BundleOptions(decryptor = { section, _ -> error("no key for $section") })
        val failure = assertThrows<LimbeckException> { Bundle.open(Fixtures.bundle("hidden"), options) }
        assertTrue("decryptor failed: java.lang.IllegalStateException: no key for " in failure.message!!, failure.message)
        val nothing = BundleOptions(decryptor = { _, _ -> ByteArray(0) })
        assertThrows<LimbeckException.BadBundle> { Bundle.open(Fixtures.bundle("hidden"), nothing) }
    }

    @Test
    fun signaturesAreVerified() {
        Bundle.open(Fixtures.bundle("signed")).use { bundle ->
            val key = "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c"
            assertEquals(1, bundle.verify(listOf("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", key)))
            val failure = assertThrows<LimbeckException.Untrusted> { bundle.verify(listOf(key.reversed())) }
            assertSame(Status.SIGNATURE, failure.status)
        }
    }

    @Test
    fun aLoggerIsTold() {
        val messages = ConcurrentLinkedQueue<String>()
        Limbeck.setLogger(LogLevel.VERBOSE) { level, message ->
            messages += "$level $message"
            error("what a logger throws is swallowed")
        }
        try {
            open().use { it.classify("good") }
        } finally {
            Limbeck.setLogger(LogLevel.FATAL, null)
        }
        assertFalse(messages.isEmpty())
        val told = messages.size
        open().close()
        assertEquals(told, messages.size)
    }

    @Test
    fun aPanicIsAnExceptionAndTheNextCallWorks() {
        val failure = assertThrows<LimbeckException.Internal> { Native.testPanic() }
        assertTrue("a panic asked for by a test" in failure.message!!, failure.message)
        assertEquals("positive", Fixtures.model("tiny").classify("good").best.label)
    }

    /** What the native library gets comes from these classes alone; it does not rely on that. */
    @Test
    fun requestsOfAnyBytesAreRefusedAndCrashNothing() {
        Fixtures.model("tiny")
        val handles = Limbeck.openHandles
        val methods = Native::class.java.declaredMethods.filter { it.parameterTypes.firstOrNull() == ByteArray::class.java }
        assertTrue(methods.size > 30)
        val random = kotlin.random.Random(5)
        for (method in methods) {
            val requests = listOf(null, ByteArray(0)) + List(60) { random.nextBytes(random.nextInt(64)) } +
                List(20) { round -> Writer().long(round.toLong() + 1).done() + random.nextBytes(80) }
            for (request in requests) {
                // ONNX Runtime is asked for under many names, which is its own business.
                if (method.name == "loadRuntime") continue
                val arguments = arrayOfNulls<Any>(method.parameterCount).also { it[0] = request }
                val thrown = runCatching { method.invoke(null, *arguments) }.exceptionOrNull()
                val cause = (thrown as? java.lang.reflect.InvocationTargetException)?.targetException
                assertTrue(thrown == null || cause is LimbeckException, "${method.name}: $thrown")
            }
        }
        assertEquals("positive", Fixtures.model("tiny").classify("good").best.label)
        assertTrue(Limbeck.openHandles - handles < 2000)
    }

    @Test
    fun aModelTellsOfItself() {
        val options = ModelOptions(sessions = 2, memoryBudget = 64L shl 20, providers = listOf("cuda", "cpu"))
        open(options = options).use { model ->
            model.warmUp()
            assertEquals("text-classification", model.task)
            assertEquals(64L shl 20, model.memory().budget)
            assertEquals(listOf("cuda", "cpu"), model.providers().requested)
            assertTrue("cuda" in model.providers().refused)
            assertEquals(1, model.selfTest().vectors)
            assertTrue(model.bundle().use { "\"id\"" in it.manifestJson })
        }
        assertTrue(Fixtures.environment.runtimeVersion.startsWith("1."))
    }

    private fun millisSince(started: Long) = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - started)
}
