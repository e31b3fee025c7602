package io.github.limbeck

import com.google.gson.JsonElement
import com.google.gson.JsonObject
import com.google.gson.JsonParser
import java.io.File
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.TestFactory
import org.junit.jupiter.api.assertThrows

/** The cases of tests/conformance: what every language answers. */
internal class ConformanceTest {
    @TestFactory
    fun cases(): List<DynamicTest> {
        val files = Fixtures.cases.listFiles().orEmpty().filter { it.extension == "json" && it.name != "statuses.json" }
        val tests = files.sorted().flatMap { file ->
            val json = JsonParser.parseString(file.readText()).asJsonObject
            val tolerance = json["tolerance"].asDouble
            json["cases"].asJsonArray.map { it.asJsonObject }.filter(::canRun).map { case ->
                DynamicTest.dynamicTest("${file.name}: ${case["name"].asString}") {
                    val found = try {
                        Case(case).run()
                    } catch (failure: LimbeckException) {
                        obj("error" to error(failure))
                    }
                    assertEquals("", difference(case["expect"], found, tolerance))
                }
            }
        }
        assertTrue(tests.size > 350, "only ${tests.size} cases were found")
        return tests
    }

    @Test
    fun statusesHaveTheirNumbersAndNames() {
        val json = JsonParser.parseString(File(Fixtures.cases, "statuses.json").readText()).asJsonObject
        val expected = json["statuses"].asJsonArray.map { it.asJsonObject }.filter { it["code"].asInt != 0 }
            .associate { it["code"].asInt to it["name"].asString }
        assertEquals(expected, Status.entries.associate { it.code to it.cName })
        // Each has an exception, which says the same.
        for (status in Status.entries - setOf(Status.NULL_POINTER, Status.BAD_STRUCT_SIZE)) {
            assertEquals(status, LimbeckException.of(status.code, "").status)
        }
        assertEquals(Status.INTERNAL, LimbeckException.of(1234, "new").status)
    }

    @Test
    fun aDifferenceIsSeen() {
        for ((expected, found) in listOf("[1]" to "[1.1]", "[1]" to "[1, 1]", "{\"a\": 1}" to "{}", "\"a\"" to "\"b\"", "true" to "false")) {
            assertTrue(difference(JsonParser.parseString(expected), JsonParser.parseString(found), 1e-5) != "", expected)
        }
        assertThrows<IllegalStateException> { Case(obj("call" to "juggle", "bundle" to "bundles/tiny.limbeck", "input" to obj())).run() }
    }

    /** Bytes that are no text and have no form in UTF-16 cannot be in a `String`. */
    private fun canRun(case: JsonObject): Boolean = "\"utf16\":null" !in case["input"].toString()
}

private class Case(private val case: JsonObject) {
    private val input = case["input"].asJsonObject

    fun run(): JsonElement {
        when (case["call"].asString) {
            "open" -> return open()
            "slot" -> return slot()
            "head" -> return head()
            "similarity" -> return obj("similarity" to Limbeck.similarity(floats(input["first"]), floats(input["second"])))
            "nearest" -> {
                val vectors = input["vectors"].asJsonArray.map(::floats)
                val found = Limbeck.nearest(floats(input["query"]), vectors, input["k"].asInt)
                return obj("nearest" to array(found) { obj("index" to it.index, "similarity" to it.similarity) })
            }
        }
        val model = model(case["bundle"])
        return Options(case["options"]?.asJsonObject).use { options ->
            when (case["call"].asString) {
                "generate" -> generate(model, options.generate)
                "choose" -> model.choose(prompt(input["from"]), texts(input["completions"]), options.choose).let { found ->
                    val all = array(found.choices) {
                        val own = obj("text" to it.text, "index" to it.index, "probability" to it.probability)
                        likelihood(it.score, it.likelihood, own)
                    }
                    val read = found.usage
                    obj("choices" to all, "usage" to usage(read.promptTokens, read.examples, read.examplesDropped))
                }
                "score" -> model.score(prompt(input["from"]), text(input["completion"]), options.choose).let {
                    obj("choice" to likelihood(it.perToken, it, obj()))
                }
                "perplexity" -> model.perplexity(text(input["text"]), options.perplexity).let {
                    val found = obj(
                        "perplexity" to it.perplexity,
                        "bits_per_byte" to it.bitsPerByte,
                        "log_probability" to it.logProbability,
                        "tokens" to it.tokens,
                        "bytes" to it.bytes,
                        "windows" to it.windows,
                    )
                    obj("perplexity" to found)
                }
                else -> call(model, options.call)
            }
        }
    }

