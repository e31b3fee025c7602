package io.github.limbeck

import com.google.gson.JsonElement
import com.google.gson.JsonObject
import java.io.File

// What goes into the calls of tests/conformance.

/** The options of a case, and its token. */
internal class Options(private val from: JsonObject?) : AutoCloseable {
    private val token = Cancel()

    val call: CallOptions by lazy {
        CallOptions.of {
            each({ timeoutMillis(it) }, { cancel(it) }) { name, value ->
                when (name) {
                    "overflow" -> overflow(Overflow.valueOf(value.asString.uppercase()))
                    "window_stride" -> windowStride(value.asInt)
                    "top_k" -> topK(value.asInt)
                    "threshold" -> threshold(value.asFloat)
                    "out_of_scope" -> outOfScope(value.asFloat)
                    "aggregation" -> aggregation(Aggregation.valueOf(value.asString.uppercase()))
                    "multi_label" -> multiLabel(value.asBoolean)
                    "max_answer_tokens" -> maxAnswerTokens(value.asInt)
                    "hypothesis" -> hypothesis(value.asString)
                    "rank_label" -> rankLabel(value.asString)
                    "both_orders" -> bothOrders(value.asBoolean)
                    else -> error("unknown option $name")
                }
            }
        }
    }

    val generate: GenerateOptions by lazy {
        GenerateOptions.of {
            each({ timeoutMillis(it) }, { cancel(it) }) { name, value ->
                when (name) {
                    "max_new_tokens" -> maxNewTokens(value.asInt)
                    "temperature" -> temperature(value.asFloat)
                    "top_p" -> topP(value.asFloat)
                    "top_k" -> topK(value.asInt)
                    "seed" -> seed(value.asLong)
                    "repetition_penalty" -> repetitionPenalty(value.asFloat)
                    "ignore_eos" -> ignoreEos(value.asBoolean)
                    "stops" -> stops(texts(value))
                    "context" -> context(ContextPolicy.valueOf(value.asString.uppercase()))
                    "context_keep" -> contextKeep(value.asInt)
                    else -> error("unknown option $name")
                }
            }
        }
    }

    val choose: ChooseOptions by lazy {
        ChooseOptions.of {
            each({ timeoutMillis(it) }, { cancel(it) }) { name, value ->
                when (name) {
                    "scoring" -> scoring(Scoring.valueOf(value.asString.uppercase()))
                    "answer_context" -> answerContext(text(value))
                    "content_free" -> contentFree(texts(value))
                    else -> error("unknown option $name")
                }
            }
        }
    }

    val perplexity: PerplexityOptions by lazy {
        PerplexityOptions.of {
            each({ timeoutMillis(it) }, { cancel(it) }) { name, value ->
                when (name) {
                    "stride" -> stride(value.asInt)
                    "from_start" -> fromStart(value.asBoolean)
                    else -> error("unknown option $name")
                }
            }
        }
    }

    private fun each(timeout: (Long) -> Unit, cancel: (Cancel) -> Unit, set: (String, JsonElement) -> Unit) {
        for ((name, value) in from?.entrySet().orEmpty()) {
            when (name) {
                "deadline_ms" -> timeout(value.asLong)
                "cancelled" -> {
                    cancel(token)
                    if (value.asBoolean) token.trigger()
                }
                else -> set(name, value)
            }
        }
    }

    override fun close() = token.close()
}

internal fun model(bundle: JsonElement): Model = Fixtures.model(File(Fixtures.cases, bundle.asString))

internal fun text(value: JsonElement): String = when {
    value.isJsonPrimitive -> value.asString
    value.asJsonObject.has("utf16") ->
        String(value.asJsonObject["utf16"].asJsonArray.map { it.asInt.toChar() }.toCharArray())
    else -> value.asJsonObject["repeat"].asString.repeat(value.asJsonObject["times"].asInt)
}

internal fun texts(values: JsonElement): List<String> = values.asJsonArray.map(::text)

internal fun pair(value: JsonElement) = TextPair(text(value.asJsonArray[0]), text(value.asJsonArray[1]))

internal fun pairs(values: JsonElement): List<TextPair> = values.asJsonArray.map(::pair)

internal fun prompt(value: JsonElement): Prompt {
    val from = value.asJsonObject
    return Prompt(
        query = text(from["query"]),
        examples = from["examples"]?.let(::pairs).orEmpty(),
        instruction = from["instruction"]?.let(::text).orEmpty(),
        separator = from["separator"]?.let(::text) ?: "\n\n",
        maxTokens = from["max_tokens"]?.asInt ?: 0,
        allExamples = from["all_examples"]?.asBoolean ?: false,
    )
}

internal fun floats(values: JsonElement): FloatArray = values.asJsonArray.map { it.asFloat }.toFloatArray()