    private fun generate(model: Model, options: GenerateOptions): JsonElement {
        val pieces = mutableListOf<Piece>()
        val most = input["stop_after"]?.asInt ?: Int.MAX_VALUE
        val function = TokenFunction { pieces.add(it) && pieces.size < most }.takeIf { input.has("stream") }
        val found = when {
            input.has("prompts") -> model.generateBatch(texts(input["prompts"]), options)
            input.has("from") -> listOf(model.generate(prompt(input["from"]), options, function))
            else -> listOf(model.generate(text(input["prompt"]), options, function))
        }
        if (function != null) {
            assertEquals(found.single().ids, pieces.map { it.id })
            assertEquals(found.single().text, pieces.joinToString("") { it.text })
        }
        val all = results(found) {
            obj(
                "text" to it.text,
                "ids" to array(it.ids, ::json),
                "finish" to it.finish.name.lowercase().replace('_', '-'),
                "prompt_tokens" to it.promptTokens,
                "generated_tokens" to it.generatedTokens,
                "tokens_dropped" to it.tokensDropped,
            )
        }
        if (input.has("from")) all.add("usage", found.single().let { usage(it.promptTokens, it.examples, it.examplesDropped) })
        return all
    }

    private fun usage(promptTokens: Int, examples: Int, dropped: Int): JsonObject =
        obj("prompt_tokens" to promptTokens, "examples" to examples, "examples_dropped" to dropped)

    private fun likelihood(score: Double, found: Likelihood, into: JsonObject): JsonObject = into.apply {
        addProperty("score", score)
        addProperty("log_probability", found.logProbability)
        addProperty("tokens", found.tokens)
        addProperty("bytes", found.bytes)
    }

    private fun call(model: Model, options: CallOptions): JsonElement {
        val one = input["text"]?.let(::text)
        val texts = input["texts"]?.let(::texts).orEmpty()
        return when (case["call"].asString) {
            "classify" -> results(
                when {
                    one != null -> listOf(model.classify(one, options))
                    input.has("pair") -> pair(input["pair"]).let { listOf(model.classifyPair(it.first, it.second, options)) }
                    input.has("pairs") -> model.classifyPairs(pairs(input["pairs"]), options)
                    else -> model.classifyBatch(texts, options)
                },
                ::classification,
            )
            "zero_shot" -> {
                val labels = texts(input["labels"])
                val found = one?.let { listOf(model.zeroShot(it, labels, options)) }
                results(found ?: model.zeroShotBatch(texts, labels, options)) { zeroShot ->
                    val all = array(zeroShot.labels) {
                        obj("label" to it.label, "index" to it.index, "probability" to it.probability)
                    }
                    used(zeroShot.usage, "labels" to all)
                }
            }
            "rerank" -> results(model.rerank(text(input["query"]), texts, options)) {
                used(it.usage, "index" to it.index, "score" to it.score)
            }
            "tag" -> {
                val found = one?.let { listOf(model.tag(it, options)) } ?: model.tagBatch(texts, options)
                found.zip(if (one != null) listOf(one) else texts) { tagging, text ->
                    tagging.entities.forEach { assertEquals(it.text, it.span.of(text)) }
                }
                results(found) { tagging ->
                    val all = array(tagging.entities) {
                        obj("label" to it.label, "score" to it.score, "span" to span(it.span), "text" to it.text)
                    }
                    used(tagging.usage, "entities" to all)
                }
            }
            "answer" -> {
                val questions = if (one != null) listOf(TextPair(text(input["question"]), one)) else pairs(input["questions"])
                val found = when (one) {
                    null -> model.answerBatch(questions, options)
                    else -> listOf(model.answer(questions[0].first, one, options))
                }
                found.zip(questions) { answers, question ->
                    answers.answers.forEach { assertEquals(it.text, it.span.of(question.second)) }
                }
                results(found) { answers ->
                    val all = array(answers.answers) { obj("text" to it.text, "span" to span(it.span), "score" to it.score) }
                    used(answers.usage, "answers" to all, "no_answer" to answers.noAnswer)
                }
            }
            "embed" -> {
                val found = one?.let { listOf(model.embed(it, options)) } ?: model.embedBatch(texts, options)
                results(found) { used(it.usage, "vector" to array(it.vector.toList()) { value -> json(value) }) }
            }
            "fill_mask" -> {
                val found = one?.let { listOf(model.fillMask(it, options)) } ?: model.fillMaskBatch(texts, options)
                results(found) { filled ->
                    val all = array(filled.masks) { mask ->
                        val guesses = array(mask.guesses) {
                            obj("text" to it.text, "token" to it.token, "id" to it.id, "probability" to it.probability)
                        }
                        obj("span" to span(mask.span), "guesses" to guesses)
                    }
                    used(filled.usage, "masks" to all)
                }
            }
            "order" -> {
                val found = when {
                    input.has("pair") -> pair(input["pair"]).let { listOf(model.order(it.first, it.second, options)) }
                    else -> model.orderBatch(pairs(input["pairs"]), options)
                }
                results(found) { used(it.usage, "probability" to it.probability, "logit" to it.logit) }
            }
            "replaced" -> {
                val found = one?.let { listOf(model.replaced(it, options)) } ?: model.replacedBatch(texts, options)
                found.zip(if (one != null) listOf(one) else texts) { replacements, text ->
                    (replacements.spans + replacements.tokens).forEach { assertEquals(it.text, it.span.of(text)) }
                }
                results(found) { used(it.usage, "spans" to array(it.spans, ::replaced), "tokens" to array(it.tokens, ::replaced)) }
            }
            "count_tokens" -> obj("tokens" to model.countTokens(one!!))
            "model" -> obj(
                "task" to model.task,
                "embedding_size" to model.embeddingSize,
                "mask_token" to model.maskToken,
                "self_test_vectors" to model.selfTest().vectors,
            )
            else -> error("unknown call ${case["call"]}")
        }
    }

    private fun open(): JsonElement {
        val xor = input["decrypt_xor"]?.asInt
        val options = BundleOptions(
            keys = input["keys"]?.let(::texts),
            minimumBuild = input["minimum_build"]?.asLong ?: 0,
            decryptor = xor?.let { key ->
                Decryptor { _, stored -> ByteArray(stored.size) { (stored[it].toInt() xor key).toByte() } }
            },
        )
        val file = File(Fixtures.cases, case["bundle"].asString)
        val bundle = when (val damage = input["damage"]?.asJsonObject) {
            null -> Bundle.open(file, options)
            else -> {
                var bytes = damage["replace"]?.asString?.toByteArray() ?: file.readBytes()
                damage["cut"]?.let { bytes = bytes.copyOf(it.asInt) }
                damage["flip"]?.let { bytes[it.asInt] = (bytes[it.asInt].toInt() xor 1).toByte() }
                Bundle.open(bytes, options)
            }
        }
        return bundle.use {
            val found = obj(
                "id" to it.id,
                "version" to it.version,
                "build" to it.build,
                "task" to it.task,
                "max_tokens" to it.maxTokens,
                "size" to it.size,
                "labels" to array(it.labels, ::json),
                "signers" to array(it.signers, ::json),
            )
            obj("bundle" to found)
        }
    }

    private fun slot(): JsonElement = Slot(model(case["bundle"])).use { slot ->
        val steps = array(input["steps"].asJsonArray.map { it.asJsonObject }) { step ->
            val found = obj()
            try {
                when {
                    step.has("publish") -> slot.publish(model(step["publish"]))
                    step["do"].asString == "roll_back" -> slot.rollBack()
                    else -> slot.forgetPrevious()
                }
            } catch (failure: LimbeckException) {
                found.add("error", error(failure))
            }
            found.addProperty("generation", slot.generation)
            found.addProperty("build", slot.withModel { it.bundle().use(Bundle::build) })
            found
        }
        obj("steps" to steps)
    }

    private fun head(): JsonElement {
        val embedder = model(case["bundle"])
        val file = File.createTempFile("limbeck", ".head")
        try {
            Head.fit(embedder, pairs(input["examples"]), input["strength"]?.asDouble ?: 0.0).use { it.save(file) }
            return Head.load(file).use { head ->
                Options(case["options"]?.asJsonObject).use { options ->
                    val on = input["on"]?.let(::model) ?: embedder
                    val found = results(head.classify(on, texts(input["texts"]), options.call), ::classification)
                    found.add("labels", array(head.labels, ::json))
                    found
                }
            }
        } finally {
            file.delete()
        }
    }
}
